/**
 * Time spent in steps, predicted and measured, and what the loop adds around the engine's compute.
 */
import type { LoadReport } from '../wire/report.ts';

/** A step of the scheduler, or a batch of an encoder. */
export interface MeteredStep {
  readonly slices: readonly unknown[];
  readonly predictedMs: number;
}

/** Weight of the newest step in the smoothed ratio. */
const RATIO_SMOOTHING = 0.05;

export class StepMeter {
  #count = 0;
  #predictedMsSum = 0;
  #measuredMsSum = 0;
  #overheadMsSum = 0;
  #ratio = 1;
  /** When the previous step settled; null after a pause. */
  #previousAt: number | null = null;

  /** A step settled at `at`. The overhead is what lies between two settles and is not compute. */
  step(plan: MeteredStep, computeMs: number, at: number): void {
    if (plan.slices.length === 0) return;
    if (this.#previousAt !== null) {
      this.#overheadMsSum += Math.max(0, at - this.#previousAt - computeMs);
    }
    this.#previousAt = at;
    this.#count += 1;
    this.#predictedMsSum += plan.predictedMs;
    this.#measuredMsSum += computeMs;
    this.#ratio += RATIO_SMOOTHING * (computeMs / Math.max(plan.predictedMs, 1e-3) - this.#ratio);
  }

  /** The loop has nothing to do: the gap to the next step is not overhead. */
  idle(): void {
    this.#previousAt = null;
  }

  snapshot(): LoadReport['steps'] {
    return {
      count: this.#count,
      predictedMsSum: this.#predictedMsSum,
      measuredMsSum: this.#measuredMsSum,
      ratio: this.#ratio,
      overheadMsSum: this.#overheadMsSum,
    };
  }
}
