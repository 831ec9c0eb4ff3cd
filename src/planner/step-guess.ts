/**
 * The planner's step time for the live scheduler: what a host predicts before it has measured
 * anything (the guess of OnlineStepTime), from the same terms that `plan` prints. Pure.
 */
import type { ModelCost } from './model-cost.ts';
import { type Placement, placedStep } from './placement.ts';
import type { StepOptions, StepShape } from './step-cost.ts';
import type { StepTimeGuess } from './step-time.ts';

export interface PlannedSteps {
  readonly cost: ModelCost;
  readonly placement: Placement;
  readonly options?: StepOptions;
}

/** Milliseconds of a step of any shape. */
export function plannedStepMs(
  shape: StepShape,
  { cost, placement, options }: PlannedSteps,
): number {
  return placedStep({ shape, cost, placement, options }).totalMs;
}

const MANY_TOKENS = 512;
const DEEP_CELLS = 32_768;

/** The same as a straight line: through one token, a full batch, and one token far into a text. */
export function stepTimeGuess(steps: PlannedSteps): StepTimeGuess {
  const at = (tokens: number, attended: number): number =>
    plannedStepMs({ tokens, sequences: 1, attended, outputs: 1 }, steps);
  const one = at(1, 1);
  const perTokenMs = Math.max(0, (at(MANY_TOKENS, MANY_TOKENS) - one) / (MANY_TOKENS - 1));
  return {
    fixedMs: Math.max(0, one - perTokenMs),
    perTokenMs,
    perAttendedMs: Math.max(0, (at(1, DEEP_CELLS) - one) / (DEEP_CELLS - 1)),
  };
}
