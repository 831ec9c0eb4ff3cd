/**
 * Intervals over repetitions: of one target's value, and of the ratio of two targets. Work is done
 * on logarithms, where a ratio is a difference and noise that scales with the value is even. Pure.
 *
 * - value: t-interval of the repetitions' logarithms around their mean (the geometric mean).
 * - ratio of runs that were interleaved: of the differences of pairs that lie next to each other
 *   in time, so that what a shared machine does slowly cancels. From 6 pairs the Hodges–Lehmann
 *   interval, with 2 to 5 the t-interval.
 * - ratio of runs that were not: Welch's t-interval, widened by an allowance for what the machine
 *   itself may have changed between them, which no statistic of the runs can know.
 */
import {
  type CentreInterval,
  hodgesLehmann,
  SIGNED_RANK_MAX,
  SIGNED_RANK_MIN,
} from './signed-rank.ts';
import { tQuantile, twoSidedP } from './student-t.ts';

export const CONFIDENCE = 0.95;

interface Moments {
  readonly n: number;
  readonly mean: number;
  readonly variance: number;
}

function momentsOf(values: readonly number[]): Moments {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { n, mean, variance: n < 2 ? 0 : squares / (n - 1) };
}

/** Mean and t-interval; null for fewer than two values. */
export function meanInterval(values: readonly number[]): CentreInterval | null {
  if (values.length < 2) return null;
  const { n, mean, variance } = momentsOf(values);
  const half = tQuantile(CONFIDENCE, n - 1) * Math.sqrt(variance / n);
  return { centre: mean, low: mean - half, high: mean + half };
}

/** Geometric mean and its interval; null for fewer than two values or one that is not above 0. */
export function geometricInterval(values: readonly number[]): CentreInterval | null {
  if (values.some((value) => !(value > 0))) return null;
  const logs = meanInterval(values.map(Math.log));
  if (logs === null) return null;
  return { centre: Math.exp(logs.centre), low: Math.exp(logs.low), high: Math.exp(logs.high) };
}

/** Centre of paired differences and its interval; null for fewer than two. */
export function pairedInterval(differences: readonly number[]): CentreInterval | null {
  const n = differences.length;
  if (n < SIGNED_RANK_MIN || n > SIGNED_RANK_MAX) return meanInterval(differences);
  return hodgesLehmann(differences, CONFIDENCE);
}

export interface SeparateInterval extends CentreInterval {
  /** Of a difference beyond the allowance. */
  readonly p: number;
}

/**
 * Mean of `values` minus mean of `baseline` (Welch, degrees rounded down), with `allowance` beyond
 * it on both sides; null with fewer than two values on a side.
 */
export function separateInterval(
  baseline: readonly number[],
  values: readonly number[],
  allowance: number,
): SeparateInterval | null {
  if (baseline.length < 2 || values.length < 2) return null;
  const a = momentsOf(baseline);
  const b = momentsOf(values);
  const partA = a.variance / a.n;
  const partB = b.variance / b.n;
  const centre = b.mean - a.mean;
  const beyond = Math.max(0, Math.abs(centre) - allowance);
  if (partA + partB === 0) {
    const p = beyond > 0 ? 0 : 1;
    return { centre, low: centre - allowance, high: centre + allowance, p };
  }
  const degrees = Math.floor(
    (partA + partB) ** 2 / (partA ** 2 / (a.n - 1) + partB ** 2 / (b.n - 1)),
  );
  const error = Math.sqrt(partA + partB);
  const half = tQuantile(CONFIDENCE, Math.max(1, degrees)) * error + allowance;
  const p = twoSidedP(beyond / error, Math.max(1, degrees));
  return { centre, low: centre - half, high: centre + half, p };
}
