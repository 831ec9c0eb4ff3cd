/**
 * Serves one job: hands it to the backend, waits until it is known that there is a reply, then
 * streams it or sends it whole. A client that goes away ends its generations at once.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_TABLE, PlenumError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Backend, ClientRequest } from './backend.ts';
import { ChatChunks, ChatReply } from './chat-format.ts';
import { CompletionChunks, CompletionReply } from './completion-format.ts';
import { toClientError } from './errors.ts';
import type { ChunkFormat, ReplyFormat, ReplyHead } from './format.ts';
import { DONE, errorBody, sseData, systemFingerprint } from './format.ts';
import type { FrontDoor } from './front-door.ts';
import { GuardedGenerations } from './guarded.ts';
import { foldSeed, type Job } from './job.ts';
import { Run, type RunListener } from './run.ts';
import { KEEP_ALIVE, SseStream } from './sse.ts';

export interface Serving {
  readonly door: FrontDoor;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly job: Job;
}

interface Formats {
  readonly chunks: () => ChunkFormat;
  readonly whole: () => ReplyFormat;
}

export async function serveChat(serving: Serving): Promise<unknown> {
  const { job } = serving;
  begin(serving);
  const head = replyHead(serving, 'chatcmpl');
  const options = {
    choices: job.prompts.length * job.n,
    logprobs: job.sampling.logprobs !== null,
    includeUsage: job.includeUsage,
  };
  return serve(serving, {
    chunks: () => new ChatChunks(head, options),
    whole: () => new ChatReply(head, options),
  });
}

export async function serveCompletion(serving: Serving): Promise<unknown> {
  const { job } = serving;
  begin(serving);
  const head = replyHead(serving, 'cmpl');
  const options = {
    choices: job.prompts.length * job.n,
    logprobs: job.sampling.logprobs !== null,
    includeUsage: job.includeUsage,
    echo: await echoTexts(job, serving.door.backend),
  };
  return serve(serving, {
    chunks: () => new CompletionChunks(head, options),
    whole: () => new CompletionReply(head, options),
  });
}

function replyHead({ door, job }: Serving, prefix: string): ReplyHead {
  return {
    id: newId(prefix),
    created: Math.floor(Date.now() / 1000),
    model: job.model.id,
    fingerprint: systemFingerprint(door.version, job.model),
    serviceTier: job.serviceTier,
  };
}

/** With `promptLogprobs` the host sends the prompt back itself; without, its text is known here. */
async function echoTexts(job: Job, backend: Backend): Promise<readonly (string | null)[]> {
  if (!job.echo || job.promptLogprobs !== null) return [];
  const texts = await Promise.all(
    job.prompts.map((prompt) => {
      if (prompt.kind === 'tokens') return backend.detokenize(job.model.id, prompt.tokens);
      return prompt.kind === 'text' ? prompt.text : null;
    }),
  );
  return texts.flatMap((text) => new Array<string | null>(job.n).fill(text));
}

/** Choice i of a prompt draws with seed + i, so that choices differ and still replay. */
function clientRequests(job: Job, requestId: string): ClientRequest[] {
  const { model, sampling, maxTokens, stop, promptLogprobs, deadlineMs } = job;
  return job.prompts.flatMap((prompt) =>
    Array.from({ length: job.n }, (_, i) => ({
      requestId,
      model: model.id,
      prompt,
      sampling:
        sampling.seed === null ? sampling : { ...sampling, seed: foldSeed(sampling.seed + i) },
      maxTokens,
      stop,
      promptLogprobs,
      deadlineMs,
    })),
  );
}

function begin({ door, request, job }: Serving): void {
  request.exchange.model = job.model.id;
  request.exchange.stream = job.stream;
  if (door.backend.draining) {
    throw new PlenumError('draining', ERROR_TABLE.draining.meaning);
  }
}

function serve(serving: Serving, formats: Formats): Promise<unknown> {
  return serving.job.stream
    ? serveStream(serving, formats.chunks())
    : serveWhole(serving, formats.whole());
}

async function serveWhole(serving: Serving, format: ReplyFormat): Promise<unknown> {
  const { door, request, reply } = serving;
  const run = newRun(serving, {
    output: (index, event) => format.output(index, event),
    finished: (index, finish) => format.finished(index, finish),
  });
  await settle(run, serving);
  if (run.failure !== null) throw run.failure;
  const { usage } = run;
  const totalMs = door.clock.now() - request.exchange.start.arrivedMs;
  reply.header('server-timing', serverTiming({ ...run.timings, totalMs }, usage.cachedTokens));
  return format.reply(usage);
}

