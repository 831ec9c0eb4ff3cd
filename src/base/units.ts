/**
 * Quantities with a unit are branded at boundaries, so that milliseconds are not added to tokens.
 * A brand exists for the compiler only; at run time each is a plain number.
 */

declare const unit: unique symbol;
type Quantity<U extends string> = number & { readonly [unit]: U };

/** A count of bytes; decimal prefixes when printed (1 GB = 1e9 B) unless GiB is written. */
export type Bytes = Quantity<'bytes'>;
/** A duration, or a point on the monotonic clock, in milliseconds. */
export type Millis = Quantity<'millis'>;

export const bytes = (n: number): Bytes => n as Bytes;
export const millis = (n: number): Millis => n as Millis;

/** `1234567890` → `1.23 GB`: decimal, three significant digits. */
export function formatBytes(n: number): string {
  const steps = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = n;
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < steps.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step === 0 ? value : value.toPrecision(3)} ${steps[step] ?? 'B'}`;
}

/** `83000` → `1 min 23 s`, `1500` → `1.50 s`, `12.3` → `12.3 ms`. */
export function formatMillis(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (ms >= 59_950) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return ms >= 999.5 ? `${(ms / 1000).toPrecision(3)} s` : `${Number(ms.toPrecision(3))} ms`;
}
