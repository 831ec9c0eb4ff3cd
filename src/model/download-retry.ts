/**
 * Retrying with growing waits, bounded. What cannot be reached at all is not tried again: the next
 * mirror, or the user, is the better answer, and at once.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { TransferError } from './download-http.ts';

export interface RetryPolicy {
  /** Failures in a row, without a new byte, after which it gives up. */
  readonly failuresMax: number;
  /** Attempts in all, whatever progress they make. */
  readonly attemptsMax: number;
  readonly firstWaitMs: number;
  readonly waitMsMax: number;
  /** Longest Retry-After that is waited for. */
  readonly retryAfterMsMax: number;
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** In [0, 1): spreads the waits of many clients. */
  readonly random: () => number;
}

export const RETRY_POLICY: RetryPolicy = {
  failuresMax: 5,
  attemptsMax: 100,
  firstWaitMs: 500,
  waitMsMax: 10_000,
  retryAfterMsMax: 60_000,
  sleep: async (ms, signal) => {
    await wait(ms, undefined, { signal });
  },
  random: Math.random,
};

export interface RetryHooks {
  readonly signal?: AbortSignal | undefined;
  readonly onRetry?: ((reason: string, waitMs: number) => void) | undefined;
  /** Bytes that have arrived so far: growth forgives earlier failures. */
  readonly progress?: (() => number) | undefined;
}

/** Runs `attempt` until it succeeds or is not worth repeating. @throws its last error. */
export async function withRetries<T>(
  policy: RetryPolicy,
  hooks: RetryHooks,
  attempt: () => Promise<T>,
): Promise<T> {
  let failures = 0;
  let reached = hooks.progress?.() ?? 0;
  for (let attempts = 1; ; attempts++) {
    hooks.signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      const now = hooks.progress?.() ?? 0;
      const first = attempts === 1;
      failures = now > reached ? 1 : failures + 1;
      reached = Math.max(reached, now);
      const worthwhile =
        error instanceof TransferError &&
        (error.kind === 'transient' || (error.kind === 'unreachable' && !first));
      if (!worthwhile || failures >= policy.failuresMax || attempts >= policy.attemptsMax) {
        throw error;
      }
      const waitMs = waitBefore(policy, failures, error.retryAfterMs);
      // Waiting for longer than allowed would be a hang; trying sooner than asked, rude.
      if (waitMs === null) throw error;
      hooks.onRetry?.(error.message, waitMs);
      await policy.sleep(waitMs, hooks.signal);
    }
  }
}

function waitBefore(policy: RetryPolicy, failures: number, askedMs: number | null): number | null {
  if (askedMs !== null && askedMs > policy.retryAfterMsMax) return null;
  const grown = Math.min(policy.waitMsMax, policy.firstWaitMs * 2 ** (failures - 1));
  const spread = grown * (0.75 + policy.random() / 2);
  return Math.round(Math.max(spread, askedMs ?? 0));
}
