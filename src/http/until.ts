/**
 * Waiting that ends in time, whatever becomes of what is waited for: a process that hangs answers
 * no cancel either. What it says later is not heard.
 */

/** Settles as `work` does, or rejects with the signal's reason once it is aborted. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Hosts look at deadlines themselves, between steps; this long later nobody waits for them. */
export const DEADLINE_GRACE_MS = 250;

/** The rest of a deadline that began at `arrivedMs`, with the grace; null = there is none. */
export function graceMs(
  deadlineMs: number | null,
  { arrivedMs, nowMs }: { readonly arrivedMs: number; readonly nowMs: number },
): number | null {
  if (deadlineMs === null) return null;
  return Math.max(0, arrivedMs + deadlineMs + DEADLINE_GRACE_MS - nowMs);
}
