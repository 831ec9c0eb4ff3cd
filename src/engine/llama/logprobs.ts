/**
 * Log probabilities of a row of logits: log-softmax of what the model computed, before bias,
 * penalties, temperature or any cut. So they sum to one over the vocabulary and do not depend on how
 * a request samples. The likeliest few are found in the pass that finds the maximum, without a sort.
 */
import type { RawLogprob } from '../../scheduler/plan.ts';

/** What lies this far below the maximum adds less than 1e-13 of it each, and is left out. */
const NEGLIGIBLE = 30;

/** The `count` largest logits of a row, largest first; of equals the lower token first. */
class Largest {
  readonly tokens: number[] = [];
  readonly logits: number[] = [];
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  offer(token: number, logit: number): void {
    let at = this.logits.length;
    while (at > 0 && logit > (this.logits[at - 1] ?? 0)) at -= 1;
    this.logits.splice(at, 0, logit);
    this.tokens.splice(at, 0, token);
    if (this.logits.length > this.#count) {
      this.logits.pop();
      this.tokens.pop();
    }
  }

  /** The logit that a candidate must exceed. */
  get threshold(): number {
    const full = this.logits.length === this.#count;
    return full ? (this.logits[this.#count - 1] ?? 0) : Number.NEGATIVE_INFINITY;
  }
}

/** Natural logarithms. `top` is how many of the likeliest tokens to list, 0 for none. */
export function scoreRow(row: Float32Array, token: number, top: number): RawLogprob {
  const largest = new Largest(Math.max(1, top));
  let threshold = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) {
    const logit = row[i] as number;
    if (logit > threshold) {
      largest.offer(i, logit);
      threshold = largest.threshold;
    }
  }
  const max = largest.logits[0] ?? 0;
  const norm = max + Math.log(sumExp(row, max));
  return {
    token,
    logprob: (row[token] ?? Number.NEGATIVE_INFINITY) - norm,
    top: largest.tokens
      .slice(0, top)
      .map((id, i) => ({ token: id, logprob: (largest.logits[i] ?? 0) - norm })),
  };
}

function sumExp(row: Float32Array, max: number): number {
  const floor = max - NEGLIGIBLE;
  let sum = 0;
  for (let i = 0; i < row.length; i++) {
    const logit = row[i] as number;
    if (logit > floor) sum += Math.exp(logit - max);
  }
  return sum;
}

/** The token with the largest logit; of equals the lowest. */
export function argmax(row: Float32Array): number {
  let best = 0;
  let max = row[0] ?? Number.NEGATIVE_INFINITY;
  for (let i = 1; i < row.length; i++) {
    const logit = row[i] as number;
    if (logit > max) {
      max = logit;
      best = i;
    }
  }
  return best;
}
