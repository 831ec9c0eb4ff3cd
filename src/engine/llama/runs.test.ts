/** Long runs are cut without losing text, characters or special tokens. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutLongRuns, hasLongRun, RUN_MAX } from './runs.ts';

/** Texts with runs around the limit, of letters, spaces, pairs and special tokens. */
const pieces = fc.oneof(
  fc.tuple(fc.constantFrom('a', ' ', '\n', '!', '😀', '<|x|>'), fc.integer({ min: 0, max: 6000 })),
  fc.tuple(fc.string({ unit: 'binary' }), fc.constant(1)),
);
const texts = fc
  .array(pieces, { maxLength: 5 })
  .map((list) => list.map(([text, times]) => text.repeat(times)).join(''));

describe('cutLongRuns', () => {
  it('keeps the text and leaves no long run', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const parts = cutLongRuns(text, []);
        expect(parts.join('') === text).toBe(true);
        expect(parts.some(hasLongRun)).toBe(false);
        if (!hasLongRun(text)) expect(parts).toHaveLength(1);
      }),
      { numRuns: 60 },
    );
  });

  it('cuts no surrogate pair and no special token in two', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const count = (all: readonly string[]): number =>
          all.reduce((sum, part) => sum + part.split('<|x|>').length - 1, 0);
        const parts = cutLongRuns(text, ['<|x|>']);
        expect(parts.join('') === text).toBe(true);
        expect(count(parts)).toBe(count([text]));
        const starts = parts.slice(1).map((part) => part.charCodeAt(0));
        const ends = parts.map((part) => part.charCodeAt(part.length - 1));
        const pairs = starts.filter((low, i) => {
          const high = ends[i] ?? 0;
          return low >= 0xdc00 && low <= 0xdfff && high >= 0xd800 && high <= 0xdbff;
        });
        expect(pairs).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('cuts text without spaces before punctuation', () => {
    const parts = cutLongRuns('这是一个没有空格的句子，而且很长。'.repeat(1000), []);
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.slice(1).every((part) => '，。'.includes(part[0] ?? ''))).toBe(true);
  });

  it('leaves ordinary text whole, whatever its length', () => {
    const text = 'words of a sentence '.repeat(50_000);
    expect(hasLongRun(text)).toBe(false);
    expect(hasLongRun('x'.repeat(RUN_MAX))).toBe(false);
    expect(hasLongRun('x'.repeat(RUN_MAX + 1))).toBe(true);
  });
});
