import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { criticalRankSum, hodgesLehmann, signedRankP } from './signed-rank.ts';

/** Of all assignments of signs, those at least as far out: the definition, without any table. */
function bruteP(values: readonly number[]): number {
  const nonzero = values.filter((value) => value !== 0);
  const sizes = nonzero.map(Math.abs);
  const ranks = sizes.map((size) => {
    const below = sizes.filter((other) => other < size).length;
    return below + (sizes.filter((other) => other === size).length + 1) / 2;
  });
  const off = (signs: readonly number[]): number =>
    Math.abs(ranks.reduce((sum, rank, i) => sum + rank * (signs[i] ?? 0), 0));
  const observed = off(nonzero.map(Math.sign));
  let reached = 0;
  for (let flip = 0; flip < 2 ** ranks.length; flip++) {
    if (off(ranks.map((_, i) => ((flip >> i) & 1 ? -1 : 1))) >= observed) reached += 1;
  }
  return reached / 2 ** ranks.length;
}

describe('signed ranks', () => {
  it.each([
    // Printed tables of Wilcoxon's test at 5 %, two-sided.
    [6, 0],
    [7, 2],
    [8, 3],
    [9, 5],
    [10, 8],
    [20, 52],
  ])('of %i pairs have the tabulated critical sum', (n, sum) => {
    expect(criticalRankSum(n, 0.025)).toBe(sum);
  });

  it('have none for five pairs', () => {
    expect(criticalRankSum(5, 0.025)).toBe(-1);
  });

  it('give the p of all flips of signs, ties and zeros too', () => {
    const some = fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(some, (values) => {
        expect(signedRankP(values)).toBeCloseTo(bruteP(values), 9);
      }),
    );
  });

  it('reject a shift exactly where it lies outside the interval', () => {
    const distinct = fc.uniqueArray(fc.integer({ min: -1e6, max: 1e6 }), {
      minLength: 6,
      maxLength: 14,
    });
    fc.assert(
      fc.property(distinct, fc.integer({ min: -1.5e6, max: 1.5e6 }), (values, whole) => {
        const shift = whole + 0.25;
        const { low, high, centre } = hodgesLehmann(values, 0.95);
        expect(low <= centre && centre <= high).toBe(true);
        const sizes = values.map((value) => Math.abs(value - shift));
        // Ties change the table; they are measured in the test above.
        fc.pre(new Set(sizes).size === sizes.length && !sizes.includes(0));
        const isRejected = signedRankP(values.map((value) => value - shift)) <= 0.05;
        expect(isRejected).toBe(shift < low || shift > high);
      }),
    );
  });
});
