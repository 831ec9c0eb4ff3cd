/**
 * Wilcoxon's signed-rank statistic: its exact distribution, the Hodges–Lehmann estimate and the
 * interval that belongs to it (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods,
 * 3rd ed., 3.1–3.3). It asks of the differences only that they are symmetric about their middle,
 * which differences of two equal targets are by themselves; one wild repetition moves it little.
 */
import { assert } from '../../base/assert.ts';

export interface CentreInterval {
  readonly centre: number;
  readonly low: number;
  readonly high: number;
}

/** With fewer, even differences that all agree are no evidence at 95 %: 2 / 2^5 is over 5 %. */
export const SIGNED_RANK_MIN = 6;
/** The distribution is tabulated exactly up to here: 20,100 sums. */
export const SIGNED_RANK_MAX = 200;

/** Of n distinct ranks, the largest c with P(W ≤ c) ≤ tail; -1 when even P(W = 0) is above. */
export function criticalRankSum(n: number, tail: number): number {
  assert(n >= 1 && n <= SIGNED_RANK_MAX, `signed ranks of ${n} differences`);
  const total = (n * (n + 1)) / 2;
  const ways = new Float64Array(total + 1);
  ways[0] = 1;
  for (let rank = 1; rank <= n; rank++) {
    for (let sum = total; sum >= 0; sum--) {
      const withRank = sum >= rank ? (ways[sum - rank] ?? 0) : 0;
      // Halved at each rank, so that counts become probabilities and never overflow.
      ways[sum] = ((ways[sum] ?? 0) + withRank) / 2;
    }
  }
  let below = 0;
  for (let sum = 0; sum <= total; sum++) {
    below += ways[sum] ?? 0;
    if (below > tail) return sum - 1;
  }
  return total;
}

/** Median of all averages of two (Walsh averages), and its interval. For 6 to 200 values. */
export function hodgesLehmann(values: readonly number[], confidence: number): CentreInterval {
  const n = values.length;
  assert(n >= SIGNED_RANK_MIN, `an interval of ${n} signed ranks`);
  const averages = new Float64Array((n * (n + 1)) / 2);
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) averages[at++] = ((values[i] ?? 0) + (values[j] ?? 0)) / 2;
  }
  averages.sort();
  const c = Math.max(0, criticalRankSum(n, (1 - confidence) / 2));
  const last = averages.length - 1;
  return {
    centre: ((averages[Math.floor(last / 2)] ?? 0) + (averages[Math.ceil(last / 2)] ?? 0)) / 2,
    low: averages[c] ?? 0,
    high: averages[last - c] ?? 0,
  };
}

/** Ranks of the absolute values with the sign of each; ties share their mean rank, zeros have 0. */
export function signedRanks(values: readonly number[]): number[] {
  const order = values
    .map((value, index) => ({ size: Math.abs(value), index }))
    .filter(({ size }) => size > 0)
    .sort((a, b) => a.size - b.size);
  const ranks = new Array<number>(values.length).fill(0);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (order[to + 1]?.size === order[from]?.size) to += 1;
    for (const { index } of order.slice(from, to + 1)) {
      ranks[index] = ((from + to) / 2 + 1) * Math.sign(values[index] ?? 0);
    }
    from = to + 1;
  }
  return ranks;
}
