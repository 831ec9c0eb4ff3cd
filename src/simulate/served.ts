/**
 * From a planned model on a planned machine to what the simulation serves: the limits of a served
 * model as the configuration has them by default, step times by the planner's terms. Pure.
 */
import { MODEL_DEFAULTS } from '../config/schema.ts';
import { cellsFor } from '../planner/memory.ts';
import { type PlannedSteps, plannedStepMs, stepTimeGuess } from '../planner/step-guess.ts';
import { EMPTY_SHAPE, withSlice } from '../scheduler/budget.ts';
import type { Served } from './simulation.ts';

export interface ServedAsk {
  readonly steps: PlannedSteps;
  /** Longest sequence. */
  readonly contextTokens: number;
  /** Sequences that run at the same time; each has its whole context in the cache. */
  readonly parallel: number;
  /** False where a sequence keeps a state instead of cells. */
  readonly sharesPrefixes: boolean;
}

/** KV sequences beyond the running ones, that only hold cached prefixes (as engines make them). */
const CACHE_SEQS = 64;
const SEQS_MAX = 256;

export function servedModel(ask: ServedAsk): Served {
  const { steps, contextTokens, parallel, sharesPrefixes } = ask;
  const wanted = parallel + (sharesPrefixes ? CACHE_SEQS : 0);
  return {
    limits: {
      cells: cellsFor(contextTokens, parallel),
      contextTokens,
      parallel,
      seqsMax: Math.max(parallel, Math.min(wanted, SEQS_MAX)),
      stepTokensMax: Math.max(MODEL_DEFAULTS.step_tokens_max, parallel),
      queueMax: MODEL_DEFAULTS.queue_max,
      waitMsMax: MODEL_DEFAULTS.wait_ms_max,
      stepTargetMs: null,
      prefixCache: sharesPrefixes,
    },
    stepMs: (shape) => plannedStepMs(shape, steps),
    guess: stepTimeGuess(steps),
  };
}

export interface MeanRequest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Tokens of the prompt that are cached. */
  readonly cachedTokens: number;
}

/** About how many such requests the model can serve per second when all its slots are busy. */
export function capacityOf({ limits, stepMs }: Served, request: MeanRequest): number {
  const { promptTokens, outputTokens } = request;
  const { parallel, stepTokensMax } = limits;
  let promptMs = 0;
  for (let start = Math.min(request.cachedTokens, promptTokens - 1); start < promptTokens; ) {
    const length = Math.min(stepTokensMax, promptTokens - start);
    promptMs += stepMs(withSlice(EMPTY_SHAPE, { start, length, outputs: 1 }));
    start += length;
  }
  const depth = promptTokens + outputTokens / 2;
  const attended = parallel * depth;
  const tokens = parallel;
  const decodeMs = stepMs({ tokens, sequences: parallel, attended, outputs: parallel });
  return 1000 / (promptMs + (outputTokens * decodeMs) / parallel);
}
