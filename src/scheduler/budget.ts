/**
 * How many tokens of catching-up fit into a step's time. A step's time is predicted by the
 * StepTimeModel; the budget is milliseconds, not tokens, because a token costs another time on every
 * machine, model and context length.
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

/** The longest chunk whose step is predicted to stay within the budget; 0 when none does. */
export function chunkWithin(time: StepTimeModel, question: ChunkQuestion): number {
  const { shape, start, budgetMs } = question;
  let low = 0;
  let high = Math.min(question.remaining, question.room);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const candidate = withSlice(shape, { start, length: middle, outputs: 1 });
    if (time.predictMs(candidate) <= budgetMs) low = middle;
    else high = middle - 1;
  }
  return low;
}
