/**
 * How long a request that arrives now would wait: list scheduling of what is ahead of it over the
 * slots, each ahead taking its predicted service time. It feeds Retry-After and the load report.
 */
import { EMPTY_SHAPE, withSlice } from './budget.ts';
import type { StepTimeModel } from './plan.ts';
import type { Sequence } from './sequence.ts';

/**
 * `runningMs`: time left of each running sequence; `waitingMs`: service time of each that waits, in
 * order; `slots`: how many run at once. Returns milliseconds until a slot is free for one more.
 */
export function predictWaitMs(
  runningMs: readonly number[],
  waitingMs: readonly number[],
  slots: number,
): number {
  const freeAt = runningMs.slice();
  while (freeAt.length < slots) freeAt.push(0);
  freeAt.sort((a, b) => a - b);
  for (const serviceMs of waitingMs) {
    const at = freeAt.shift() ?? 0;
    insertSorted(freeAt, at + serviceMs);
  }
  return freeAt[0] ?? 0;
}

function insertSorted(sorted: number[], value: number): void {
  let index = sorted.length;
  while (index > 0 && (sorted[index - 1] ?? 0) > value) index -= 1;
  sorted.splice(index, 0, value);
}

/** Output length assumed before any request has ended. */
const FIRST_GUESS_TOKENS = 128;
/** Weight of the newest output length in the running mean. */
const LENGTH_SMOOTHING = 0.1;

export class WaitEstimator {
  readonly #time: StepTimeModel;
  readonly #slots: number;
  #expectedTokens = FIRST_GUESS_TOKENS;

  constructor(time: StepTimeModel, slots: number) {
    this.#time = time;
    this.#slots = slots;
  }

  /** Learns how long outputs are from a sequence that has ended. */
  observeLength(s: Sequence): void {
    if (s.ending?.kind !== 'finished') return;
    this.#expectedTokens += LENGTH_SMOOTHING * (s.generated - this.#expectedTokens);
  }

  predictMs(running: readonly Sequence[], waiting: readonly Sequence[]): number {
    if (running.length + waiting.length < this.#slots) return 0;
    const ahead = running.map((s) => this.#serviceMs(s));
    const queued = waiting.map((s) => this.#serviceMs(s));
    return predictWaitMs(ahead, queued, this.#slots);
  }

  /** Time left of a sequence while all slots decode. */
  #serviceMs(s: Sequence): number {
    const length = Math.max(1, s.remaining);
    const prefill = withSlice(EMPTY_SHAPE, { start: s.computed, length, outputs: 1 });
    const step = {
      tokens: this.#slots,
      sequences: this.#slots,
      attended: this.#slots * s.total,
      outputs: this.#slots,
    };
    const left = Math.max(1, Math.min(s.maxTokens, this.#expectedTokens) - s.generated);
    const prefillMs = s.decoding ? 0 : this.#time.predictMs(prefill);
    return prefillMs + left * this.#time.predictMs(step);
  }
}
