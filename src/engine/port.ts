/**
 * The engine port: what a host needs of an engine and nothing more. Two implementations, `llama/`
 * (libllama through its C API) and `sim/` (timed by a model, seeded tokens, injected faults); the
 * contract suite (contract.ts) runs on both.
 *
 * One owner: a host calls `step` again only after the previous one has settled. `tokenize` may run
 * at any time, also while a step computes.
 */
import type { RequestKey, StepPlan, StepResult } from '../scheduler/plan.ts';
import type { SamplingParams } from '../wire/generation.ts';

export interface EngineFacts {
  /** `llama v0.4.0` or `sim`. */
  readonly engine: string;
  /** What computes, in words for a person. */
  readonly device: string;
  readonly description: string;
  readonly vocabSize: number;
  readonly trainedContextTokens: number;
  /** Longest sequence that the context was made for. */
  readonly contextTokens: number;
  readonly cells: number;
  /** KV sequences that exist: running ones and those that only hold cached prefixes. */
  readonly seqsMax: number;
  readonly stepTokensMax: number;
  /**
   * `cells`: sequences share the cells of a prefix of any length. `copies`: every sequence has a
   * buffer of its own, into which a prefix of another is copied. `none`: a sequence is computed
   * whole (recurrent and hybrid models keep a state, not cells).
   */
  readonly prefixSharing: 'cells' | 'copies' | 'none';
  readonly chatTemplate: string | null;
  readonly bosText: string;
  readonly eosText: string;
  readonly synthetic: boolean;
  /** Rough first guess of step time, before anything was measured. */
  readonly guess: {
    readonly fixedMs: number;
    readonly perTokenMs: number;
    readonly perAttendedMs: number;
  };
}

export interface TokenizeOptions {
  readonly addSpecial: boolean;
  readonly parseSpecial: boolean;
}

export interface EngineStats {
  /** Bytes as the library accounts for them; 0 where it does not say. */
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly computeBytes: number;
}

export interface OpenOptions {
  readonly sampling: SamplingParams;
  /** The prompt, for penalties that look back into it. */
  readonly prompt: Int32Array;
}

export interface Engine {
  readonly facts: EngineFacts;
  tokenize(text: string, options: TokenizeOptions): Promise<Int32Array>;
  /**
   * The bytes that a token adds to the output; empty for control tokens (`<|im_end|>`), which
   * never reach a client. Cheap: called once per generated token.
   */
  tokenBytes(token: number): Uint8Array;
  /** Creates the sampler state of a request. It survives preemption, so that a seed replays. */
  open(request: RequestKey, options: OpenOptions): void;
  /** Forgets a request's sampler. Its cells are released by the scheduler's plan. */
  close(request: RequestKey): void;
  /**
   * Applies the plan's cache operations, computes its slices, samples. Rejects with PlenumError
   * `engine_failed` when the library reports an error; after that the engine is not to be used.
   */
  step(plan: StepPlan): Promise<StepResult>;
  stats(): EngineStats;
  /** Frees everything; waits for a step under way. Idempotent. */
  shutdown(): Promise<void>;
}

export interface EngineOptions {
  readonly contextTokens: number;
  readonly cells: number;
  /** Running sequences. */
  readonly parallel: number;
  readonly prefixCache: boolean;
  readonly onProgress: (fraction: number) => void;
}
