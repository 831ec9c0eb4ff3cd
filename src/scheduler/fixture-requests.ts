/** Options and requests that the directed tests of this room start from. */
import type { DriveOptions } from './fixture-drive.ts';
import type { RequestKey, StepShape, StepTimeModel } from './plan.ts';
import type { SchedulerRequest } from './sequence.ts';

/** A step of a machine that takes 10 ms to read its weights and 1 ms for each token. */
export const linearMs = (shape: StepShape): number => 10 + shape.tokens + shape.attended / 10_000;

export function timeModel(predictMs: StepTimeModel['predictMs'] = linearMs): StepTimeModel {
  return { predictMs, observe: () => undefined };
}

/** Room for everything, unless a test takes some away. */
export function options(changes: Partial<DriveOptions> = {}): DriveOptions {
  return {
    cells: 8192,
    contextTokens: 1024,
    parallel: 8,
    seqsMax: 24,
    stepTokensMax: 512,
    queueMax: 100,
    waitMsMax: 1e9,
    stepTargetMs: null,
    prefixCache: true,
    time: timeModel(),
    computeMs: linearMs,
    ...changes,
  };
}

export function request(
  key: RequestKey,
  prompt: ArrayLike<number>,
  changes: Partial<SchedulerRequest> = {},
): SchedulerRequest {
  return {
    key,
    prompt: Int32Array.from(prompt),
    maxTokens: 4,
    scorePrompt: false,
    deadlineMs: null,
    ...changes,
  };
}

/** `count` tokens that no other `family` has anywhere. */
export function tokensOf(family: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => family * 10_000 + i);
}
