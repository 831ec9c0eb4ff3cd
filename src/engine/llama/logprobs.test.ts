/** Log probabilities against a full softmax and a full sort. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scoreRow } from './logprobs.ts';
import { RowScan } from './rows.ts';

const rows = fc
  .array(fc.float({ min: -80, max: 80, noNaN: true }), { minLength: 1, maxLength: 1500 })
  .map((values) => Float32Array.from(values));

/** The plain way: exponentiate everything, sort everything. */
function naive(row: Float32Array, top: number): { token: number; logprob: number }[] {
  const max = Math.max(...row);
  const norm = max + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return [...row]
    .map((logit, token) => ({ token, logit, logprob: logit - norm }))
    .sort((a, b) => b.logit - a.logit || a.token - b.token)
    .slice(0, top);
}

describe('scoreRow', () => {
  it('agrees with a full softmax and a full sort', () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 0, max: 25 }), fc.nat(), (row, top, pick) => {
        const token = pick % row.length;
        const score = scoreRow(new RowScan(row.length), row, { token, top });
        const expected = naive(row, top);
        expect(score.top.map((entry) => entry.token)).toEqual(expected.map((e) => e.token));
        for (const [i, entry] of score.top.entries()) {
          expect(entry.logprob).toBeCloseTo(expected[i]?.logprob ?? 0, 6);
        }
        const own = naive(row, row.length).find((entry) => entry.token === token);
        expect(score.logprob).toBeCloseTo(own?.logprob ?? 0, 6);
      }),
    );
  });

  it('lists watched tokens after the likeliest, each once', () => {
    const row = Float32Array.of(0, 3, 1, 2);
    const scan = new RowScan(row.length);
    const { top } = scoreRow(scan, row, { token: 1, top: 2, watch: [0, 3, 2] });
    expect(top.map(({ token }) => token)).toEqual([1, 3, 0, 2]);
    const all = naive(row, row.length);
    for (const { token, logprob } of top) {
      expect(logprob).toBeCloseTo(all.find((one) => one.token === token)?.logprob ?? 0, 6);
    }
  });

  it('gives minus infinity to what cannot happen', () => {
    const row = Float32Array.of(0, Number.NEGATIVE_INFINITY, 0);
    const scan = new RowScan(3);
    const none = scoreRow(scan, row, { token: 1, top: 1 });
    expect(none.logprob).toBe(Number.NEGATIVE_INFINITY);
    expect(scoreRow(scan, row, { token: 0, top: 1 }).logprob).toBeCloseTo(Math.log(0.5), 12);
  });

  it('refuses a row without a finite maximum', () => {
    const scan = new RowScan(2);
    const broken = [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (const logit of broken) {
      const row = Float32Array.of(logit, logit);
      expect(() => scoreRow(scan, row, { token: 0, top: 0 })).toThrow(/largest logit/);
    }
  });
});
