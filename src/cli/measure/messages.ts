/**
 * What the measuring process and its parent say to each other, and what is measured: steps of a
 * shape. Both sides build on them.
 */
import type { ErrorRecord } from '../../base/errors.ts';
import type { Kernels } from '../../engine/llama/kernels.ts';
import type { EngineSpec } from '../../wire/host.ts';

/** A step to be timed: `sequences` × `tokensEach` tokens, each sequence `depth` cells deep. */
export interface StepPoint {
  readonly sequences: number;
  readonly tokensEach: number;
  readonly depth: number;
  /** Rows of logits: one for each sequence that decodes, one at the end of a prompt. */
  readonly outputs: number;
}

/** Of sequences that all want logits of their last token. */
export const stepPoint = (sequences: number, tokensEach: number, depth: number): StepPoint => ({
  sequences,
  tokensEach,
  depth,
  outputs: sequences,
});

export interface MeasureModel {
  readonly engine: EngineSpec & { readonly kind: 'llama' };
  readonly contextTokens: number;
  readonly cells: number;
  readonly parallel: number;
}

export interface Timing {
  readonly wallMs: number;
  /** Of all threads of the process: less than it could have been where others took a core. */
  readonly cpuMs: number;
}

/** What is loaded, as the engine says. */
export interface MeasuredEngine {
  readonly engine: string;
  readonly device: string;
  readonly kernels: Kernels;
}

/** Of `device`: no GPU computes. */
export const isCpu = (device: string): boolean => device.startsWith('cpu ');

export type ToMeasure =
  | { readonly type: 'load'; readonly model: MeasureModel }
  /** Each point `repeats` times after one another, short ones more often; not the cold ones. */
  | { readonly type: 'round'; readonly points: readonly StepPoint[]; readonly repeats: number };

export type FromMeasure =
  | { readonly type: 'loaded'; readonly facts: MeasuredEngine }
  /** Of every repetition, in the order of the points. */
  | { readonly type: 'measured'; readonly timings: readonly (readonly Timing[])[] }
  | { readonly type: 'failed'; readonly error: ErrorRecord };
