import { describe, expect, it } from 'vitest';
import { geometricInterval, meanInterval, pairedInterval, separateInterval } from './interval.ts';
import { tQuantile, twoSidedP } from './student-t.ts';

describe("Student's t", () => {
  it.each([
    // Printed tables of the 97.5 % quantile.
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [4, 2.776],
    [9, 2.262],
    [30, 2.042],
    [100, 1.984],
  ])('with %i degrees has its tabulated quantile', (degrees, quantile) => {
    expect(tQuantile(0.95, degrees)).toBeCloseTo(quantile, 3);
    expect(twoSidedP(-quantile, degrees)).toBeCloseTo(0.05, 4);
  });

  it('gives small p for large t and 1 for none', () => {
    expect(twoSidedP(0, 4)).toBe(1);
    expect(twoSidedP(36, 4)).toBeLessThan(1e-5);
    expect(twoSidedP(Number.POSITIVE_INFINITY, 4)).toBeCloseTo(0, 12);
    expect(twoSidedP(Number.NaN, 4)).toBe(1);
  });
});

describe('intervals', () => {
  it('of a mean are the textbook ones', () => {
    // Mean 3, variance 2.5, 2.776 · √(2.5 / 5).
    const interval = meanInterval([1, 2, 3, 4, 5]);
    expect(interval?.low).toBeCloseTo(3 - 1.963, 3);
    expect(interval?.high).toBeCloseTo(3 + 1.963, 3);
    expect(meanInterval([3])).toBeNull();
  });

  it('of positive values lie around the geometric mean', () => {
    const interval = geometricInterval([1, 10, 100]);
    expect(interval?.centre).toBeCloseTo(10);
    expect((interval?.low ?? 0) * (interval?.high ?? 0)).toBeCloseTo(100);
    expect(geometricInterval([0, 1, 2])).toBeNull();
  });

  it('of twelve pairs hardly move with one wild pair, of five pairs become wide', () => {
    const calm = [0.05, 0.04, 0.06, 0.05, 0.045, 0.055, 0.05, 0.048, 0.052, 0.05, 0.051, 0.049];
    const wild = [...calm.slice(1), 3];
    expect(pairedInterval(wild)?.high).toBeLessThan(0.07);
    expect(pairedInterval(wild)?.low).toBeGreaterThan(0.04);
    expect(pairedInterval(wild.slice(-5))?.low).toBeLessThan(0);
  });

  it('of separate runs are wider by the allowance', () => {
    const [a, b] = [
      [1, 1.1, 0.9],
      [2, 2.2, 1.8],
    ];
    const plain = separateInterval(a ?? [], b ?? [], 0);
    const allowed = separateInterval(a ?? [], b ?? [], 0.1);
    expect((plain?.low ?? 0) - (allowed?.low ?? 0)).toBeCloseTo(0.1);
    expect((allowed?.high ?? 0) - (plain?.high ?? 0)).toBeCloseTo(0.1);
    expect(allowed?.p).toBeGreaterThan(plain?.p ?? 1);
    expect(separateInterval([1, 1], [1.05, 1.05], 0.1)?.p).toBe(1);
    expect(separateInterval([1], [2, 2], 0)).toBeNull();
  });
});
