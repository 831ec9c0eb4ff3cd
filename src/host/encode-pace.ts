/**
 * How many milliseconds pass per millisecond of predicted batch time while there is work: waits for
 * turns, time taken by other processes and what lies between two batches are in it, as in the wait
 * of a request. Pure.
 */

/** Half of the memory is the last seven batches. */
const KEPT = 0.9;

export class Pace {
  #passedMs = 0;
  #predictedMs = 0;

  /** `passedMs`: from the end of the last batch, or from the wish for one after idleness. */
  batch(passedMs: number, predictedMs: number): void {
    this.#passedMs = KEPT * this.#passedMs + passedMs;
    this.#predictedMs = KEPT * this.#predictedMs + predictedMs;
  }

  /** Never below 1: a batch that was quicker than predicted is the prediction's own to learn. */
  get factor(): number {
    return this.#predictedMs > 0 ? Math.max(1, this.#passedMs / this.#predictedMs) : 1;
  }
}
