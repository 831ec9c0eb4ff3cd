/**
 * How long a step takes, learned from the steps themselves. The time is a sum of terms, each with a
 * coefficient that is learned. Where the machine has a profile the terms are those of the planner
 * (step-guess.ts): every coefficient begins at 1, so that the first prediction is the planner's.
 * Elsewhere they are a fixed part (reading the weights, launching kernels), a part per computed
 * token with one knee (small batches use other kernels than large ones), and a part per attended
 * cell:
 *
 *   ms = fixed + small · min(tokens, KNEE) + large · max(0, tokens - KNEE)
 *      + attended · Σ cells attended to      (one coefficient below TILE tokens, one from there)
 *
 * The newest steps of each size class are kept, so that hours of decoding do not make it forget
 * what a prompt costs. The fit minimises the relative error, outliers weigh less, and what is
 * believed beforehand counts as a few observations. No coefficient is negative, so that more work
 * in the same kernels is never predicted to take less time: on a machine where eight sequences
 * decode as fast as one, `small` is 0. Pure.
 */
import { solveSymmetric } from './linear-solve.ts';
import { TILE_TOKENS } from './step-cost.ts';

export interface StepTimeGuess {
  readonly fixedMs: number;
  readonly perTokenMs: number;
  readonly perAttendedMs: number;
}

/** What of a step decides its time; the scheduler's StepShape is one. */
export interface TimedShape {
  readonly tokens: number;
  readonly attended: number;
  /** 1 where they are left out. */
  readonly sequences?: number;
  readonly outputs?: number;
}

/** The terms whose sum is a step's time. */
export interface LearnedTerms {
  /** Of a shape, each in milliseconds or in what its coefficient turns into them. Grow with it. */
  readonly of: (shape: TimedShape) => readonly number[];
  /** Coefficients before anything was measured. */
  readonly prior: readonly number[];
  /** What counts as observed beforehand. */
  readonly anchors: readonly StepAnchor[];
}

export interface StepAnchor {
  readonly terms: readonly number[];
  readonly ms: number;
  /** An error of so much counts like an error of 100 %. */
  readonly scaleMs: number;
}

interface Observation {
  readonly terms: readonly number[];
  readonly measuredMs: number;
}

/** Batch size at which llama.cpp's CPU and GPU kernels change from vector to matrix products. */
export const KNEE_TOKENS = 16;
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
  readonly #terms: LearnedTerms;
  #fit: readonly number[];
  readonly #classes: Observation[][] = Array.from({ length: CLASSES }, () => []);
  #observations = 0;

  constructor(guess: StepTimeGuess | LearnedTerms) {
    this.#terms = 'of' in guess ? guess : linearTerms(guess);
    this.#fit = this.#terms.prior;
  }

  /** Milliseconds that a step of this shape is expected to take. */
  predictMs(shape: TimedShape): number {
    return Math.max(1e-3, dot(this.#fit, this.#terms.of(shape)));
  }

  /** Learns from a step that took `measuredMs`. */
  observe(shape: TimedShape, measuredMs: number): void {
    if (!(measuredMs >= MEASURED_MS_MIN && measuredMs < Infinity)) return;
    if (!(shape.tokens > 0 && shape.attended >= 0)) return;
    const index = Math.min(CLASSES - 1, Math.floor(Math.log2(shape.tokens)));
    const samples = this.#classes[index] ?? [];
    if (samples.length >= SAMPLES_PER_CLASS) samples.shift();
    samples.push({ terms: this.#terms.of(shape), measuredMs });
    this.#observations += 1;
    const every = this.#observations <= OBSERVATIONS_FIRST ? REFIT_EVERY_FIRST : REFIT_EVERY;
    if (this.#observations % every === 0 || this.#observations === 1) this.#refit();
  }

  #refit(): void {
    const samples = this.#classes.flat();
    let fit = this.#fit;
    for (let pass = 0; pass < PASSES; pass++) {
      const free = this.#terms.prior.map(() => true);
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
    reference: readonly number[],
    free: readonly boolean[],
  ): readonly number[] {
    const n = reference.length;
    const matrix = Array.from({ length: n }, () => new Array<number>(n).fill(0));
    const right = new Array<number>(n).fill(0);
    for (const { terms: x, measuredMs } of samples) {
      const weight = huber(dot(reference, x), measuredMs) / measuredMs ** 2;
      accumulate(matrix, right, x, { weight, target: measuredMs });
    }
    for (const { terms: x, ms, scaleMs } of this.#terms.anchors) {
      // Relative to what is known by now: a guess that was far too fast must not weigh the more.
      const known = Math.max(scaleMs, dot(reference, x));
      const weight = (GUESS_WEIGHT * huber(ms, known)) / known ** 2;
      accumulate(matrix, right, x, { weight, target: ms });
    }
    for (const [i, isFree] of free.entries()) if (!isFree) pinToZero(matrix, right, i);
    return solveSymmetric(matrix, right);
  }
}

/** Where a guess is taken to have been observed. */
export const ANCHOR_SHAPES: readonly TimedShape[] = [
  { tokens: 1, attended: 64 },
  { tokens: 16, attended: 4096 },
  { tokens: 256, attended: 65_536 },
  { tokens: 1, attended: 32_768 },
];

/** The terms of a machine of which nothing but a guess is known. */
function linearTerms({ fixedMs, perTokenMs, perAttendedMs }: StepTimeGuess): LearnedTerms {
  const prior = [fixedMs, perTokenMs, perTokenMs, perAttendedMs, perAttendedMs / TILE_GAIN];
  const anchors = ANCHOR_SHAPES.map(features).map((terms): StepAnchor => {
    const ms = Math.max(1e-6, dot(prior, terms));
    return { terms, ms, scaleMs: ms };
  });
  return { of: features, prior, anchors };
}

function features(shape: TimedShape): readonly number[] {
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
