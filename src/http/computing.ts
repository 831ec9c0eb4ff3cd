/**
 * Routes that answer with numbers instead of text: model work that is one promise. It ends when the
 * client goes away, and is written down like a generation.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_TABLE, PlenumError } from '../base/errors.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type { FrontDoor } from './front-door.ts';

export interface Computing {
  readonly door: FrontDoor;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly model: ModelInfo;
}

export interface Computed {
  readonly promptTokens: number;
  readonly queueMs: number;
  readonly computeMs: number;
}

/**
 * Runs `work` with a signal that is aborted when the client goes away. Rejects with what it rejects
 * with, `client_closed` once it is aborted, and `draining`.
 */
export async function compute<T extends Computed>(
  { door, request, reply, model }: Computing,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { exchange } = request;
  exchange.model = model.id;
  if (door.backend.draining) throw new PlenumError('draining', ERROR_TABLE.draining.meaning);
  const release = exchange.hold();
  const aborter = new AbortController();
  const { raw } = reply;
  const onClose = (): void => aborter.abort();
  raw.once('close', onClose);
  if (raw.destroyed || request.raw.socket.destroyed) aborter.abort();
  try {
    const done = await work(aborter.signal);
    const { promptTokens, queueMs, computeMs } = done;
    const usage = { promptTokens, cachedTokens: 0, completionTokens: 0 };
    const outcome = { kind: 'finished', reason: 'stop' } as const;
    exchange.facts = { outcome, usage, work: usage, queueMs, ttftMs: null };
    const totalMs = door.clock.now() - exchange.start.arrivedMs;
    reply.header('server-timing', timing({ queue: queueMs, compute: computeMs, total: totalMs }));
    return done;
  } catch (error) {
    if (!aborter.signal.aborted) throw error;
    exchange.code = 'client_closed';
    throw new PlenumError('client_closed', ERROR_TABLE.client_closed.meaning, { cause: error });
  } finally {
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
