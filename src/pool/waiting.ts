/**
 * Requests that wait until something changes in the pool: each until it is woken, its time is over
 * or its client has gone. It decides nothing about models.
 */
import { PlenumError } from '../base/errors.ts';
import { formatMillis } from '../base/units.ts';

export interface Patience {
  /** How long in all; it goes on counting over several waits. */
  readonly untilMs: number;
  /** What it was in all, for the message. */
  readonly limitMs: number;
  /** The client's own deadline is the limit, not the configured one. */
  readonly isDeadline: boolean;
  readonly signal: AbortSignal | null;
}

interface Waiter {
  readonly wake: () => void;
}

export class WaitingRoom {
  readonly #waiters = new Set<Waiter>();

  get size(): number {
    return this.#waiters.size;
  }

  /** All of them look again. */
  wake(): void {
    for (const { wake } of [...this.#waiters]) wake();
  }

  /**
   * Resolves when woken. Rejects with client_closed, or at the end of patience with wait_expired or
   * deadline_exceeded and `why`.
   */
  wait(now: number, patience: Patience, why: () => string): Promise<void> {
    const { signal } = patience;
    return new Promise((resolve, reject) => {
      const settle = (done: () => void): void => {
        clearTimeout(late);
        signal?.removeEventListener('abort', onAbort);
        this.#waiters.delete(waiter);
        done();
      };
      const onAbort = (): void => {
        settle(() => reject(new PlenumError('client_closed', 'the client went away')));
      };
      const waiter: Waiter = { wake: () => settle(resolve) };
      const late = setTimeout(
        () => settle(() => reject(expired(patience, why()))),
        Math.max(0, patience.untilMs - now),
      );
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
    });
  }
}

function expired({ isDeadline, limitMs }: Patience, why: string): PlenumError {
  const code = isDeadline ? 'deadline_exceeded' : 'wait_expired';
  const what = isDeadline ? 'the request’s deadline of' : 'waited';
  return new PlenumError(code, `${what} ${formatMillis(limitMs)} for the model: ${why}`, {
    retryAfterMs: 1000,
  });
}
