/**
 * How long a step takes, learned from the steps themselves. Two terms and an overhead: a fixed part
 * (reading the weights, launching kernels), a part per computed token with one knee (small batches
 * use other kernels than large ones), and a part per attended cell:
 *
 *   ms = fixed + small · min(tokens, KNEE) + large · max(0, tokens - KNEE)
 *      + attended · Σ cells attended to      (one coefficient below TILE tokens, one from there)
 *
 * The newest steps of each size class are kept, so that hours of decoding do not make it forget
 * what a prompt costs. The fit minimises the relative error, outliers weigh less, and the first
 * guess counts as a few observations. No coefficient is negative, so that more work in the same
 * kernels is never predicted to take less time: on a machine where eight sequences decode as fast
 * as one, `small` is 0. Pure.
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

type Coefficients = readonly [
  fixed: number,
  small: number,
  large: number,
  attendedSmall: number,
  attendedLarge: number,
];

interface Observation {
  readonly features: readonly number[];
  readonly measuredMs: number;
}

/** Batch size at which llama.cpp's CPU and GPU kernels change from vector to matrix products. */
const KNEE_TOKENS = 16;
/**
 * From so many tokens on attention is computed in tiles, which is several times cheaper per cell
 * (GGML_FA_TILE_Q of ggml's CPU backend; GPUs change from a vector to a matrix kernel alike).
 */
export const TILE_TOKENS = 64;
/**
 * How much cheaper, before it is known. SmolLM2-135M on one thread of a Xeon with AVX-512, 2048
 * tokens deep: 48 tokens took 1299 ms and 64 took 544, of which 2.3 ms a token are not attention.
 */
const TILE_GAIN = 4;
const SAMPLES_PER_CLASS = 24;
const CLASSES = 16;
/** How many observations the first guess is worth. */
const GUESS_WEIGHT = 0.5;
/** What is shorter was not measured: a clock that stood still, or an engine without work. */
const MEASURED_MS_MIN = 1e-6;
/** A relative residual beyond this weighs less (Huber's rule). */
const OUTLIER = 0.25;
const REFIT_EVERY_FIRST = 4;
const REFIT_EVERY = 8;
const OBSERVATIONS_FIRST = 64;
/** Each refit weighs outliers by the pass before it. */
const PASSES = 2;

export class OnlineStepTime {
  readonly #guess: Coefficients;
  #fit: Coefficients;
  readonly #classes: Observation[][] = Array.from({ length: CLASSES }, () => []);
  #observations = 0;

  constructor(guess: StepTimeGuess) {
    const { fixedMs, perTokenMs, perAttendedMs } = guess;
    this.#guess = [fixedMs, perTokenMs, perTokenMs, perAttendedMs, perAttendedMs / TILE_GAIN];
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
    let fit = this.#fit;
    for (let pass = 0; pass < PASSES; pass++) {
      const free = [true, true, true, true, true];
      let solved = this.#solve(samples, fit, free);
      while (solved.some((value) => value < 0)) {
        for (const [i, value] of solved.entries()) if (value < 0) free[i] = false;
        solved = this.#solve(samples, fit, free);
      }
      if (!solved.every(Number.isFinite)) return;
      fit = solved;
    }
    this.#fit = fit;
  }

  /** Weighted least squares; the coefficient of a feature that is not free is 0. */
  #solve(
    samples: readonly Observation[],
    reference: Coefficients,
    free: readonly boolean[],
  ): Coefficients {
    const n = 5;
    const matrix = Array.from({ length: n }, () => new Array<number>(n).fill(0));
    const right = new Array<number>(n).fill(0);
    for (const { features: x, measuredMs } of samples) {
      const weight = huber(dot(reference, x), measuredMs) / measuredMs ** 2;
      accumulate(matrix, right, x, { weight, target: measuredMs });
    }
    for (const x of GUESS_SHAPES.map(features)) {
      const target = Math.max(1e-6, dot(this.#guess, x));
      // Relative to what is known by now: a guess that was far too fast must not weigh the more.
      const known = Math.max(target, dot(reference, x));
      const weight = (GUESS_WEIGHT * huber(target, known)) / known ** 2;
      accumulate(matrix, right, x, { weight, target });
    }
    for (const [i, isFree] of free.entries()) if (!isFree) pinToZero(matrix, right, i);
    const [fixed = 0, small = 0, large = 0, below = 0, tiled = 0] = solveSymmetric(matrix, right);
    return [fixed, small, large, below, tiled];
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
  const small = Math.min(shape.tokens, KNEE_TOKENS);
  const isTiled = shape.tokens >= TILE_TOKENS;
  const attended = isTiled ? [0, shape.attended] : [shape.attended, 0];
  return [1, small, shape.tokens - small, ...attended];
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** Weight of an observation by its relative residual. */
function huber(value: number, expected: number): number {
  const residual = Math.abs(value - expected) / expected;
  return residual > OUTLIER ? OUTLIER / residual : 1;
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

/** Takes one unknown out of the system: its solution is 0. */
function pinToZero(matrix: number[][], right: number[], index: number): void {
  for (const row of matrix) row[index] = 0;
  matrix[index] = right.map((_, j) => (j === index ? 1 : 0));
  right[index] = 0;
}
