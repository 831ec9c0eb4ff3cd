import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Histogram, histogramSchema, RELATIVE_ERROR } from './histogram.ts';

const durations = fc.array(fc.double({ min: 0.5, max: 1e6, noNaN: true }), {
  minLength: 1,
  maxLength: 200,
});

function histogramOf(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

describe('histogram', () => {
  it('gives every percentile within its stated error', () => {
    fc.assert(
      fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
        const sorted = [...values].sort((a, b) => a - b);
        const rank = Math.max(1, Math.ceil(share * sorted.length - 1e-9));
        const exact = sorted[rank - 1] ?? 0;
        const found = histogramOf(values).percentile(share) ?? 0;
        expect(Math.abs(found - exact)).toBeLessThanOrEqual(exact * RELATIVE_ERROR + 0.0005);
      }),
    );
  });

  it('adds up: two merged are the one of both', () => {
    fc.assert(
      fc.property(durations, durations, (a, b) => {
        const merged = histogramOf(a);
        merged.merge(histogramOf(b));
        const { sumMs, ...rest } = merged.toJSON();
        const { sumMs: whole, ...expected } = histogramOf([...a, ...b]).toJSON();
        expect(rest).toEqual(expected);
        expect(sumMs / whole).toBeCloseTo(1, 9);
      }),
    );
  });

  it('survives JSON', () => {
    fc.assert(
      fc.property(durations, (values) => {
        const histogram = histogramOf(values);
        const json = histogramSchema.parse(JSON.parse(JSON.stringify(histogram)));
        const again = Histogram.from(json);
        expect(again.toJSON()).toEqual(histogram.toJSON());
        expect(again.count).toBe(values.length);
        expect(again.percentile(0.5)).toBe(histogram.percentile(0.5));
      }),
    );
  });

  it('knows the greatest exactly, beyond its range too, and nothing of nothing', () => {
    const histogram = histogramOf([1, 1e9]);
    expect(histogram.percentile(1)).toBe(1e9);
    expect(histogram.toJSON().above).toBe(1);
    expect(histogram.meanMs).toBe((1 + 1e9) / 2);
    const empty = new Histogram();
    expect([empty.percentile(0.5), empty.meanMs, empty.minMs, empty.maxMs]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });

  it('refuses what is no duration', () => {
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new Histogram().record(ms)).toThrow(/duration/);
    }
  });
});
