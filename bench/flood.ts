/**
 * Four resident models and a flood: what 64 embedding requests per second do to a stream of the
 * chat model, and the stream to them. On one server, in turn: the flood alone, half a phase of the
 * stream alone, both, and the other half, so that the machine's drift is in neither alone.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { Prng } from '../src/base/prng.ts';
import { type Flood, type FloodAsk, flood } from './lib/embedding-flood.ts';
import { gapsMs, runStream } from './lib/load.ts';
import {
  benchOptions,
  machine,
  markdownTable,
  printResult,
  progress,
  wholeNumber,
} from './lib/options.ts';
import { freePort, launch, plenumEnvironment, type RunningServer } from './lib/servers.ts';
import { formatValues, percentile } from './lib/stats.ts';

const options = benchOptions({
  name: 'flood',
  what: 'a flood of embeddings beside a stream, four models resident',
  more: {
    embed: ['synthetic:all-minilm-l6-v2', 'the embedding model'],
    rerank: ['synthetic:bge-small-en-v1.5', 'the reranker; idle'],
    guard: ['synthetic:smollm2-135m', 'the guard; idle'],
    rate: ['64', 'embedding requests per second'],
    words: ['16', 'words of each'],
    'texts-tokens': ['0', 'tokens of each instead, sent as ids; 0 = words'],
    seconds: ['15', 'length of a phase'],
  },
});
const rate = wholeNumber(options.more.rate, '--rate');
const words = wholeNumber(options.more.words, '--words');
const textTokens =
  options.more['texts-tokens'] === '0'
    ? null
    : wholeNumber(options.more['texts-tokens'], '--texts-tokens');
const phaseMs = 1000 * wholeNumber(options.more.seconds, '--seconds');

const CONTEXT_TOKENS = 2048;
const PROMPT_TOKENS = 64;
/** Of each stream, one after another: a step takes longer the deeper it is, so all go as deep. */
const STREAM_TOKENS = 256;
/** A phase begins when what was there before has settled. */
const SETTLE_MS = 500;
const START_MS_MAX = 180_000;
const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), meta: z.object({ state: z.string() }) })),
});

interface Round {
  readonly stillP95Ms: number;
  readonly disturbedP95Ms: number;
  readonly alone: Flood;
  readonly beside: Flood;
}

const roles = { chat: options.model, ...options.more } as Readonly<Record<string, string>>;

async function start(): Promise<Omit<RunningServer, 'kernels'>> {
  const port = await freePort();
  const { cwd, env } = plenumEnvironment();
  const models = ['chat', 'embed', 'rerank', 'guard'].map((role) => ({
    id: role,
    model: roles[role],
    engine: { threads: options.threads },
    parallel: 1,
    context: role === 'chat' ? CONTEXT_TOKENS : 512,
  }));
  const file = join(cwd, 'plenum.yaml');
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ server: { port }, models }));
  const main = join(import.meta.dirname, '../src/cli/main.ts');
  const args = [main, 'serve', '--config', file];
  const command = { file: process.execPath, args, cwd, env };
  return launch(command, `http://127.0.0.1:${port}`, 'plenum');
}

/** Gaps of a stream that runs from `from` on, for as long as `until` takes. */
async function streaming<T>(
  url: string,
  seed: number,
  until: () => Promise<T>,
): Promise<{ gaps: readonly number[]; result: T }> {
  const prng = new Prng(seed);
  const abort = new AbortController();
  const gaps: number[] = [];
  let over = false;
  const streams = (async () => {
    while (!over) {
      const prompt = Array.from({ length: PROMPT_TOKENS }, () => prng.int(1000, 20_000));
      const request = { model: 'chat', prompt, maxTokens: STREAM_TOKENS };
      const run = await runStream(url, request, { signal: abort.signal });
      gaps.push(...gapsMs(run));
    }
  })();
  const result = await until().finally(() => {
    over = true;
    abort.abort();
  });
  await streams;
  return { gaps, result };
}

