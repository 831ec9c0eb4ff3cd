/**
 * What everything outside the engine's compute costs, from the server's own counters: per step, and
 * per sequence of a step, with one stream and with several.
 */
import { commonFacts } from './lib/compare.ts';
import { runStream } from './lib/load.ts';
import { MetricsPage } from './lib/metrics.ts';
import { benchOptions, markdownTable, printResult, progress, wholeNumber } from './lib/options.ts';
import { promptTokens } from './lib/prompts.ts';
import { type RunningServer, startServer } from './lib/servers.ts';
import { formatValues } from './lib/stats.ts';

const options = benchOptions({
  name: 'overhead',
  what: 'time of a step that is not the engine’s compute',
  more: {
    streams: ['1,8', 'numbers of concurrent streams'],
    generate: ['256', 'tokens that each stream generates'],
    temperature: ['0', 'of every stream; 0 is greedy'],
  },
});
const streamCounts = (options.more.streams ?? '')
  .split(',')
  .map((n) => wholeNumber(n, '--streams'));
const generated = wholeNumber(options.more.generate, '--generate');
const temperature = temperatureOf(options.more.temperature);
const PROMPT_TOKENS = 32;
/** Hosts report with a heartbeat; this many times its period lets the last report arrive. */
const SETTLE_MS = 3000;

interface Counters {
  readonly steps: number;
  readonly measuredMs: number;
  readonly overheadMs: number;
}

interface Cost {
  readonly stepMs: number;
  readonly overheadMs: number;
  readonly share: number;
  readonly perSequenceMs: number;
}

function temperatureOf(text = ''): number {
  const value = Number(text);
  if (text !== '' && value >= 0 && value <= 2) return value;
  throw new Error(`--temperature is a number from 0 to 2, not ${text}`);
}

async function counters(server: RunningServer): Promise<Counters> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const page = await MetricsPage.read(server.url);
  const seconds = (kind: string): number => page.sum('plenum_step_seconds_total', { kind });
  return {
    steps: page.sum('plenum_steps_total'),
    measuredMs: seconds('measured') * 1000,
    overheadMs: seconds('overhead') * 1000,
  };
}

async function measure(server: RunningServer, count: number, seed: number): Promise<Cost> {
  const prompts = await Promise.all(
    Array.from({ length: count }, (_, i) => promptTokens(server.url, PROMPT_TOKENS, seed + i)),
  );
  const before = await counters(server);
  await Promise.all(
    prompts.map((prompt) => runStream(server.url, { prompt, maxTokens: generated, temperature })),
  );
  const after = await counters(server);
  const steps = after.steps - before.steps;
  const overheadMs = (after.overheadMs - before.overheadMs) / steps;
  const stepMs = (after.measuredMs - before.measuredMs) / steps;
  // Streams decode together for nearly all of their steps.
  const sequences = (count * generated) / steps;
  return { stepMs, overheadMs, share: overheadMs / stepMs, perSequenceMs: overheadMs / sequences };
}

const shape = {
  contextTokens: PROMPT_TOKENS + generated + 64,
  parallel: Math.max(8, ...streamCounts),
};
const results = streamCounts.map((count) => ({ count, costs: [] as Cost[] }));
const server = await startServer('plenum', options, shape);
try {
  for (let repetition = 1; repetition <= options.repetitions; repetition++) {
    for (const { count, costs } of results) {
      progress(`${count} stream(s), run ${repetition} of ${options.repetitions}`);
      costs.push(await measure(server, count, repetition * 10_000 + count * 100));
    }
  }
} finally {
  await server.stop();
}

const rows = results.map(({ count, costs }) => {
  const of = (pick: (cost: Cost) => number, digits: number): string =>
    formatValues(costs.map(pick), digits);
  return [
    String(count),
    of((cost) => cost.stepMs, 2),
    of((cost) => cost.overheadMs, 3),
    of((cost) => cost.share * 100, 2),
    of((cost) => cost.perSequenceMs, 3),
  ];
});
printResult(
  options,
  {
    title: 'What is not the engine’s compute, per step',
    facts: [...commonFacts(options, shape), `temperature ${temperature}`],
    table: markdownTable(
      ['streams', 'compute, ms', 'overhead, ms', 'overhead, %', 'per sequence, ms'],
      rows,
    ),
  },
  results,
);