async function serveStream(serving: Serving, format: ChunkFormat): Promise<unknown> {
  const { door, reply, job, request } = serving;
  const { limits } = door.config;
  const stream = new SseStream({
    raw: reply.raw,
    queue: door.flushQueue,
    bufferBytesMax: limits.streamBufferBytesMax,
    stalledMs: limits.stalledReaderMs,
    keepAliveMs: limits.streamKeepAliveMs,
    onSlow: () => run.cancel('slow_reader'),
  });
  const run = newRun(serving, {
    output: (index, event) => stream.send(format.output(index, event)),
    finished: (index, finish) => stream.send(format.finished(index, finish)),
  });
  const settled = settle(run, serving);
  const heard = await openedOrPatient(run, limits.streamKeepAliveMs);
  if (run.failure !== null) {
    await settled;
    throw run.failure;
  }
  openStream(stream, serving, run);
  if (heard === 'nothing') stream.send(KEEP_ALIVE);
  await settled;
  if (run.failure === null) {
    stream.send(job.includeUsage ? format.usage(run.usage) : '');
    stream.send(DONE);
  } else {
    const error = toClientError(run.failure, door, request);
    request.exchange.code = error.code;
    stream.send(sseData(errorBody(error)));
  }
  stream.finish();
  return reply;
}

/** A client that is not accepted yet may wait for this many keep-alive times: a model may load. */
const UNACCEPTED_KEEP_ALIVES = 3;

/**
 * Until there is something to say, refusals with their status too, a stream is not opened. One that
 * has heard nothing for the keep-alive time is, so that nothing between it and its client loses
 * patience; a failure is then its last event.
 */
function openedOrPatient(run: Run, keepAliveMs: number): Promise<'something' | 'nothing'> {
  return new Promise((resolve) => {
    const nothing = (): void => resolve('nothing');
    let timer = setTimeout(nothing, keepAliveMs * UNACCEPTED_KEEP_ALIVES);
    let open = false;
    void run.opened.then(() => {
      open = true;
      clearTimeout(timer);
      resolve('something');
    });
    void run.accepted.then(() => {
      clearTimeout(timer);
      if (!open) timer = setTimeout(nothing, keepAliveMs);
    });
  });
}

function openStream(stream: SseStream, { reply }: Serving, run: Run): void {
  const timing = run.first;
  if (timing !== null) {
    const { queueMs, prefillMs, cachedTokens } = timing;
    reply.header('server-timing', serverTiming({ queueMs, prefillMs }, cachedTokens));
  }
  reply.header('content-type', 'text/event-stream; charset=utf-8');
  reply.header('cache-control', 'no-cache');
  reply.header('x-accel-buffering', 'no');
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value);
  }
  stream.open();
}

function newRun(serving: Serving, listener: RunListener): Run {
  const { door, request, job } = serving;
  const { metrics } = door.telemetry;
  const guard = guardOf(serving);
  return new Run({
    backend: guard ?? door.backend,
    onEnd: () => guard?.close(),
    requests: clientRequests(job, request.id),
    n: job.n,
    listener,
    clock: door.clock,
    arrivedMs: request.exchange.start.arrivedMs,
    deadlineMs: job.deadlineMs,
    onFirstToken: (ms) => metrics.ttft(job.model.id, ms),
    onToken: (ms) => metrics.interToken(job.model.id, ms),
  });
}

/** The guard in the path: the key's, else the model's. */
function guardOf({ door, request, job }: Serving): GuardedGenerations | null {
  const { backend, config, clock, telemetry } = door;
  const key = config.apiKeys.find((one) => one.name === request.exchange.keyName);
  const policy = key?.guard ?? job.model.guard;
  if (policy === null || policy === 'off') return null;
  const { metrics } = telemetry;
  return new GuardedGenerations({ backend, policy, model: job.model.id, metrics, clock });
}

/** Runs to the end, whatever happens to the client meanwhile, and notes how it ended. */
async function settle(run: Run, { request, reply }: Serving): Promise<void> {
  const release = request.exchange.hold();
  const { raw } = reply;
  const onClose = (): void => {
    if (!raw.writableFinished) run.cancel('client_closed');
  };
  raw.once('close', onClose);
  const done = run.start();
  if (raw.destroyed || request.raw.socket.destroyed) run.cancel('client_closed');
  await done;
  raw.removeListener('close', onClose);
  const started = run.first !== null;
  request.exchange.facts = {
    outcome: run.outcome,
    usage: run.usage,
    work: run.work,
    queueMs: started ? run.timings.queueMs : null,
    ttftMs: run.first?.ttftMs ?? null,
  };
  release();
}

interface TimingParts {
  readonly queueMs: number;
  readonly prefillMs: number;
  readonly decodeMs?: number;
  readonly totalMs?: number;
}

/** `queue;dur=0.4, prefill;dur=31.2, cached;desc="12"`, then decode and total where known. */
export function serverTiming(parts: TimingParts, cachedTokens: number): string {
  const dur = (name: string, ms: number | undefined): string[] =>
    ms === undefined ? [] : [`${name};dur=${ms.toFixed(1)}`];
  return [
    ...dur('queue', parts.queueMs),
    ...dur('prefill', parts.prefillMs),
    `cached;desc="${cachedTokens}"`,
    ...dur('decode', parts.decodeMs),
    ...dur('total', parts.totalMs),
  ].join(', ');
}
