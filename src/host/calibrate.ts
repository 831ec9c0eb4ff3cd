/**
 * A few steps of an engine that has just been loaded, so that the first request is scheduled by
 * measured times and not by a guess. It also touches every weight once. It leaves no cells behind.
 */
import type { Clock } from '../base/clock.ts';
import type { Engine } from '../engine/port.ts';
import { EMPTY_SHAPE, withSlice } from '../scheduler/budget.ts';
import type { CacheOp, StepPlan, StepTimeModel } from '../scheduler/plan.ts';
import { NEUTRAL_SAMPLING } from '../wire/generation.ts';

/** Requests of clients are numbered from 1. */
const CALIBRATION_REQUEST = 0;
/** The first step pays for pages that are read from the disk: it is not counted. */
const WARM_UP_TOKENS = 1;
const SIZES = [1, 8, 32, 128];
const REPEATS = 2;
export const CALIBRATION_MS_MAX = 400;

export interface CalibrationTerms {
  readonly time: StepTimeModel;
  readonly clock: Clock;
  /** No step is begun that might end after this: who waits for the model waits for it. */
  readonly msMax: number;
}

/** Rejects with what the engine rejects with. Teaches `time`; returns the steps that it took. */
export async function calibrate(
  engine: Engine,
  { time, clock, msMax }: CalibrationTerms,
): Promise<number> {
  const from = clock.now();
  const most = Math.min(engine.facts.stepTokensMax, engine.facts.contextTokens);
  engine.open(CALIBRATION_REQUEST, {
    sampling: { ...NEUTRAL_SAMPLING, temperature: 0 },
    prompt: tokensOf(engine, 1),
  });
  let steps = 0;
  const run = async (length: number): Promise<{ plan: StepPlan; computeMs: number }> => {
    steps += 1;
    const plan = planOf(engine, { length, release: steps > 1 });
    const result = await engine.step(plan);
    return { plan, computeMs: result.kind === 'done' ? result.computeMs : 0 };
  };
  await run(WARM_UP_TOKENS);
  let [longestMs, longest] = [clock.now() - from, WARM_UP_TOKENS];
  for (const length of SIZES.filter((size) => size <= most)) {
    // A step of twice the tokens takes at most twice the time.
    const mostMs = (): number => (longestMs * length) / longest;
    for (let i = 0; i < REPEATS && clock.now() - from + mostMs() < msMax; i++) {
      const begun = clock.now();
      const { plan, computeMs } = await run(length);
      [longestMs, longest] = [clock.now() - begun, length];
      time.observe(plan.shape, computeMs);
    }
  }
  await engine.step({ step: 0, ops: [RELEASE], slices: [], shape: EMPTY_SHAPE, predictedMs: 0 });
  engine.close(CALIBRATION_REQUEST);
  return steps;
}

const RELEASE: CacheOp = { op: 'truncate', seq: 0, keep: 0 };

function planOf(
  engine: Engine,
  { length, release }: { length: number; release: boolean },
): StepPlan {
  const tokens = tokensOf(engine, length);
  return {
    step: 0,
    ops: release ? [RELEASE] : [],
    slices: [{ request: CALIBRATION_REQUEST, seq: 0, start: 0, tokens, output: 'last' }],
    shape: withSlice(EMPTY_SHAPE, { start: 0, length, outputs: 1 }),
    predictedMs: 0,
  };
}

/** Any tokens do: what a step costs does not depend on what it says. */
function tokensOf(engine: Engine, length: number): Int32Array {
  const { vocabSize } = engine.facts;
  return Int32Array.from({ length }, (_, i) => (i * 7919 + 11) % vocabSize);
}
