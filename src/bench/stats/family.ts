/**
 * Many metrics are compared at once, and each alone would err in one comparison of twenty. Here
 * the p-values are corrected together, so that a comparison of two equal targets names any
 * difference at all in at most 5 % of cases.
 *
 * From 6 pairs: the largest of the metrics' signed-rank statistics against its distribution when
 * the signs of whole repetitions are flipped (Westfall and Young, Resampling-Based Multiple
 * Testing, 1993, single-step maxT). It assumes nothing about the noise and loses little where
 * metrics move together. With 3 to 5 pairs: Holm's correction (1979) of paired t-tests.
 */
import { Prng } from '../../base/prng.ts';
import { SIGNED_RANK_MIN, signedRanks } from './signed-rank.ts';
import { twoSidedP } from './student-t.ts';

/** Up to 12 pairs all 4,096 flips are taken; beyond, as many random ones. */
const EXACT_PAIRS_MAX = 12;
const FLIPS_MAX = 4096;
/** Drawing flips is the only chance in it: the same data give the same p. */
const FLIP_SEED = 1;

/** Corrected p by row; each row has one difference per repetition, null where it has none. */
export function familyP(rows: readonly (readonly (number | null)[])[]): number[] {
  const pairs = Math.max(0, ...rows.map((row) => row.length));
  if (pairs >= SIGNED_RANK_MIN) return flippedP(rows, pairs);
  return holm(rows.map((row) => pairedT(row.filter((value) => value !== null))));
}

function flippedP(rows: readonly (readonly (number | null)[])[], pairs: number): number[] {
  const ranks = rows.map((row) => {
    const signed = signedRanks(row.map((value) => value ?? 0));
    const norm = Math.hypot(...signed) || 1;
    return signed.map((rank) => rank / norm);
  });
  const observed = ranks.map((row) => Math.abs(row.reduce((sum, rank) => sum + rank, 0)));
  const reached = observed.map(() => 0);
  const flips = pairs <= EXACT_PAIRS_MAX ? 2 ** pairs : FLIPS_MAX;
  const prng = new Prng(FLIP_SEED);
  for (let flip = 0; flip < flips; flip++) {
    const signs = signsOf(flip, pairs, prng);
    const most = Math.max(...ranks.map((row) => Math.abs(dot(row, signs))));
    // A sum of fractions: equal up to its rounding is equal.
    observed.forEach((value, j) => {
      if (most >= value - 1e-9) reached[j] = (reached[j] ?? 0) + 1;
    });
  }
  return reached.map((count) => count / flips);
}

/** The first flip is the data as they are, so that no p is 0. */
function signsOf(flip: number, pairs: number, prng: Prng): number[] {
  if (flip === 0) return new Array<number>(pairs).fill(1);
  return Array.from({ length: pairs }, (_, i) => {
    const isFlipped = pairs <= EXACT_PAIRS_MAX ? (flip >> i) & 1 : prng.int(0, 1);
    return isFlipped === 1 ? -1 : 1;
  });
}

const dot = (row: readonly number[], signs: readonly number[]): number =>
  row.reduce((sum, rank, i) => sum + rank * (signs[i] ?? 1), 0);

function pairedT(values: readonly number[]): number {
  const n = values.length;
  if (n < 2) return 1;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  // Without any spread a mean that is not 0 is certain, and one that is 0 is nothing.
  return mean === 0 ? 1 : twoSidedP((mean * Math.sqrt(n)) / spread, n - 1);
}

/** Holm's step-down correction. */
export function holm(values: readonly number[]): number[] {
  const order = values.map((p, index) => ({ p, index })).sort((a, b) => a.p - b.p);
  const corrected = new Array<number>(values.length).fill(1);
  let least = 0;
  order.forEach(({ p, index }, rank) => {
    least = Math.max(least, Math.min(1, p * (values.length - rank)));
    corrected[index] = least;
  });
  return corrected;
}
