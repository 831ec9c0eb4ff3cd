/**
 * Wilcoxon's signed-rank statistic: its exact distribution, the Hodges–Lehmann estimate and the
 * interval that belongs to it (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods,
 * 3rd ed., 3.1–3.3). It asks of the differences only that they are symmetric about their middle,
 * which differences of two equal targets are by themselves. One wild pair hardly moves the
 * estimate; from 12 pairs on it hardly moves the interval either.
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
  const chances = sumChances(Array.from({ length: n }, (_, i) => i + 1));
  let below = 0;
  for (const [sum, chance] of chances.entries()) {
    below += chance;
    if (below > tail) return sum - 1;
  }
  return chances.length - 1;
}

/** Chance of each sum of whole numbers, of which each is in it or not with the same chance. */
function sumChances(parts: readonly number[]): Float64Array {
  assert(parts.length <= SIGNED_RANK_MAX, `signed ranks of ${parts.length} differences`);
  const chances = new Float64Array(parts.reduce((sum, part) => sum + part, 0) + 1);
  chances[0] = 1;
  for (const part of parts) {
    for (let sum = chances.length - 1; sum >= 0; sum--) {
      const withPart = sum >= part ? (chances[sum - part] ?? 0) : 0;
      chances[sum] = ((chances[sum] ?? 0) + withPart) / 2;
    }
  }
  return chances;
}

/** Exact two-sided p, given the ties and zeros that there are. */
export function signedRankP(values: readonly number[]): number {
  // Mean ranks of ties are halves.
  const ranks = signedRanks(values).map((rank) => 2 * rank);
  const positive = ranks.reduce((sum, rank) => sum + Math.max(0, rank), 0);
  const negative = ranks.reduce((sum, rank) => sum + Math.max(0, -rank), 0);
  const chances = sumChances(ranks.map(Math.abs).filter((rank) => rank > 0));
  const least = Math.min(positive, negative);
  const tail = chances.subarray(0, least + 1).reduce((sum, chance) => sum + chance, 0);
  return Math.min(1, 2 * tail);
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
function signedRanks(values: readonly number[]): number[] {
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
