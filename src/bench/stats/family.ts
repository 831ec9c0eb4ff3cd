/**
 * Many metrics are compared at once, and each alone would err in one comparison of twenty. This
 * gate keeps a comparison of two equal targets from naming any difference in more than 5 % of
 * cases, with a margin for noise that is not quite normal; behind it each metric is judged by its
 * own 95 % interval.
 *
 * 4.5 % are spent on three doors, and chances of error add up at most (Bonferroni):
 * 1. speed as one number, of the mean TTFT, ITL and end to end: most of it, because a target that
 *    is slower is mostly slower in all of them. Means, because the median of a few requests of a
 *    scheduled queue is far noisier: beside prompts, gaps are of two kinds, and their median jumps
 *    from the one to the other;
 * 2. any one metric of speed, for targets that are faster in one and slower in another;
 * 3. what is no speed (errors, memory, processor), each for itself.
 */
import type { MetricName } from '../result.ts';
import { SIGNED_RANK_MAX, SIGNED_RANK_MIN, signedRankP } from './signed-rank.ts';
import { twoSidedP } from './student-t.ts';

/** Sums to 0.045. Exact ranks reach 0.039 and not 0.04 with 8 and 9 pairs, 0.037 with 10. */
const SPENT = { together: 0.04, anySpeed: 0.0025, others: 0.0025 } as const;

const NOT_SPEED: ReadonlySet<MetricName> = new Set(['errorShare', 'memoryPeak', 'cpuShare']);

export const isSpeed = (metric: MetricName): boolean => !NOT_SPEED.has(metric);

/** Metrics whose means together are "the speed", which is what the first door looks at. */
export const SPEED_TOGETHER: readonly MetricName[] = ['ttft', 'itl', 'e2e'];

export interface GateAsk {
  /** p of the mean of `SPEED_TOGETHER`. */
  readonly togetherP: number;
  readonly rows: readonly { readonly metric: MetricName; readonly p: number }[];
}

/** For each row, whether it may be judged by its own interval. */
export function gate({ togetherP, rows }: GateAsk): boolean[] {
  const speeds = rows.filter(({ metric }) => isSpeed(metric));
  const isSpeedOpen =
    togetherP <= SPENT.together || speeds.some(({ p }) => p <= SPENT.anySpeed / speeds.length);
  return rows.map(({ metric, p }) =>
    isSpeed(metric) ? isSpeedOpen : p <= SPENT.others / NOT_SPEED.size,
  );
}

/** Exact signed ranks from 6 pairs, a paired t-test below; 1 with fewer than two. */
export function togetherPairedP(differences: readonly number[]): number {
  const n = differences.length;
  const isExact = n >= SIGNED_RANK_MIN && n <= SIGNED_RANK_MAX;
  return isExact ? signedRankP(differences) : pairedT(differences);
}

/** The paired t-test: unlike ranks it reaches small p with few pairs. */
export function pairedT(differences: readonly number[]): number {
  const n = differences.length;
  if (n < 2) return 1;
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const squares = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  // Without any spread a mean that is not 0 is certain, and one that is 0 is nothing.
  return mean === 0 ? 1 : twoSidedP((mean * Math.sqrt(n)) / Math.sqrt(squares / (n - 1)), n - 1);
}

/** By repetition the mean over what is measured of `SPEED_TOGETHER`; null where one is missing. */
export function speedTogether(rows: readonly (readonly (number | null)[])[]): number[] {
  const measured = rows.filter((row) => row.some((value) => value !== null));
  const length = Math.max(0, ...measured.map((row) => row.length));
  return Array.from({ length }, (_, i) => {
    const values = measured.map((row) => row[i] ?? null).filter((value) => value !== null);
    const sum = values.reduce((total, value) => total + value, 0);
    return values.length < measured.length ? null : sum / values.length;
  }).filter((value) => value !== null);
}
