/**
 * Time to first token of several clients that share a long prompt prefix and differ in its end,
 * all at once, against llama.cpp's server with one slot per client. The prefix is new in every run:
 * what is measured is sharing between requests, not a cache that an earlier run has filled.
 */
import { compare } from './lib/compare.ts';
import { runStream, ttftMs } from './lib/load.ts';
import { benchOptions, markdownTable, printResult, wholeNumber } from './lib/options.ts';
import { promptTokens } from './lib/prompts.ts';
import type { RunningServer } from './lib/servers.ts';
import { formatValues, mean, pairedRatios, percentile } from './lib/stats.ts';

const options = benchOptions({
  name: 'prefix',
  what: 'time to first token of clients that share a prefix',
  more: {
    clients: ['8', 'concurrent clients'],
    prefix: ['512', 'tokens that all prompts begin with'],
    ending: ['32', 'tokens of its own that each prompt ends with'],
    generate: ['16', 'tokens that each client generates'],
  },
});
const clients = wholeNumber(options.more.clients, '--clients');
const prefixLength = wholeNumber(options.more.prefix, '--prefix');
const endingLength = wholeNumber(options.more.ending, '--ending');
const generated = wholeNumber(options.more.generate, '--generate');

interface Ttft {
  readonly meanMs: number;
  readonly p95Ms: number;
  readonly cachedTokens: number;
}

async function measure(server: RunningServer, repetition: number): Promise<Ttft> {
  const prefix = await promptTokens(server.url, prefixLength, repetition * 1000);
  const endings = await Promise.all(
    Array.from({ length: clients }, (_, i) =>
      promptTokens(server.url, endingLength, repetition * 1000 + 1 + i),
    ),
  );
  const runs = await Promise.all(
    endings.map((ending) =>
      runStream(server.url, { prompt: [...prefix, ...ending], maxTokens: generated }),
    ),
  );
  const times = runs.map(ttftMs);
  const cachedTokens = runs.reduce((sum, run) => sum + run.cachedTokens, 0);
  return { meanMs: mean(times), p95Ms: percentile(times, 0.95), cachedTokens };
}

const shape = { contextTokens: prefixLength + endingLength + generated + 64, parallel: clients };
const { plenum, peer, facts } = await compare(options, shape, measure);

const rows = (['meanMs', 'p95Ms', 'cachedTokens'] as const).map((key) => {
  const ours = plenum.map((run) => run[key]);
  const theirs = peer.map((run) => run[key]);
  const name = { meanMs: 'mean TTFT, ms', p95Ms: 'p95 TTFT, ms', cachedTokens: 'cached tokens' };
  const ratio = key === 'cachedTokens' ? '' : formatValues(pairedRatios(ours, theirs), 3);
  return [name[key], formatValues(ours, 0), formatValues(theirs, 0), ratio];
});
printResult(
  options,
  {
    title: `${clients} clients sharing a ${prefixLength}-token prefix`,
    facts: [...facts, `${endingLength} tokens of their own each; the prefix is new in every run`],
    table: markdownTable(['what', 'plenum', 'llama-server', 'ratio'], rows),
  },
  { plenum, peer },
);
