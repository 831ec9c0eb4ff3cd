/**
 * The planner's step time for the live scheduler: what a host predicts before it has measured
 * anything, from the same function that `plan` prints. `plannedTerms` are what a host with a
 * profile begins with and corrects; `stepTimeGuess` is the same as a straight line. Pure.
 */
import type { ModelCost } from './model-cost.ts';
import { type Placement, placedStep } from './placement.ts';
import { hasTiles, type StepOptions, type StepShape } from './step-cost.ts';
import {
  ANCHOR_SHAPES,
  KNEE_TOKENS,
  type LearnedTerms,
  type StepTimeGuess,
  type TimedShape,
} from './step-time.ts';

export interface PlannedSteps {
  readonly cost: ModelCost;
  readonly placement: Placement;
  readonly options?: StepOptions | undefined;
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

/**
 * The planner's time of a step in parts, each with a coefficient that a host learns: matrices of
 * few rows, what more rows add, attention by rows, attention in tiles, and a constant. All
 * coefficients at 1 and the constant at 0, which is the prior, their sum is `plannedStepMs`.
 */
export function plannedTerms(steps: PlannedSteps): LearnedTerms {
  const of = (shape: TimedShape): readonly number[] => partsOf(shape, steps);
  const prior = [1, 1, 1, 1, 0];
  const known = ANCHOR_SHAPES.map((shape) => {
    const terms = of(shape);
    const ms = terms.reduce((sum, term, i) => sum + term * (prior[i] ?? 0), 0);
    return { terms, ms, scaleMs: ms };
  });
  // Each part alone as well, so that what is not seen for hours stays as it was planned.
  const alone = prior.map((one, i) => {
    const most = Math.max(...known.map(({ terms }) => terms[i] ?? 0));
    const scaleMs = one === 0 ? (known[0]?.ms ?? 1) : Math.max(most, 1e-6);
    const term = one === 0 ? scaleMs : most;
    return { terms: prior.map((_, j) => (j === i ? term : 0)), ms: one * term, scaleMs };
  });
  return { of, prior, anchors: [...known, ...alone] };
}

function partsOf(given: TimedShape, steps: PlannedSteps): readonly number[] {
  const shape: StepShape = { sequences: 1, outputs: 1, ...given };
  const few = { ...shape, tokens: Math.min(shape.tokens, KNEE_TOKENS), attended: 0 };
  const wholeMs = plannedStepMs(shape, steps);
  const matricesMs = plannedStepMs({ ...shape, attended: 0 }, steps);
  const fewMs = plannedStepMs(few, steps);
  const attentionMs = wholeMs - matricesMs;
  const [first] = steps.placement.stages;
  const isTiled = hasTiles(shape, first?.device.attention ?? {});
  const attention = isTiled ? [0, attentionMs] : [attentionMs, 0];
  return [fewMs, matricesMs - fewMs, ...attention, 1];
}
