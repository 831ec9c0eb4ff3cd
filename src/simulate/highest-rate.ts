/**
 * The highest rate of arrivals at which a target is met, by doubling and then halving the interval.
 * Pure: what a rate gives is asked of the caller, with the same seed for each, so that rates differ
 * in the gaps between arrivals alone.
 */
import type { LoadResult, Target } from './statistics.ts';

export interface RateTried {
  readonly ratePerSecond: number;
  readonly result: LoadResult;
}

export interface HighestRate {
  /** Null when the target is missed however few requests come. */
  readonly best: RateTried | null;
  /** In rising order of rate. */
  readonly tried: readonly RateTried[];
}

export interface RateSearch {
  /** A run at the rate, with the same target. */
  readonly at: (ratePerSecond: number) => LoadResult;
  readonly target: Target;
  /** About what the machine can serve at most, in requests per second. */
  readonly capacity: number;
  /** Where the answer is expected, from another sample; null when nothing is known. */
  readonly near: number | null;
}

/** Rates are not looked for below this share of capacity: there requests hardly ever meet. */
const LEAST_SHARE = 0.01;
const MOST_SHARE = 8;
/** The answer lies within this of the true one, as far as a finite sample tells. */
const PRECISION = 0.04;
const FIRST_SHARE = 0.5;
/** How far the interval is opened at a time: without an expectation, and with one. */
const STRIDE = { unknown: 2, near: 1.2 } as const;

export function highestRate({ at, target, capacity, near }: RateSearch): HighestRate {
  const tried: RateTried[] = [];
  const isMet = (ratePerSecond: number): boolean => {
    const result = at(ratePerSecond);
    tried.push({ ratePerSecond, result });
    return (result.goodput?.share ?? 0) >= target.share;
  };
  let [yes, no] = bracket({ capacity, near }, isMet);
  while (yes > 0 && no < Number.POSITIVE_INFINITY && no / yes > 1 + PRECISION) {
    const middle = Math.sqrt(yes * no);
    if (isMet(middle)) yes = middle;
    else no = middle;
  }
  tried.sort((a, b) => a.ratePerSecond - b.ratePerSecond);
  return { best: tried.find(({ ratePerSecond }) => ratePerSecond === yes) ?? null, tried };
}

/** A rate that meets the target (0 for none) and one that does not (Infinity for none). */
function bracket(
  { capacity, near }: Pick<RateSearch, 'capacity' | 'near'>,
  isMet: (ratePerSecond: number) => boolean,
): [yes: number, no: number] {
  const stride = near === null ? STRIDE.unknown : STRIDE.near;
  let yes = 0;
  let no = Number.POSITIVE_INFINITY;
  let rate = near ?? capacity * FIRST_SHARE;
  while (rate <= capacity * MOST_SHARE) {
    if (!isMet(rate)) {
      no = rate;
      break;
    }
    yes = rate;
    rate *= stride;
  }
  while (yes === 0 && no > capacity * LEAST_SHARE) {
    rate = no / stride;
    if (isMet(rate)) yes = rate;
    else no = rate;
  }
  return [yes, no];
}
