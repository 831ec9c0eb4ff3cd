/**
 * Fits positive parameters to measurements: Levenberg and Marquardt's damped least squares on
 * logarithms, so that a parameter cannot become negative and an error counts by its ratio.
 * Outliers weigh less (Huber). Pure and deterministic.
 */
import { solveSymmetric } from './linear-solve.ts';

export interface FitProblem {
  /** Where the search begins, one positive value per parameter. */
  readonly start: readonly number[];
  /** Bounds that each parameter keeps. */
  readonly lower: readonly number[];
  readonly upper: readonly number[];
  /** log(predicted / measured) per row, for the given parameters. */
  readonly residuals: (parameters: readonly number[]) => readonly number[];
}

/** A residual beyond it (15 %) weighs less. */
const OUTLIER = 0.15;
const ROUNDS = 60;
const STEP = 1e-4;
/** A round that improves the loss by less ends the search. */
const GAIN_MIN = 1e-5;
/** How strongly a parameter is held to its start, in rows of a 100 % error. */
const PRIOR_WEIGHT = 2e-3;

/** The parameters with the least weighted squares, near `start` where the rows say nothing. */
export function fitParameters(problem: FitProblem): readonly number[] {
  const origin = problem.start.map(Math.log);
  const clampLog = (x: readonly number[]): number[] =>
    x.map((v, i) =>
      Math.min(Math.log(problem.upper[i] ?? v), Math.max(Math.log(problem.lower[i] ?? v), v)),
    );
  const residualsAt = (x: readonly number[]): readonly number[] =>
    problem.residuals(x.map(Math.exp));
  let at = clampLog(origin);
  let residuals = residualsAt(at);
  let loss = lossOf(residuals, at, origin);
  let damping = 1e-2;
  for (let round = 0; round < ROUNDS && damping < 1e8; round++) {
    const { matrix, right } = normalEquations(at, origin, residuals, residualsAt);
    for (const [i, row] of matrix.entries()) row[i] = (row[i] ?? 0) * (1 + damping) + 1e-12;
    const delta = solveSymmetric(matrix, right);
    const next = clampLog(at.map((v, i) => v + Math.max(-0.5, Math.min(0.5, delta[i] ?? 0))));
    const nextResiduals = residualsAt(next);
    const nextLoss = lossOf(nextResiduals, next, origin);
    if (nextLoss < loss) {
      const gain = (loss - nextLoss) / loss;
      at = next;
      residuals = nextResiduals;
      loss = nextLoss;
      damping = Math.max(1e-6, damping / 3);
      if (gain < GAIN_MIN) break;
    } else damping *= 4;
  }
  return at.map(Math.exp);
}

const weightOf = (residual: number): number => {
  const size = Math.abs(residual);
  return size > OUTLIER ? OUTLIER / size : 1;
};

function lossOf(residuals: readonly number[], at: readonly number[], origin: readonly number[]) {
  let sum = 0;
  for (const r of residuals) {
    const size = Math.abs(r);
    sum += size > OUTLIER ? OUTLIER * (2 * size - OUTLIER) : size * size;
  }
  for (const [i, v] of at.entries()) sum += PRIOR_WEIGHT * (v - (origin[i] ?? v)) ** 2;
  return sum;
}

function normalEquations(
  at: readonly number[],
  origin: readonly number[],
  residuals: readonly number[],
  residualsAt: (x: readonly number[]) => readonly number[],
): { matrix: number[][]; right: number[] } {
  const n = at.length;
  const slopes = at.map((_, i) => {
    const moved = residualsAt(at.map((v, j) => (j === i ? v + STEP : v)));
    return moved.map((r, row) => (r - (residuals[row] ?? 0)) / STEP);
  });
  const matrix = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  const right = new Array<number>(n).fill(0);
  const weights = residuals.map(weightOf);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let sum = i === j ? PRIOR_WEIGHT : 0;
      for (let row = 0; row < residuals.length; row++) {
        sum += (weights[row] ?? 0) * (slopes[i]?.[row] ?? 0) * (slopes[j]?.[row] ?? 0);
      }
      (matrix[i] ?? [])[j] = sum;
      (matrix[j] ?? [])[i] = sum;
    }
    let sum = -PRIOR_WEIGHT * ((at[i] ?? 0) - (origin[i] ?? 0));
    for (let row = 0; row < residuals.length; row++) {
      sum -= (weights[row] ?? 0) * (slopes[i]?.[row] ?? 0) * (residuals[row] ?? 0);
    }
    right[i] = sum;
  }
  return { matrix, right };
}

/** Mean of |predicted / measured − 1|, in percent. */
export function meanAbsolutePercentageError(residuals: readonly number[]): number {
  if (residuals.length === 0) return 0;
  const sum = residuals.reduce((total, r) => total + Math.abs(Math.exp(r) - 1), 0);
  return (100 * sum) / residuals.length;
}
