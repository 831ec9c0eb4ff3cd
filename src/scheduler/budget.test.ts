/** The longest chunk within a budget, against trying every length. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunkWithin, EMPTY_SHAPE, withSlice } from './budget.ts';
import type { StepShape } from './plan.ts';

test('a shape counts tokens, sequences, attended cells and outputs of its slices', () => {
  const one = withSlice(EMPTY_SHAPE, { start: 10, length: 3, outputs: 1 });
  expect(one).toEqual({ tokens: 3, sequences: 1, attended: 11 + 12 + 13, outputs: 1 });
  expect(withSlice(one, { start: 0, length: 1, outputs: 0 })).toEqual({
    tokens: 4,
    sequences: 2,
    attended: 37,
    outputs: 1,
  });
});

test('the chunk is the longest that is predicted to fit, for any model that grows', () => {
  const nat = (max: number) => fc.nat({ max });
  fc.assert(
    fc.property(
      fc.record({ start: nat(500), remaining: nat(80), room: nat(80), budgetMs: nat(200) }),
      fc.record({ fixed: nat(50), token: nat(5), attended: nat(3) }),
      (question, law) => {
        const time = {
          predictMs: (s: StepShape) =>
            law.fixed + law.token * s.tokens + (law.attended * s.attended) / 100,
          observe: () => undefined,
        };
        const shape = { tokens: 3, sequences: 3, attended: 300, outputs: 3 };
        let best = 0;
        for (let n = 1; n <= Math.min(question.remaining, question.room); n++) {
          const slice = { start: question.start, length: n, outputs: 1 };
          if (time.predictMs(withSlice(shape, slice)) <= question.budgetMs) best = n;
        }
        expect(chunkWithin(time, { ...question, shape })).toBe(best);
      },
    ),
    { numRuns: 1000 },
  );
});
