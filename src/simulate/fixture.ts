/** For the tests of this room: a served model whose steps take what the test says. */
import type { StepShape } from '../scheduler/plan.ts';
import type { Served } from './simulation.ts';

export function servedFixture(
  stepMs: (shape: StepShape) => number,
  limits: Partial<Served['limits']> = {},
): Served {
  const parallel = limits.parallel ?? 4;
  const contextTokens = limits.contextTokens ?? 1024;
  return {
    limits: {
      cells: contextTokens * parallel,
      contextTokens,
      parallel,
      seqsMax: parallel + 16,
      stepTokensMax: 512,
      queueMax: 1e6,
      waitMsMax: Number.POSITIVE_INFINITY,
      stepTargetMs: null,
      prefixCache: true,
      ...limits,
    },
    stepMs,
    guess: { fixedMs: 1, perTokenMs: 0.1, perAttendedMs: 0 },
  };
}