const floodAsk = (url: string, seed: number): FloodAsk => ({
  ...{ url, model: 'embed', seed, rate, phaseMs },
  length: textTokens === null ? { words } : { tokens: textTokens },
});

async function round(url: string, seed: number): Promise<Round> {
  const alone = await flood(floodAsk(url, seed));
  await delay(SETTLE_MS);
  const before = await streaming(url, seed + 1, () => delay(phaseMs / 2));
  await delay(SETTLE_MS);
  const both = await streaming(url, seed + 2, () => flood(floodAsk(url, seed + 3)));
  await delay(SETTLE_MS);
  const after = await streaming(url, seed + 4, () => delay(phaseMs / 2));
  await delay(SETTLE_MS);
  return {
    stillP95Ms: percentile([...before.gaps, ...after.gaps], 0.95),
    disturbedP95Ms: percentile(both.gaps, 0.95),
    alone,
    beside: both.result,
  };
}

/** `/ready` says that one model answers; all of them must. */
async function allReady(url: string): Promise<void> {
  const deadline = performance.now() + START_MS_MAX;
  for (;;) {
    const { data } = modelsSchema.parse(await (await fetch(new URL('/v1/models', url))).json());
    if (data.every(({ meta }) => meta.state === 'ready')) return;
    if (performance.now() > deadline) throw new Error(`not ready: ${JSON.stringify(data)}`);
    await delay(100);
  }
}

const server = await start();
const rounds: Round[] = [];
try {
  await allReady(server.url);
  await runStream(server.url, { model: 'chat', prompt: [1000, 1001], maxTokens: 8 });
  await flood({ ...floodAsk(server.url, 0), phaseMs: 1000, rate: 1 });
  for (let i = 1; i <= options.repetitions; i++) {
    progress(`round ${i} of ${options.repetitions}`);
    rounds.push(await round(server.url, i * 1000));
  }
} finally {
  await server.stop();
}

const row = (name: string, pick: (r: Round) => number, digits = 1): string[] => [
  name,
  formatValues(rounds.map(pick), digits),
];
printResult(
  options,
  {
    title: `${rate} embedding requests per second beside a stream, four models resident`,
    facts: [
      `${['chat', 'embed', 'rerank', 'guard'].map(nameOf).join(', ')}`,
      `${lengthOfText()} per request; ${options.threads} engine thread(s) for each model`,
      `${machine()}; ${options.repetitions} rounds; median (lowest to highest)`,
    ],
    table: markdownTable(
      ['', ''],
      [
        row('p95 ITL of the stream alone, ms', (r) => r.stillP95Ms),
        row('beside the flood, ms', (r) => r.disturbedP95Ms),
        row('ratio', (r) => r.disturbedP95Ms / r.stillP95Ms, 2),
        row('embeddings per second alone', (r) => r.alone.perSecond),
        row('beside the stream', (r) => r.beside.perSecond),
        row('ratio', (r) => r.beside.perSecond / r.alone.perSecond, 2),
        row('median latency of an embedding alone, ms', (r) => r.alone.latencyP50Ms),
        row('beside the stream, ms', (r) => r.beside.latencyP50Ms),
        row('answered in the end, of all, alone', (r) => r.alone.answered / r.alone.sent, 2),
        row('beside the stream', (r) => r.beside.answered / r.beside.sent, 2),
        row('refused with 429, alone', (r) => r.alone.refused, 0),
        row('beside the stream', (r) => r.beside.refused, 0),
        row('failed otherwise', (r) => r.alone.failed + r.beside.failed, 0),
      ],
    ),
  },
  rounds,
);

function lengthOfText(): string {
  return textTokens === null ? `${words} words` : `${textTokens} tokens`;
}

function nameOf(role: string): string {
  return `${role} ${basename(roles[role] ?? '')}`;
}
