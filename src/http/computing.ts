/**
 * Routes that answer with numbers instead of text: model work that is one promise. It ends when the
 * client goes away, and is written down like a generation.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_TABLE, PlenumError } from '../base/errors.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type { FrontDoor } from './front-door.ts';
import { graceMs, untilAborted } from './until.ts';

export interface Computing {
  readonly door: FrontDoor;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly model: ModelInfo;
  readonly deadlineMs: number | null;
}

export interface Computed {
  readonly promptTokens: number;
  readonly queueMs: number;
  readonly computeMs: number;
}

/**
 * Runs `work` with a signal that is aborted when the client goes away or the deadline has passed
 * and nobody has said so. Rejects with what it rejects with, `client_closed`, `deadline_exceeded`
 * and `draining`.
 */
export async function compute<T extends Computed>(
  { door, request, reply, model, deadlineMs }: Computing,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { exchange } = request;
  exchange.model = model.id;
  if (door.backend.draining) throw new PlenumError('draining', ERROR_TABLE.draining.meaning);
  const release = exchange.hold();
  const aborter = new AbortController();
  const { raw } = reply;
  const end = (code: 'client_closed' | 'deadline_exceeded'): void =>
    aborter.abort(new PlenumError(code, ERROR_TABLE[code].meaning));
  const onClose = (): void => end('client_closed');
  raw.once('close', onClose);
  if (raw.destroyed || request.raw.socket.destroyed) onClose();
  const { arrivedMs } = exchange.start;
  const restMs = graceMs(deadlineMs, { arrivedMs, nowMs: door.clock.now() });
  const timer = restMs === null ? undefined : setTimeout(() => end('deadline_exceeded'), restMs);
  try {
    const done = await untilAborted(work(aborter.signal), aborter.signal);
    const { promptTokens, queueMs, computeMs } = done;
    const usage = { promptTokens, cachedTokens: 0, completionTokens: 0 };
    const outcome = { kind: 'finished', reason: 'stop' } as const;
    exchange.facts = { outcome, usage, work: usage, queueMs, ttftMs: null };
    const totalMs = door.clock.now() - exchange.start.arrivedMs;
    reply.header('server-timing', timing({ queue: queueMs, compute: computeMs, total: totalMs }));
    return done;
  } catch (error) {
    const thrown: unknown = aborter.signal.aborted ? aborter.signal.reason : error;
    if (thrown instanceof PlenumError) exchange.code = thrown.code;
    throw thrown;
  } finally {
    clearTimeout(timer);
    raw.removeListener('close', onClose);
    release();
  }
}

/** `queue;dur=0.4, compute;dur=31.2, total;dur=33.0`. */
function timing(parts: Readonly<Record<string, number>>): string {
  return Object.entries(parts)
    .map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
    .join(', ');
}

/** Throws `invalid_request` for a text that is longer than one may be; `param` names it. */
export function checkLength(text: string, max: number, param: string): void {
  if (text.length <= max) return;
  throw new PlenumError(
    'invalid_request',
    `'${param}' has ${text.length} characters; at most ${max} are read.`,
    { param, details: { characters: text.length, inputCharsMax: max } },
  );
}
