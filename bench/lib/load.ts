/**
 * The load generator: one streaming completion over HTTP as an OpenAI client would run it, with the
 * arrival time of every piece of text. What it measures is what a client sees; it knows nothing of
 * the server behind the address.
 */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { z } from 'zod';
import { SseParser } from './sse.ts';

export interface StreamRequest {
  /** Left out where a server has a single model. */
  readonly model?: string;
  /** Token ids, so that two servers of one model get the same prompt to the token. */
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** 0, the default, is greedy. */
  readonly temperature?: number;
}

export interface StreamRun {
  /** Milliseconds of performance.now(). */
  readonly startedAt: number;
  /** Arrival of each piece of text. */
  readonly pieceTimes: readonly number[];
  readonly endedAt: number;
  readonly text: string;
  readonly promptTokens: number;
  /** 0 where the server does not say. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Ended by the caller's signal: the usage is not known then. */
  readonly aborted: boolean;
}

export interface StreamHooks {
  readonly signal?: AbortSignal;
  readonly onPiece?: (at: number) => void;
}

const chunkSchema = z.object({
  choices: z.array(z.object({ text: z.string() })).default([]),
  usage: z
    .object({
      prompt_tokens: z.number(),
      completion_tokens: z.number(),
      prompt_tokens_details: z.object({ cached_tokens: z.number() }).nullish(),
    })
    .nullish(),
  error: z.unknown().optional(),
});

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

/** Runs one completion to its end. Throws on any status but 200 and on an error event. */
export async function runStream(
  baseUrl: string,
  { model, prompt, maxTokens, temperature = 0 }: StreamRequest,
  { signal, onPiece }: StreamHooks = {},
): Promise<StreamRun> {
  const body = {
    ...(model === undefined ? {} : { model }),
    prompt,
    max_tokens: maxTokens,
    temperature,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  };
  const startedAt = performance.now();
  const reader = new RunReader(startedAt, onPiece);
  try {
    const response = await post(new URL('/v1/completions', baseUrl), body, signal);
    if (response.statusCode !== 200) throw await refusal(response);
    for await (const bytes of response) reader.push(bytes);
  } catch (thrown) {
    if (signal?.aborted !== true) throw thrown;
    return reader.run(true);
  }
  return reader.run(false);
}

class RunReader {
  readonly #startedAt: number;
  readonly #onPiece: ((at: number) => void) | undefined;
  readonly #parser = new SseParser();
  readonly #pieceTimes: number[] = [];
  #text = '';
  #usage: z.infer<typeof chunkSchema>['usage'] = null;

  constructor(startedAt: number, onPiece: ((at: number) => void) | undefined) {
    this.#startedAt = startedAt;
    this.#onPiece = onPiece;
  }

  push(bytes: Uint8Array): void {
    const at = performance.now();
    for (const data of this.#parser.push(bytes)) {
      if (data === '[DONE]') continue;
      const chunk = chunkSchema.parse(JSON.parse(data));
      if (chunk.error !== undefined) throw new Error(`error event: ${data}`);
      if (chunk.usage) this.#usage = chunk.usage;
      const text = chunk.choices[0]?.text ?? '';
      if (text === '') continue;
      this.#text += text;
      this.#pieceTimes.push(at);
      this.#onPiece?.(at);
    }
  }

  run(aborted: boolean): StreamRun {
    if (!aborted && !this.#usage) throw new Error('the stream ended without its usage');
    return {
      startedAt: this.#startedAt,
      pieceTimes: this.#pieceTimes,
      endedAt: performance.now(),
      text: this.#text,
      promptTokens: this.#usage?.prompt_tokens ?? 0,
      cachedTokens: this.#usage?.prompt_tokens_details?.cached_tokens ?? 0,
      completionTokens: this.#usage?.completion_tokens ?? this.#pieceTimes.length,
      aborted,
    };
  }
}

function post(url: URL, body: unknown, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  const text = JSON.stringify(body);
  const headers = {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(text)),
  };
  const options = { method: 'POST', agent, headers, ...(signal === undefined ? {} : { signal }) };
  return new Promise((resolve, reject) => {
    httpRequest(url, options, resolve).on('error', reject).end(text);
  });
}

async function refusal(response: IncomingMessage): Promise<Error> {
  const parts: Uint8Array[] = [];
  for await (const bytes of response) parts.push(bytes);
  const text = Buffer.concat(parts).toString('utf8').slice(0, 500);
  return new Error(`HTTP ${response.statusCode}: ${text}`);
}

/** From sending the request to the first text. */
export function ttftMs(run: StreamRun): number {
  return (run.pieceTimes[0] ?? Number.NaN) - run.startedAt;
}

/** Gaps between pieces whose later one arrived in (from, to]; a piece is a token nearly always. */
export function gapsMs(run: StreamRun, from = -Infinity, to = Infinity): number[] {
  const gaps: number[] = [];
  for (let i = 1; i < run.pieceTimes.length; i++) {
    const at = run.pieceTimes[i] ?? 0;
    if (at > from && at <= to) gaps.push(at - (run.pieceTimes[i - 1] ?? 0));
  }
  return gaps;
}

/**
 * Tokens per second of all runs together while every one of them was producing: from the latest
 * first text to the earliest last text. Prefill is left out.
 */
export function decodeRate(runs: readonly StreamRun[]): number {
  const from = Math.max(...runs.map((run) => run.pieceTimes[0] ?? Number.NaN));
  const to = Math.min(...runs.map((run) => run.pieceTimes.at(-1) ?? Number.NaN));
  if (!(to > from)) throw new Error('the streams did not overlap: generate more tokens');
  let tokens = 0;
  for (const run of runs) {
    const inside = run.pieceTimes.filter((at) => at > from && at <= to).length;
    tokens += (inside * run.completionTokens) / run.pieceTimes.length;
  }
  return (tokens * 1000) / (to - from);
}

/** Generated tokens per second from the first request to the last text, prefill included. */
export function wholeRate(runs: readonly StreamRun[]): number {
  const from = Math.min(...runs.map((run) => run.startedAt));
  const to = Math.max(...runs.map((run) => run.endedAt));
  return (runs.reduce((sum, run) => sum + run.completionTokens, 0) * 1000) / (to - from);
}
