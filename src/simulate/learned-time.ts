/**
 * The step times that the simulated host learns: the host's own model, taught by the first steps as
 * a host is at load and while it serves. Virtual steps have no noise, so that later ones say little
 * that is new: only one in a few is learned from, because fitting costs more than a virtual step.
 */
import { OnlineStepTime, type StepTimeGuess } from '../planner/step-time.ts';
import { EMPTY_SHAPE, withSlice } from '../scheduler/budget.ts';
import type { StepShape, StepTimeModel } from '../scheduler/plan.ts';

/** Steps by which a host learns its speed when it has loaded a model (host/calibrate.ts). */
const CALIBRATION_TOKENS = [1, 8, 32, 128];
const STEPS_FIRST = 512;
const ONE_IN = 8;

export class LearnedTime implements StepTimeModel {
  readonly #model: OnlineStepTime;
  #observed = 0;

  constructor(guess: StepTimeGuess) {
    this.#model = new OnlineStepTime(guess);
  }

  predictMs(shape: StepShape): number {
    return this.#model.predictMs(shape);
  }

  observe(shape: StepShape, measuredMs: number): void {
    this.#observed += 1;
    if (this.#observed > STEPS_FIRST && this.#observed % ONE_IN !== 0) return;
    this.#model.observe(shape, measuredMs);
  }

  /** Learns from steps of an empty cache, of at most `tokensMax` tokens. */
  calibrate(stepMs: (shape: StepShape) => number, tokensMax: number): void {
    for (const length of CALIBRATION_TOKENS) {
      if (length > tokensMax) continue;
      const shape = withSlice(EMPTY_SHAPE, { start: 0, length, outputs: 1 });
      this.#model.observe(shape, stepMs(shape));
    }
  }
}
