/** The fit finds the parameters that made the data, keeps bounds, and shrugs off outliers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitParameters, meanAbsolutePercentageError } from './fit.ts';

const xs = [1, 2, 4, 8, 16, 32, 64, 128];
/** time = a + b·x, the shape of every term of the model. */
const timeAt = (a: number, b: number, x: number): number => a + b * x;

function fitLine(measured: readonly number[], upper = 1e3): readonly number[] {
  return fitParameters({
    start: [1, 1],
    lower: [1e-3, 1e-3],
    upper: [upper, upper],
    residuals: ([a = 1, b = 1]) => xs.map((x, i) => Math.log(timeAt(a, b, x) / (measured[i] ?? 1))),
  });
}

describe('the fit', () => {
  it('finds what made the data', () => {
    const positive = fc.double({ min: 0.1, max: 50, noNaN: true });
    fc.assert(
      fc.property(positive, positive, (a, b) => {
        const measured = xs.map((x) => timeAt(a, b, x));
        const [foundA = 0, foundB = 0] = fitLine(measured);
        const errors = xs.map((x, i) => Math.log(timeAt(foundA, foundB, x) / (measured[i] ?? 1)));
        expect(meanAbsolutePercentageError(errors)).toBeLessThan(2);
      }),
      { numRuns: 50 },
    );
  });

  it('is not carried away by one row that is off by ten', () => {
    const measured = xs.map((x, i) => timeAt(3, 2, x) * (i === 4 ? 10 : 1));
    const [a = 0, b = 0] = fitLine(measured);
    expect(timeAt(a, b, 64) / timeAt(3, 2, 64)).toBeCloseTo(1, 0);
  });

  it('keeps its bounds and gives the same answer twice', () => {
    const measured = xs.map((x) => timeAt(3, 2, x));
    expect(Math.max(...fitLine(measured, 1.5))).toBeLessThanOrEqual(1.5 + 1e-9);
    expect(fitLine(measured)).toEqual(fitLine(measured));
  });
});
