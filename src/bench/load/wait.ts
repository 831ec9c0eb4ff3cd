/** Waits of a load generator: exact to some microseconds, and ended at once by a signal. */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';

/** Timers have a grain of a millisecond: the rest is waited for in turns of the event loop. */
const TURNS_MS = 1.5;

/** Until performance.now() reaches `at`; false where the signal came first. Never throws. */
export async function waitUntil(at: number, signal: AbortSignal): Promise<boolean> {
  const rest = at - performance.now() - TURNS_MS;
  if (rest > 0 && !(await waitFor(rest, signal))) return false;
  while (performance.now() < at) {
    if (signal.aborted) return false;
    await nextTurn();
  }
  return !signal.aborted;
}

/** For `ms`; false where the signal came first. Never throws. */
export async function waitFor(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  return delay(ms, true, { signal }).catch(() => false);
}
