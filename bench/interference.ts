/**
 * What a long prompt does to streams that are decoding, and they to it: inter-token latency of the
 * streams undisturbed and while the prompt is computed, the worst gap that a stream then has, and
 * the prompt's time to first token alone and among them. `step_target_ms` trades the one for the
 * other; the sweep gives the curve.
 */
import { commonFacts, subjectsOf } from './lib/compare.ts';
import { gapsMs, runStream, type StreamRun, ttftMs } from './lib/load.ts';
import { benchOptions, markdownTable, printResult, progress, wholeNumber } from './lib/options.ts';
import { promptTokens } from './lib/prompts.ts';
import { type RunningServer, startServer } from './lib/servers.ts';
import { median, percentile } from './lib/stats.ts';

const options = benchOptions({
  name: 'interference',
  what: 'a long prompt among decoding streams, over step_target_ms',
  more: {
    targets: ['auto', 'values of step_target_ms to try, such as auto,25,50,100,200'],
    streams: ['4', 'decoding streams'],
    prompt: ['4000', 'tokens of the long prompt'],
    'still-tokens': ['64', 'tokens of each stream before the long prompt comes'],
  },
});
const targets = (options.more.targets ?? 'auto').split(',');
const streams = wholeNumber(options.more.streams, '--streams');
const promptLength = wholeNumber(options.more.prompt, '--prompt');
const stillTokens = wholeNumber(options.more['still-tokens'], '--still-tokens');

const STREAM_PROMPT_TOKENS = 64;
/** Room for the long prompt and for streams that outlast it. */
const shape = { contextTokens: promptLength + 96, parallel: streams + 1 };

interface Interference {
  readonly stillP95Ms: number;
  readonly disturbedP95Ms: number;
  readonly disturbedP50Ms: number;
  readonly worstGapMs: number;
  readonly aloneTtftMs: number;
  readonly amongTtftMs: number;
}

async function measure(server: RunningServer, repetition: number): Promise<Interference> {
  const seed = repetition * 1000;
  const [alone, among] = await Promise.all([
    promptTokens(server.url, promptLength, seed),
    promptTokens(server.url, promptLength, seed + 1),
  ]);
  const aloneRun = await runStream(server.url, { prompt: alone, maxTokens: 2 });
  const load = await startStreams(server, seed + 2);
  await load.still;
  const arrival = performance.now();
  const amongRun = await runStream(server.url, { prompt: among, maxTokens: 2 });
  const firstToken = amongRun.startedAt + ttftMs(amongRun);
  const runs = await load.end();
  const stillGaps = runs.flatMap((run) => gapsMs(run, load.allProducing(), arrival));
  const disturbedGaps = runs.flatMap((run) => gapsMs(run, arrival, firstToken));
  if (runs.some((run) => (run.pieceTimes.at(-1) ?? 0) < firstToken && !run.aborted)) {
    throw new Error('a stream ended before the long prompt was computed');
  }
  return {
    stillP95Ms: percentile(stillGaps, 0.95),
    disturbedP95Ms: percentile(disturbedGaps, 0.95),
    disturbedP50Ms: median(disturbedGaps),
    worstGapMs: percentile(disturbedGaps, 1),
    aloneTtftMs: ttftMs(aloneRun),
    amongTtftMs: ttftMs(amongRun),
  };
}

interface StreamLoad {
  /** Every stream has produced `stillTokens` pieces. */
  readonly still: Promise<void>;
  /** The moment from which all of them were producing. */
  allProducing(): number;
  end(): Promise<StreamRun[]>;
}

async function startStreams(server: RunningServer, seed: number): Promise<StreamLoad> {
  const prompts = await Promise.all(
    Array.from({ length: streams }, (_, i) =>
      promptTokens(server.url, STREAM_PROMPT_TOKENS, seed + i),
    ),
  );
  const abort = new AbortController();
  const still = Promise.withResolvers<void>();
  let allProducing = 0;
  const pieces = prompts.map(() => 0);
  const maxTokens = shape.contextTokens - STREAM_PROMPT_TOKENS - 8;
  const runs = Promise.all(
    prompts.map((prompt, i) =>
      runStream(
        server.url,
        { prompt, maxTokens },
        {
          signal: abort.signal,
          onPiece: (at) => {
            pieces[i] = (pieces[i] ?? 0) + 1;
            if (allProducing === 0 && pieces.every((count) => count > 0)) allProducing = at;
            if (pieces.every((count) => count >= stillTokens)) still.resolve();
          },
        },
      ),
    ),
  );
  runs.catch(still.reject);
  return {
    still: still.promise,
    allProducing: () => allProducing,
    end: () => {
      abort.abort();
      return runs;
    },
  };
}

interface Subject {
  readonly name: string;
  readonly start: () => Promise<RunningServer>;
  readonly results: Interference[];
}

const subjects: Subject[] = subjectsOf(options).flatMap((kind): Subject[] => {
  if (kind === 'llama-server') {
    return [{ name: kind, start: () => startServer(kind, options, shape), results: [] }];
  }
  return targets.map((target) => ({
    name: `plenum, step_target_ms ${target}`,
    start: () =>
      startServer(kind, options, { ...shape, plenumFlags: ['--step-target-ms', target] }),
    results: [],
  }));
});
for (let repetition = 1; repetition <= options.repetitions; repetition++) {
  for (const subject of repetition % 2 === 1 ? subjects : subjects.toReversed()) {
    progress(`${subject.name}, run ${repetition} of ${options.repetitions}`);
    const server = await subject.start();
    try {
      subject.results.push(await measure(server, repetition));
    } finally {
      await server.stop();
    }
  }
}

const rows = subjects.map(({ name, results }) => {
  const of = (pick: (result: Interference) => number): number => median(results.map(pick));
  return [
    name,
    of((r) => r.stillP95Ms).toFixed(1),
    of((r) => r.disturbedP95Ms).toFixed(1),
    of((r) => r.disturbedP95Ms / r.stillP95Ms).toFixed(2),
    of((r) => r.disturbedP50Ms).toFixed(1),
    of((r) => r.worstGapMs).toFixed(0),
    (of((r) => r.aloneTtftMs) / 1000).toFixed(2),
    (of((r) => r.amongTtftMs) / 1000).toFixed(2),
    of((r) => r.amongTtftMs / r.aloneTtftMs).toFixed(2),
  ];
});
printResult(
  options,
  {
    title: `A ${promptLength}-token prompt among ${streams} decoding streams`,
    facts: [...commonFacts(options, shape), 'each cell is the median of the runs'],
    table: markdownTable(
      [
        'server',
        'p95 ITL still, ms',
        'disturbed, ms',
        'ratio',
        'p50 disturbed, ms',
        'worst, ms',
        'TTFT alone, s',
        'among, s',
        'ratio',
      ],
      rows,
    ),
  },
  subjects.map(({ name, results }) => ({ name, results })),
);
