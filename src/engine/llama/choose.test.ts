/** Draws against the plain way: a full sort and the probabilities of what is left. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Prng } from '../../base/prng.ts';
import { chooseToken } from './choose.ts';
import { RowScan } from './rows.ts';

const NEUTRAL = { temperature: 1, topK: 0, topP: 1, minP: 0 };
type Cuts = typeof NEUTRAL;

/**
 * The plain way: the probability of each token after sort, top-k, top-p, min-p, temperature. Tokens
 * whose logit equals the last one kept are kept too.
 */
function distribution(row: Float32Array, { temperature, topK, topP, minP }: Cuts): number[] {
  const logitOf = (token: number): number => row[token] ?? 0;
  const sorted = [...row.keys()].sort((a, b) => logitOf(b) - logitOf(a));
  const max = logitOf(sorted[0] ?? 0);
  const weight = (token: number, t = 1): number => Math.exp((logitOf(token) - max) / t);
  const withTies = (kept: number[]): number[] =>
    sorted.filter((token) => logitOf(token) >= logitOf(kept.at(-1) ?? 0));
  let kept = topK > 0 ? withTies(sorted.slice(0, topK)) : sorted;
  if (topP < 1) {
    let left = topP * kept.reduce((sum, token) => sum + weight(token), 0);
    const end = kept.findIndex((token) => {
      left -= weight(token);
      // A hair of tolerance: the sums have different orders.
      return left <= 1e-12;
    });
    kept = end < 0 ? kept : withTies(kept.slice(0, end + 1));
  }
  if (minP > 0) kept = kept.filter((token) => weight(token) >= minP * (1 - 1e-12));
  const total = kept.reduce((sum, token) => sum + weight(token, temperature), 0);
  const probabilities = new Array<number>(row.length).fill(0);
  for (const token of kept) probabilities[token] = weight(token, temperature) / total;
  return probabilities;
}

function frequencies(row: Float32Array, cuts: Cuts, draws: number): number[] {
  const scan = new RowScan(row.length);
  const prng = new Prng(1);
  const counts = new Array<number>(row.length).fill(0);
  for (let i = 0; i < draws; i++) {
    const token = chooseToken(scan, row, { params: cuts, prng });
    counts[token] = (counts[token] ?? 0) + 1 / draws;
  }
  return counts;
}

const cuts = fc.record({
  temperature: fc.constantFrom(0.3, 0.7, 1, 2),
  topK: fc.constantFrom(0, 1, 3, 40, 200),
  topP: fc.constantFrom(0.1, 0.5, 0.9, 0.999, 1),
  minP: fc.constantFrom(0, 0.05, 0.5, 1),
});
// Logits from few values make ties; from many, a spread like a model's.
const rows = fc
  .array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ min: -9, max: 9, noNaN: true })), {
    minLength: 1,
    maxLength: 700,
  })
  .map((values) => Float32Array.from(values));

describe('chooseToken', () => {
  it('never gives a token that the cuts exclude', () => {
    fc.assert(
      fc.property(rows, cuts, fc.integer(), (row, params, seed) => {
        const expected = distribution(row, params);
        const scan = new RowScan(row.length);
        const prng = new Prng(seed);
        const chosen = Array.from({ length: 20 }, () => chooseToken(scan, row, { params, prng }));
        expect(chosen.filter((token) => !expected[token])).toEqual([]);
      }),
    );
  });

  it('draws each token as often as its probability says', () => {
    const prng = new Prng(5);
    const row = Float32Array.from({ length: 60 }, () => prng.normal() * 1.5);
    const draws = 20_000;
    for (const params of [
      NEUTRAL,
      { ...NEUTRAL, temperature: 0.6 },
      { ...NEUTRAL, topK: 10, topP: 0.8 },
      { ...NEUTRAL, topP: 0.9, temperature: 1.4 },
      { ...NEUTRAL, minP: 0.2 },
    ]) {
      const expected = distribution(row, params);
      for (const [token, found] of frequencies(row, params, draws).entries()) {
        const p = expected[token] ?? 0;
        // Five standard deviations: one seed, so the test either always passes or always fails.
        expect(Math.abs(found - p)).toBeLessThanOrEqual(5 * Math.sqrt((p * (1 - p)) / draws));
      }
    }
  });

  it('does so over rows of several blocks, equal, unequal and short ones', () => {
    const prng = new Prng(11);
    // The last block has 76 entries, and the likeliest of them; the middle one is half empty.
    const row = Float32Array.from({ length: 1100 }, (_, i) => prng.normal() - (i < 512 ? 0 : 1));
    row[1090] = 6;
    row.fill(Number.NEGATIVE_INFINITY, 600, 1024);
    const draws = 60_000;
    for (const params of [NEUTRAL, { ...NEUTRAL, temperature: 0.5 }, { ...NEUTRAL, topP: 0.8 }]) {
      const expected = distribution(row, params);
      const found = frequencies(row, params, draws);
      const probable = expected.filter((p) => p > 0).length;
      // Pearson's statistic over its degrees of freedom: 1, give or take (2 / degrees)^(1/2).
      const statistic = expected.reduce((sum, p, token) => {
        if (p === 0) return sum + (found[token] === 0 ? 0 : Number.POSITIVE_INFINITY);
        return sum + (draws * ((found[token] ?? 0) - p) ** 2) / p;
      }, 0);
      const spread = Math.sqrt(2 / (probable - 1));
      expect(Math.abs(statistic / (probable - 1) - 1)).toBeLessThan(5 * spread);
    }
  });

  it('agrees with a full sort where many are kept by count or by mass', () => {
    const prng = new Prng(9);
    const row = Float32Array.from({ length: 3000 }, () => prng.normal());
    for (const params of [
      { ...NEUTRAL, topK: 500 },
      { ...NEUTRAL, topP: 0.7 },
      { ...NEUTRAL, topK: 900, topP: 0.5 },
    ]) {
      const allowed = distribution(row, params);
      const found = frequencies(row, params, 3000);
      const stray = [...found.keys()].filter((token) => (found[token] ?? 0) > 0 && !allowed[token]);
      expect(stray).toEqual([]);
      // Not only the first few: the draws reach deep into what is allowed.
      expect(found.filter((share) => share > 0).length).toBeGreaterThan(200);
    }
  });

  it('is greedy at temperature zero, of equals the first', () => {
    const scan = new RowScan(4);
    const params = { ...NEUTRAL, temperature: 0 };
    const prng = new Prng(1);
    expect(chooseToken(scan, Float32Array.of(1, 7, 7, 2), { params, prng })).toBe(1);
  });
});
