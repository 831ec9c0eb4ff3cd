/** Random symmetric systems with a known answer. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { solveSymmetric } from './linear-solve.ts';

const number = fc.integer({ min: -50, max: 50 });
const times = (rows: readonly (readonly number[])[], x: readonly number[]): number[] =>
  rows.map((row) => row.reduce((sum, value, i) => sum + value * (x[i] ?? 0), 0));

/** RᵀR + 1: symmetric, positive definite, well enough conditioned. */
function normal(r: readonly (readonly number[])[], n: number): number[][] {
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) =>
      r.reduce((sum, row) => sum + (row[i] ?? 0) * (row[j] ?? 0), i === j ? 1 : 0),
    ),
  );
}

const system = fc.integer({ min: 1, max: 6 }).chain((n) =>
  fc.record({
    n: fc.constant(n),
    r: fc.array(fc.array(number, { minLength: n, maxLength: n }), { minLength: n, maxLength: 8 }),
    x: fc.array(number, { minLength: n, maxLength: n }),
  }),
);

test('the solution of a random system is the one that it was made from', () => {
  fc.assert(
    fc.property(system, ({ n, r, x }) => {
      const matrix = normal(r, n);
      const solved = solveSymmetric(matrix, times(matrix, x));
      for (const [i, value] of solved.entries()) expect(value).toBeCloseTo(x[i] ?? Number.NaN, 5);
    }),
    { numRuns: 1000 },
  );
});

test('rows of very different size are solved as well', () => {
  const scale = [1e-6, 1, 1e5, 1e9];
  const base = normal(
    [
      [1, 2, 0, 1],
      [0, 1, 3, 1],
      [2, 0, 1, 1],
      [1, 1, 1, 4],
    ],
    4,
  );
  const matrix = base.map((row, i) => row.map((v, j) => v * (scale[i] ?? 0) * (scale[j] ?? 0)));
  const x = [3e5, -2, 7e-5, 1e-9];
  const solved = solveSymmetric(matrix, times(matrix, x));
  for (const [i, value] of solved.entries()) expect(value / (x[i] ?? 0)).toBeCloseTo(1, 6);
});

test('a direction that the system says nothing about gets 0', () => {
  expect(
    solveSymmetric(
      [
        [4, 0],
        [0, 0],
      ],
      [8, 0],
    ),
  ).toEqual([2, 0]);
  const [a = 0, b = 0] = solveSymmetric(
    [
      [1, 1],
      [1, 1],
    ],
    [3, 3],
  );
  expect(a + b).toBeCloseTo(3, 9);
});

test('neither matrix nor right side is changed', () => {
  const matrix = [
    [2, 1],
    [1, 3],
  ];
  const right = [3, 4];
  solveSymmetric(matrix, right);
  expect({ matrix, right }).toEqual({
    matrix: [
      [2, 1],
      [1, 3],
    ],
    right: [3, 4],
  });
});
