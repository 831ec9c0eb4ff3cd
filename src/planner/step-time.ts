/**
 * How long a step takes, learned from the steps themselves. Two terms and an overhead: a fixed part
 * (reading the weights, launching kernels), a part per computed token with one knee (small batches
 * use other kernels than large ones), and a part per attended cell:
 *
 *   ms = fixed + small · min(tokens, KNEE) + token · tokens + attended · Σ cells attended to
 *
 * The newest steps of each size class are kept, so that hours of decoding do not make it forget what
 * a prompt costs. The fit minimises the relative error, outliers weigh less, and the first guess
 * counts as a few observations. Pure.
 */
import { solveSymmetric } from './linear-solve.ts';

export interface StepTimeGuess {
  readonly fixedMs: number;
  readonly perTokenMs: number;
  readonly perAttendedMs: number;
}

interface Shape {
  readonly tokens: number;
  readonly attended: number;
}

type Coefficients = readonly [fixed: number, small: number, token: number, attended: number];

interface Observation {
  readonly features: readonly number[];
  readonly measuredMs: number;
}

/** Batch size at which llama.cpp's CPU and GPU kernels change from vector to matrix products. */
const KNEE_TOKENS = 16;
const SAMPLES_PER_CLASS = 24;
const CLASSES = 16;
/** How many observations the first guess is worth. */
const GUESS_WEIGHT = 0.5;
/** What is shorter was not measured: a clock that stood still, or an engine without work. */
const MEASURED_MS_MIN = 1e-6;
/** A relative residual beyond this weighs less (Huber's rule). */
const OUTLIER = 0.25;
const REFIT_EVERY_FIRST = 4;
const REFIT_EVERY = 32;
const OBSERVATIONS_FIRST = 64;

export class OnlineStepTime {
  readonly #guess: Coefficients;
  #fit: Coefficients;
  readonly #classes: Observation[][] = Array.from({ length: CLASSES }, () => []);
  #observations = 0;

  constructor(guess: StepTimeGuess) {
    this.#guess = [guess.fixedMs, 0, guess.perTokenMs, guess.perAttendedMs];
    this.#fit = this.#guess;
  }

  /** Milliseconds that a step of this shape is expected to take. */
  predictMs(shape: Shape): number {
    return Math.max(1e-3, dot(this.#fit, features(shape)));
  }

  /** Learns from a step that took `measuredMs`. */
  observe(shape: Shape, measuredMs: number): void {
    if (!(measuredMs >= MEASURED_MS_MIN && measuredMs < Infinity)) return;
    if (!(shape.tokens > 0 && shape.attended >= 0)) return;
    const index = Math.min(CLASSES - 1, Math.floor(Math.log2(shape.tokens)));
    const samples = this.#classes[index] ?? [];
    if (samples.length >= SAMPLES_PER_CLASS) samples.shift();
    samples.push({ features: features(shape), measuredMs });
    this.#observations += 1;
    const every = this.#observations <= OBSERVATIONS_FIRST ? REFIT_EVERY_FIRST : REFIT_EVERY;
    if (this.#observations % every === 0 || this.#observations === 1) this.#refit();
  }

  #refit(): void {
    const samples = this.#classes.flat();
    let fit = this.#solve(samples, this.#fit, [true, true, true, true]);
    fit = this.#solve(samples, fit, [true, true, true, true]);
    if (!isPhysical(fit)) fit = this.#solve(samples, fit, [true, false, true, true]);
    if (!isPhysical(fit)) fit = this.#solve(samples, fit, [true, false, true, false]);
    if (isPhysical(fit)) this.#fit = fit;
  }

  /** Weighted least squares; a feature that is not free keeps its guessed coefficient. */
  #solve(
    samples: readonly Observation[],
    reference: Coefficients,
    free: readonly boolean[],
  ): Coefficients {
    const n = 4;
    const matrix = Array.from({ length: n }, () => new Array<number>(n).fill(0));
    const right = new Array<number>(n).fill(0);
    for (const { features: x, measuredMs } of samples) {
      const residual = Math.abs(dot(reference, x) - measuredMs) / measuredMs;
      const weight = (residual > OUTLIER ? OUTLIER / residual : 1) / measuredMs ** 2;
      accumulate(matrix, right, x, { weight, target: measuredMs });
    }
    for (const x of GUESS_SHAPES.map(features)) {
      const target = Math.max(1e-6, dot(this.#guess, x));
      accumulate(matrix, right, x, { weight: GUESS_WEIGHT / target ** 2, target });
    }
    pinFixed(matrix, right, { free, values: this.#guess });
    const [fixed = 0, small = 0, token = 0, attended = 0] = solveSymmetric(matrix, right);
    return [fixed, small, token, attended];
  }
}

/** Where the first guess is taken to have been observed. */
const GUESS_SHAPES: readonly Shape[] = [
  { tokens: 1, attended: 64 },
  { tokens: 16, attended: 4096 },
  { tokens: 256, attended: 65_536 },
  { tokens: 1, attended: 32_768 },
];

function features(shape: Shape): readonly number[] {
  return [1, Math.min(shape.tokens, KNEE_TOKENS), shape.tokens, shape.attended];
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** Time never falls with more tokens or more attended cells, and a step is never free. */
function isPhysical([fixed, small, token, attended]: Coefficients): boolean {
  return fixed + small + token > 0 && token >= 0 && small + token >= 0 && attended >= 0;
}

function accumulate(
  matrix: number[][],
  right: number[],
  x: readonly number[],
  term: { weight: number; target: number },
): void {
  for (const [i, row] of matrix.entries()) {
    const xi = (x[i] ?? 0) * term.weight;
    for (let j = 0; j < row.length; j++) row[j] = (row[j] ?? 0) + xi * (x[j] ?? 0);
    right[i] = (right[i] ?? 0) + xi * term.target;
  }
}

function pinFixed(
  matrix: number[][],
  right: number[],
  pinned: { free: readonly boolean[]; values: readonly number[] },
): void {
  for (const [i, row] of matrix.entries()) {
    if (pinned.free[i] === true) continue;
    const value = pinned.values[i] ?? 0;
    for (let j = 0; j < matrix.length; j++) {
      right[j] = (right[j] ?? 0) - (matrix[j]?.[i] ?? 0) * value;
      row[j] = 0;
      const other = matrix[j];
      if (other !== undefined) other[i] = 0;
    }
    row[i] = 1;
    right[i] = value;
  }
}
