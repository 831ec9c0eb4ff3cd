/** What is known of a served model, for clients and for the front door's own checks. */
import type { EncoderFacts } from './encode.ts';
import type { SamplingParams } from './generation.ts';
import type { GuardPolicy } from './guard.ts';
import type { ModelClass } from './pool.ts';

/** `unloaded`: not in memory, a request for it loads it. `unloading`: its memory is given back. */
export const MODEL_STATES = [
  'starting',
  'ready',
  'backing_off',
  'failed',
  'stopping',
  'unloaded',
  'unloading',
] as const;
export type ModelState = (typeof MODEL_STATES)[number];

/** Sampling of requests that do not say otherwise; what is missing here is OpenAI's default. */
export type SamplingDefaults = Partial<
  Pick<SamplingParams, 'temperature' | 'topP' | 'topK' | 'minP' | 'repeatPenalty'>
>;

/** Text that the model was trained to see before an input; null = not configured. */
export interface InputPrefixes {
  readonly query: string | null;
  readonly document: string | null;
}
export const NO_PREFIXES: InputPrefixes = { query: null, document: null };

export interface ModelInfo {
  readonly id: string;
  readonly aliases: readonly string[];
  /** Unix seconds at which this server began to serve it. */
  readonly created: number;
  /** What it is made of: `llama 135M Q4_1`. */
  readonly description: string;
  readonly class: ModelClass;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly synthetic: boolean;
  readonly hasChatTemplate: boolean;
  /** Of models that give vectors; null for models that generate, and while it is not loaded. */
  readonly encoder: EncoderFacts | null;
  readonly inputPrefixes: InputPrefixes;
  readonly samplingDefaults: SamplingDefaults;
  /** The guard in its path; null = none. */
  readonly guard: GuardPolicy | null;
  /** From which score on /v1/moderations calls a text flagged. */
  readonly flagThreshold: number;
  readonly state: ModelState;
  /** Why it is not ready, for /ready and for errors; null when it is. */
  readonly reason: string | null;
}
