/**
 * A steady flood of embedding requests, sent and read by a thread of its own: in the thread that
 * reads a stream, answers to a whole batch of texts would hold up what the stream's gaps are
 * measured by.
 */
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Prng } from '../../src/base/prng.ts';
import { WORDS } from './prompts.ts';
import { median } from './stats.ts';

export interface FloodAsk {
  readonly url: string;
  readonly model: string;
  readonly seed: number;
  /** Requests per second. */
  readonly rate: number;
  readonly phaseMs: number;
  /** Words of each text, or tokens that are sent as ids. */
  readonly length: { readonly words: number } | { readonly tokens: number };
}

export interface Flood {
  /** Requests in all. */
  readonly sent: number;
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

/** Requests at a steady rate, whether or not earlier ones have been answered. */
export function flood(ask: FloodAsk): Promise<Flood> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: ask });
    worker.once('message', resolve).once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the flood's thread ended with ${code}`)));
  });
}

/** Status of one request; 0 when the connection failed. */
function embed(agent: Agent, { url, model }: FloodAsk, input: Input): Promise<number> {
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
    request.end(JSON.stringify({ model, input, encoding_format: 'base64' }));
  });
}

type Input = string | readonly number[];

function inputOf(prng: Prng, { length }: FloodAsk): Input {
  if ('words' in length) {
    return Array.from({ length: length.words }, () => prng.pick(WORDS)).join(' ');
  }
  return Array.from({ length: length.tokens }, () => prng.int(1000, 20_000));
}

async function send(ask: FloodAsk): Promise<Flood> {
  const { rate, phaseMs } = ask;
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const prng = new Prng(ask.seed);
  const sent = Math.round((rate * phaseMs) / 1000);
  const from = performance.now();
  const latencies: number[] = [];
  const statuses = new Map<number, number>();
  const open: Promise<void>[] = [];
  for (let i = 0; i < sent; i++) {
    const waitMs = from + (i * 1000) / rate - performance.now();
    if (waitMs > 1) await delay(waitMs);
    const sentAt = performance.now();
    open.push(
      embed(agent, ask, inputOf(prng, ask)).then((status) => {
        const at = performance.now();
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200 && at - from <= phaseMs) latencies.push(at - sentAt);
      }),
    );
  }
  await delay(Math.max(0, from + phaseMs - performance.now()));
  const perSecond = (latencies.length * 1000) / phaseMs;
  await Promise.all(open);
  agent.destroy();
  const [answered, refused] = [statuses.get(200) ?? 0, statuses.get(429) ?? 0];
  return {
    sent,
    perSecond,
    latencyP50Ms: median(latencies),
    answered,
    refused,
    failed: sent - answered - refused,
    statuses: Object.fromEntries(statuses),
  };
}

if (!isMainThread && parentPort !== null) {
  parentPort.postMessage(await send(workerData as FloodAsk));
}
