/**
 * Four resident models and a flood: what 64 embedding requests per second do to a stream of the
 * chat model, and the stream to them. On one server, in turn: the flood alone, half a phase of the
 * stream alone, both, and the other half, so that the machine's drift is in neither alone.
 */
import { writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { Prng } from '../src/base/prng.ts';
import { gapsMs, runStream } from './lib/load.ts';
import {
  benchOptions,
  machine,
  markdownTable,
  printResult,
  progress,
  wholeNumber,
} from './lib/options.ts';
import { WORDS } from './lib/prompts.ts';
import { freePort, launch, plenumEnvironment, type RunningServer } from './lib/servers.ts';
import { formatValues, median, percentile } from './lib/stats.ts';

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
const total = Math.round((rate * phaseMs) / 1000);
/** A phase begins when what was there before has settled. */
const SETTLE_MS = 500;
const START_MS_MAX = 180_000;
const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), meta: z.object({ state: z.string() }) })),
});

interface Flood {
  /** Requests answered within the phase, per second. */
  readonly perSecond: number;
  readonly latencyP50Ms: number;
  /** In the end, also after the phase. */
  readonly answered: number;
  /** Told at once to come back later: 429. */
  readonly refused: number;
  /** Anything else than 200 and 429. */
  readonly failed: number;
  /** Requests by HTTP status; 0 = no answer. */
  readonly statuses: Readonly<Record<string, number>>;
}

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
  const prompt = Array.from({ length: PROMPT_TOKENS }, () => prng.int(1000, 20_000));
  const abort = new AbortController();
  const gaps: number[] = [];
  let over = false;
  const streams = (async () => {
    while (!over) {
      const maxTokens = CONTEXT_TOKENS - PROMPT_TOKENS - 8;
      const request = { model: 'chat', prompt, maxTokens };
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

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

type Input = string | readonly number[];

/** Status of one request; 0 when the connection failed. */
function embed(url: string, input: Input): Promise<number> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json' };
    const request = httpRequest(
      new URL('/v1/embeddings', url),
      { method: 'POST', agent, headers },
      (response) => {
        response.resume().once('end', () => resolve(response.statusCode ?? 0));
      },
    );
    request.once('error', () => resolve(0));
    request.end(JSON.stringify({ model: 'embed', input, encoding_format: 'base64' }));
  });
}

function inputOf(prng: Prng): Input {
  if (textTokens !== null) return Array.from({ length: textTokens }, () => prng.int(1000, 20_000));
  return Array.from({ length: words }, () => prng.pick(WORDS)).join(' ');
}

/** Requests at a steady rate, whether or not earlier ones have been answered. */
async function flood(url: string, seed: number): Promise<Flood> {
  const prng = new Prng(seed);
  const from = performance.now();
  const latencies: number[] = [];
  const statuses = new Map<number, number>();
  const open: Promise<void>[] = [];
  for (let i = 0; i < total; i++) {
    const waitMs = from + (i * 1000) / rate - performance.now();
    if (waitMs > 1) await delay(waitMs);
    const input = inputOf(prng);
    const sentAt = performance.now();
    open.push(
      embed(url, input).then((status) => {
        const at = performance.now();
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200 && at - from <= phaseMs) latencies.push(at - sentAt);
      }),
    );
  }
  await delay(Math.max(0, from + phaseMs - performance.now()));
  const perSecond = (latencies.length * 1000) / phaseMs;
  await Promise.all(open);
  const answered = statuses.get(200) ?? 0;
  const refused = statuses.get(429) ?? 0;
  return {
    perSecond,
    latencyP50Ms: median(latencies),
    answered,
    refused,
    failed: total - answered - refused,
    statuses: Object.fromEntries(statuses),
  };
}

async function round(url: string, seed: number): Promise<Round> {
  const alone = await flood(url, seed);
  await delay(SETTLE_MS);
  const before = await streaming(url, seed + 1, () => delay(phaseMs / 2));
  await delay(SETTLE_MS);
  const both = await streaming(url, seed + 2, () => flood(url, seed + 3));
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
  await embed(server.url, 'warm');
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
        row('answered in the end, of all, alone', (r) => r.alone.answered / total, 2),
        row('beside the stream', (r) => r.beside.answered / total, 2),
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
