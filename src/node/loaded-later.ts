/**
 * A generation whose model may still have to be loaded: its reader has a stream at once, which
 * begins when the model is there, or ends saying why it does not come.
 */
import type { Clock } from '../base/clock.ts';
import { type ErrorCode, toErrorRecord } from '../base/errors.ts';
import type { Generation } from '../http/backend.ts';
import type { Lease, UseLimits } from '../pool/keeper.ts';
import { type GenerateEvent, NO_TIMINGS, NO_USAGE } from '../wire/generation.ts';
import type { Outcome } from '../wire/outcome.ts';
import { EventStream } from './generation.ts';

export interface Beginning {
  readonly clock: Clock;
  /** Waits for the model; called once. */
  readonly arrive: (limits: UseLimits) => Promise<Lease>;
  readonly deadlineMs: number | null;
  /** Hands the request to the model's host, with what is left of its deadline; may throw. */
  readonly submit: (listener: (event: GenerateEvent) => void, deadlineMs: number | null) => void;
  readonly cancel: (code: 'client_closed' | 'slow_reader') => void;
}

export function beginLater(beginning: Beginning): Generation {
  const { clock, arrive, deadlineMs } = beginning;
  const aborter = new AbortController();
  let cancelled: 'client_closed' | 'slow_reader' | null = null;
  const stream = new EventStream((code) => {
    cancelled ??= code;
    aborter.abort();
    beginning.cancel(code);
  });
  const from = clock.now();
  const run = async (): Promise<void> => {
    try {
      const lease = await arrive({ signal: aborter.signal, deadlineMs });
      const waitedMs = clock.now() - from;
      const leftMs = deadlineMs === null ? null : Math.max(1, deadlineMs - waitedMs);
      submitLeased(lease, stream, (listener) => beginning.submit(listener, leftMs));
    } catch (thrown) {
      stream.push(endOf(thrown, cancelled));
    }
  };
  void run();
  return stream;
}

/** The lease is given back with the `end`, or at once when the host does not take the request. */
export function submitLeased(
  lease: Lease,
  stream: EventStream,
  submit: (listener: (event: GenerateEvent) => void) => void,
): void {
  try {
    submit((event) => {
      if (event.kind === 'end') lease.release();
      stream.push(event);
    });
  } catch (thrown) {
    lease.release();
    throw thrown;
  }
}

function endOf(thrown: unknown, cancelled: 'client_closed' | 'slow_reader' | null): GenerateEvent {
  const error = toErrorRecord(thrown);
  const outcome = cancelled === null ? outcomeOf(error.code) : cancelledBy(cancelled);
  return { kind: 'end', outcome, error, stopString: null, usage: NO_USAGE, timings: NO_TIMINGS };
}

const cancelledBy = (code: 'client_closed' | 'slow_reader'): Outcome => ({
  kind: 'cancelled',
  code,
});

function outcomeOf(code: ErrorCode): Outcome {
  if (code === 'wait_expired' || code === 'deadline_exceeded') return { kind: 'expired', code };
  return code === 'internal' ? { kind: 'failed', code } : { kind: 'refused', code };
}
