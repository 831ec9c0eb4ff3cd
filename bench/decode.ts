/**
 * Decode throughput of one stream and of several, against llama.cpp's server: distinct prompts,
 * greedy, no end of text. The rate counts only the time in which every stream is producing; the
 * whole rate, prefill included, stands beside it.
 */
import { compare } from './lib/compare.ts';
import { decodeRate, runStream, wholeRate } from './lib/load.ts';
import { benchOptions, markdownTable, printResult, wholeNumber } from './lib/options.ts';
import { promptTokens } from './lib/prompts.ts';
import type { RunningServer } from './lib/servers.ts';
import { formatValues, pairedRatios } from './lib/stats.ts';

const options = benchOptions({
  name: 'decode',
  what: 'decode throughput with one stream and with several',
  more: {
    streams: ['1,8', 'numbers of concurrent streams'],
    prompt: ['128', 'tokens of each prompt'],
    generate: ['128', 'tokens that each stream generates'],
  },
});
const streamCounts = (options.more.streams ?? '')
  .split(',')
  .map((n) => wholeNumber(n, '--streams'));
const promptLength = wholeNumber(options.more.prompt, '--prompt');
const generated = wholeNumber(options.more.generate, '--generate');

interface Rates {
  readonly decode: number;
  readonly whole: number;
}

/** One entry per number of streams. Every prompt is new, so that no cache helps either server. */
async function measure(server: RunningServer, repetition: number): Promise<Rates[]> {
  const rates: Rates[] = [];
  for (const count of streamCounts) {
    const seeds = Array.from({ length: count }, (_, i) => repetition * 10_000 + count * 100 + i);
    const prompts = await Promise.all(
      seeds.map((seed) => promptTokens(server.url, promptLength, seed)),
    );
    const runs = await Promise.all(
      prompts.map((prompt) => runStream(server.url, { prompt, maxTokens: generated })),
    );
    rates.push({ decode: decodeRate(runs), whole: wholeRate(runs) });
  }
  return rates;
}

const shape = {
  contextTokens: promptLength + generated + 128,
  parallel: Math.max(8, ...streamCounts),
};
const { plenum, peer, facts } = await compare(options, shape, measure);

const rows = streamCounts.flatMap((count, i) =>
  (['decode', 'whole'] as const).map((kind) => {
    const ours = plenum.map((rates) => rates[i]?.[kind] ?? Number.NaN);
    const theirs = peer.map((rates) => rates[i]?.[kind] ?? Number.NaN);
    const what = kind === 'decode' ? 'decode' : 'with prefill';
    const ratio = formatValues(pairedRatios(ours, theirs), 3);
    return [String(count), what, formatValues(ours), formatValues(theirs), ratio];
  }),
);
printResult(
  options,
  {
    title: 'Decode throughput, tokens per second',
    facts: [...facts, `prompts of ${promptLength} distinct tokens, ${generated} generated, greedy`],
    table: markdownTable(['streams', 'what', 'plenum', 'llama-server', 'ratio'], rows),
  },
  { streamCounts, plenum, peer },
);
