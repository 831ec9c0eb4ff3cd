/** Summaries of small samples: medians and ranges, since machines are noisy and runs are few. */

interface Summary {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

/** The value below which `fraction` of the sorted sample lies, linear between its members. */
export function percentile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = fraction * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function summarize(values: readonly number[]): Summary {
  return {
    median: median(values),
    low: Math.min(...values),
    high: Math.max(...values),
    count: values.length,
  };
}

/** a[i] / b[i]: the two of a pair ran right after each other, so that drift cancels out. */
export function pairedRatios(a: readonly number[], b: readonly number[]): number[] {
  const pairs = Math.min(a.length, b.length);
  return a.slice(0, pairs).map((value, i) => value / (b[i] ?? Number.NaN));
}

/** `42.3 (40.1 to 44.0)`; nothing for no values. */
export function formatValues(values: readonly number[], digits = 1): string {
  return values.length === 0 ? '' : formatSummary(summarize(values), digits);
}

function formatSummary({ median: middle, low, high }: Summary, digits: number): string {
  return `${middle.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}
