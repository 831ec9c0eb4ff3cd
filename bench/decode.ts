/**
 * Decode throughput of one stream and of several, against llama.cpp's server: distinct prompts,
 * greedy, no end of text. Two rates: of decoding alone, from the moment at which every stream
 * produces (a server may let some wait for others' prompts) until each has produced so many tokens
 * more; and of the whole, from the first request to the last token, prefill included.
 */
import { compare } from './lib/compare.ts';
import { decodeRate, runStream, type StreamRun, wholeRate } from './lib/load.ts';
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
    context: ['', 'tokens that a sequence may have; prompt + 8 × generate when left out'],
  },
});
const streamCounts = (options.more.streams ?? '')
  .split(',')
  .map((n) => wholeNumber(n, '--streams'));
const promptLength = wholeNumber(options.more.prompt, '--prompt');
const generated = wholeNumber(options.more.generate, '--generate');

const { context = '' } = options.more;
const shape = {
  /** Streams that begin early go on until the last one has had its share. */
  contextTokens: context === '' ? promptLength + 8 * generated : wholeNumber(context, '--context'),
  parallel: Math.max(8, ...streamCounts),
};

interface Rates {
  readonly decode: number;
  readonly whole: number;
}

/** One entry per number of streams. Every prompt is new, so that no cache helps either server. */
async function measure(server: RunningServer, repetition: number): Promise<Rates[]> {
  const rates: Rates[] = [];
  for (const count of streamCounts) {
    const seed = repetition * 10_000 + count * 100;
    const decoding = await decodeTogether(server, await prompts(server, count, seed));
    const whole = await Promise.all(
      (await prompts(server, count, seed + 50)).map((prompt) =>
        runStream(server.url, { prompt, maxTokens: generated }),
      ),
    );
    rates.push({ decode: decodeRate(decoding), whole: wholeRate(whole) });
  }
  return rates;
}

function prompts(server: RunningServer, count: number, seed: number): Promise<number[][]> {
  const seeds = Array.from({ length: count }, (_, i) => seed * 1000 + i);
  return Promise.all(seeds.map((one) => promptTokens(server.url, promptLength, one)));
}

/** Runs that are ended when each has produced `generated` tokens beside all the others. */
async function decodeTogether(
  server: RunningServer,
  tokens: readonly number[][],
): Promise<StreamRun[]> {
  const abort = new AbortController();
  const pieces = tokens.map(() => 0);
  const together = tokens.map(() => 0);
  const onPiece = (i: number) => (): void => {
    pieces[i] = (pieces[i] ?? 0) + 1;
    if (pieces.every((count) => count > 0)) together[i] = (together[i] ?? 0) + 1;
    if (together.every((count) => count > generated)) abort.abort();
  };
  const maxTokens = shape.contextTokens - promptLength;
  return Promise.all(
    tokens.map((prompt, i) =>
      runStream(server.url, { prompt, maxTokens }, { signal: abort.signal, onPiece: onPiece(i) }),
    ),
  );
}

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
