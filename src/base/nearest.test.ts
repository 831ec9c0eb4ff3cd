import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editDistance, nearest } from './nearest.ts';

describe('edit distance', () => {
  test.each([
    ['', '', 0],
    ['abc', '', 3],
    ['kitten', 'sitting', 3],
    ['temprature', 'temperature', 1],
    ['prot', 'port', 1],
    ['ab', 'ba', 1],
  ])('%s → %s is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  test('is symmetric, 0 only for equals, and bounded by the longer one', () => {
    const word = fc.string({ maxLength: 10 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
    );
  });
});

describe('the nearest name', () => {
  const known = ['temperature', 'top_p', 'top_k', 'max_tokens', 'stream'];

  test.each([
    ['temprature', 'temperature'],
    ['top-p', 'top_p'],
    ['MAX_TOKENS', 'max_tokens'],
    ['maxTokens', 'max_tokens'],
    ['steam', 'stream'],
  ])('of %s is %s', (name, expected) => {
    expect(nearest(name, known)).toBe(expected);
  });

  test('is null when nothing is near enough to be a typing error', () => {
    expect(nearest('frequency', known)).toBeNull();
    expect(nearest('x', ['abcdef'])).toBeNull();
    expect(nearest('anything', [])).toBeNull();
  });

  test('of two equally near ones is the first', () => {
    expect(nearest('top_x', known)).toBe('top_p');
  });
});
