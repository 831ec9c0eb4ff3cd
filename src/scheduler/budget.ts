/**
 * How many tokens of catching-up fit into a step's time. A step's time is predicted by the
 * StepTimeModel; the budget is milliseconds, not tokens, because a token costs another time on
 * every machine, model and context length.
 */
import type { StepShape, StepTimeModel } from './plan.ts';

export const EMPTY_SHAPE: StepShape = { tokens: 0, sequences: 0, attended: 0, outputs: 0 };

/** The shape with one more slice of `length` tokens that begins at `start`. */
export function withSlice(
  shape: StepShape,
  slice: { start: number; length: number; outputs: number },
): StepShape {
  const { start, length, outputs } = slice;
  return {
    tokens: shape.tokens + length,
    sequences: shape.sequences + 1,
    attended: shape.attended + length * start + (length * (length + 1)) / 2,
    outputs: shape.outputs + outputs,
  };
}

export interface ChunkQuestion {
  readonly shape: StepShape;
  readonly start: number;
  /** Tokens that the sequence still has to compute. */
  readonly remaining: number;
  /** Tokens that the step can still take. */
  readonly room: number;
  readonly budgetMs: number;
}

/**
 * Steps of so many tokens are computed in another way, in which a token costs much less where the
 * context is long (planner/step-time.ts has the measurement). So a longer chunk may take less time.
 */
export const LARGE_STEP_TOKENS = 64;

/**
 * The longest chunk whose step is predicted to stay within the budget; 0 when none does. Large
 * steps are looked at first: time grows with tokens below and above their border, not across it.
 */
export function chunkWithin(time: StepTimeModel, question: ChunkQuestion): number {
  const { shape, start, budgetMs } = question;
  const most = Math.min(question.remaining, question.room);
  const border = Math.max(1, LARGE_STEP_TOKENS - shape.tokens);
  const fits = (length: number): boolean =>
    time.predictMs(withSlice(shape, { start, length, outputs: 1 })) <= budgetMs;
  const large = longest(border, most, fits);
  return large > 0 ? large : longest(1, Math.min(most, border - 1), fits);
}

/** The largest of low … high that fits, where all below one that fits do; 0 when none does. */
function longest(low: number, high: number, fits: (length: number) => boolean): number {
  if (high < low || !fits(low)) return 0;
  let [yes, no] = [low, high + 1];
  while (no - yes > 1) {
    const middle = Math.floor((yes + no) / 2);
    if (fits(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}
