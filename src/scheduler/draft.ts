/** A step while it is being planned: slices so far and the shape that predicts its time. */
import { defined } from '../base/assert.ts';
import { EMPTY_SHAPE, withSlice } from './budget.ts';
import type { CacheOp, Slice, StepPlan, StepShape, StepTimeModel } from './plan.ts';
import type { Sequence } from './sequence.ts';

export class StepDraft {
  readonly #stepTokensMax: number;
  readonly #slices = new Map<Sequence, { readonly start: number; length: number }>();
  #shape: StepShape = EMPTY_SHAPE;

  constructor(stepTokensMax: number) {
    this.#stepTokensMax = stepTokensMax;
  }

  get shape(): StepShape {
    return this.#shape;
  }

  get isEmpty(): boolean {
    return this.#slices.size === 0;
  }

  /** Tokens that the step can still take. */
  get room(): number {
    return this.#stepTokensMax - this.#shape.tokens;
  }

  has(sequence: Sequence): boolean {
    return this.#slices.has(sequence);
  }

  /** Adds the next `length` tokens of a sequence, behind those that the draft has of it. */
  add(sequence: Sequence, length: number): void {
    const known = this.#slices.get(sequence);
    const start = known === undefined ? sequence.computed : known.start + known.length;
    const outputs = start + length === sequence.total ? 1 : 0;
    const shape = withSlice(this.#shape, { start, length, outputs });
    if (known === undefined) {
      this.#slices.set(sequence, { start, length });
      this.#shape = shape;
    } else {
      known.length += length;
      this.#shape = { ...shape, sequences: shape.sequences - 1 };
    }
  }

  /** Tokens of a sequence that the draft has so far. */
  lengthOf(sequence: Sequence): number {
    return this.#slices.get(sequence)?.length ?? 0;
  }

  seal(step: number, ops: readonly CacheOp[], time: StepTimeModel): StepPlan {
    const slices = [...this.#slices].map(([sequence, { start, length }]): Slice => {
      const reaches = start + length === sequence.total;
      const scored = sequence.scorePrompt && start < sequence.promptLength;
      return {
        request: sequence.key,
        seq: defined(sequence.seq, 'sequence id of a slice'),
        start,
        tokens: sequence.slice(start, length),
        // What is computed again after a preemption was scored the first time.
        output: scored && start >= sequence.reached ? 'all' : reaches ? 'last' : 'none',
      };
    });
    const predictedMs = this.isEmpty ? 0 : time.predictMs(this.#shape);
    return { step, ops, slices, shape: this.#shape, predictedMs };
  }
}
