import { expect, test } from 'vitest';
import { Prng } from './prng.ts';

const many = <T>(count: number, next: () => T): T[] => Array.from({ length: count }, next);

test('a seed replays exactly, another seed does not', () => {
  const list = (seed: number): number[] => {
    const prng = new Prng(seed);
    return many(100, () => prng.uint32());
  };
  expect(list(7)).toEqual(list(7));
  expect(list(7)).not.toEqual(list(8));
  expect(list(0)).not.toEqual(list(1));
  expect(new Set(list(0)).size).toBe(100);
});

test('the stream of a seed stays what it is: synthetic weights and simulations depend on it', () => {
  const prng = new Prng(1);
  expect(many(4, () => prng.uint32())).toMatchInlineSnapshot(`
    [
      2420951833,
      2513034076,
      3847892949,
      4064752930,
    ]
  `);
});

test('floats lie in [0, 1) and fill it evenly', () => {
  const prng = new Prng(3);
  const bins = new Array<number>(16).fill(0);
  for (const value of many(64_000, () => prng.float())) {
    expect(value >= 0 && value < 1).toBe(true);
    const bin = Math.floor(value * 16);
    bins[bin] = (bins[bin] ?? 0) + 1;
  }
  const chi2 = bins.reduce((sum, n) => sum + (n - 4000) ** 2 / 4000, 0);
  // 15 degrees of freedom: 99.9 % lie below 37.7.
  expect(chi2).toBeLessThan(37.7);
});

test('each bit is set half of the time', () => {
  const prng = new Prng(4);
  const words = many(20_000, () => prng.uint32());
  for (let bit = 0; bit < 32; bit++) {
    const set = words.filter((word) => ((word >>> bit) & 1) === 1).length;
    expect(Math.abs(set / words.length - 0.5)).toBeLessThan(0.02);
  }
});

test('integers include both ends and nothing else', () => {
  const prng = new Prng(5);
  const seen = new Set(many(1000, () => prng.int(-2, 3)));
  expect([...seen].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
  expect(prng.int(9, 9)).toBe(9);
});

test('exponential and normal have the mean and spread that they say', () => {
  const prng = new Prng(6);
  const mean = (list: readonly number[]): number =>
    list.reduce((sum, value) => sum + value, 0) / list.length;
  const gaps = many(50_000, () => prng.exponential(20));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  expect(mean(gaps) / 20).toBeCloseTo(1, 1);
  const bell = many(50_000, () => prng.normal());
  expect(bell.every(Number.isFinite)).toBe(true);
  expect(mean(bell)).toBeCloseTo(0, 1);
  expect(mean(bell.map((x) => x * x))).toBeCloseTo(1, 1);
});

test('picks every item, and refuses an empty list', () => {
  const prng = new Prng(8);
  expect(new Set(many(100, () => prng.pick(['a', 'b', 'c'])))).toEqual(new Set(['a', 'b', 'c']));
  expect(() => prng.pick([])).toThrow(RangeError);
});
