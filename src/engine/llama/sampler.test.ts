/** Bias and penalties, their windows, and that a row of logits stays as it was. */
import { describe, expect, it } from 'vitest';
import { NEUTRAL_SAMPLING, type SamplingParams } from '../../wire/generation.ts';
import { RowScan } from './rows.ts';
import { foldSeed, RequestSampler } from './sampler.ts';

const FACTS = { contextTokens: 8, endOfGeneration: new Set([0]), suppressed: [1] };

function greedy(params: Partial<SamplingParams>, prompt: number[] = []): RequestSampler {
  return new RequestSampler(FACTS, {
    params: { ...NEUTRAL_SAMPLING, temperature: 0, ...params },
    prompt: Int32Array.from(prompt),
  });
}

/** Samples `count` tokens from the same row and checks that the row stays as it was. */
function sampleFrom(sampler: RequestSampler, logits: number[], count: number): number[] {
  const row = Float32Array.from(logits);
  const scan = new RowScan(row.length);
  const tokens = Array.from({ length: count }, () => sampler.sample(scan, row));
  expect([...row]).toEqual([...Float32Array.from(logits)]);
  return tokens;
}

describe('RequestSampler', () => {
  it('never gives suppressed tokens, nor ends when told not to', () => {
    expect(sampleFrom(greedy({}), [8, 9, 1], 1)).toEqual([0]);
    expect(sampleFrom(greedy({ ignoreEos: true }), [8, 9, 1], 1)).toEqual([2]);
    expect(sampleFrom(greedy({ logitBias: [[1, 100]] }), [8, 9, 1], 1)).toEqual([0]);
  });

  it('counts only generated tokens for frequency and presence', () => {
    const presence = greedy({ presencePenalty: 1 }, [2, 2, 2]);
    expect(sampleFrom(presence, [0, 0, 5, 4.5, 4.2], 4)).toEqual([2, 3, 4, 2]);
    const frequency = greedy({ frequencyPenalty: 1 });
    expect(sampleFrom(frequency, [0, 0, 5, 3.5], 5)).toEqual([2, 2, 3, 2, 3]);
  });

  it('divides positive and multiplies negative logits of the last tokens, prompt included', () => {
    const params = { repeatPenalty: 2, repeatLastN: 2 };
    expect(sampleFrom(greedy(params, [2, 4, 4]), [0, 0, 5, 4.9], 1)).toEqual([2]);
    expect(sampleFrom(greedy(params, [4, 2]), [0, 0, 5, 4.9], 1)).toEqual([3]);
    expect(sampleFrom(greedy(params, [4, 2]), [-9, -9, -5, -6], 1)).toEqual([3]);
    // Of 2, 3, 4 in turn the one that left the window of two comes back.
    expect(sampleFrom(greedy(params), [0, 0, 5, 4.9, 4.8], 6)).toEqual([2, 3, 4, 2, 3, 4]);
  });

  it('looks back over the whole context for -1 and nowhere for 0', () => {
    const all = greedy({ repeatPenalty: 2, repeatLastN: -1 }, [2, 4, 4, 4, 4]);
    expect(sampleFrom(all, [0, 0, 5, 4.9], 1)).toEqual([3]);
    const none = greedy({ repeatPenalty: 2, repeatLastN: 0 }, [2]);
    expect(sampleFrom(none, [0, 0, 5, 4.9], 1)).toEqual([2]);
  });
});

describe('foldSeed', () => {
  it('makes 32 bits of any whole number, the high bits counted', () => {
    for (const seed of [0, 1, -1, 2 ** 32 - 1, 2 ** 53 - 1, -(2 ** 53) + 1]) {
      const folded = foldSeed(seed);
      expect(folded).toBe(foldSeed(seed));
      expect(Number.isInteger(folded) && folded >= 0 && folded <= 0xffffffff).toBe(true);
    }
    expect(foldSeed(5)).toBe(5);
    expect(foldSeed(2 ** 32 + 5)).not.toBe(foldSeed(5));
    expect(foldSeed(null)).not.toBe(foldSeed(null));
  });
});
