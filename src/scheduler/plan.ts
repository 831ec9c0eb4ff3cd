/**
 * The words between scheduler and engine. A step is a list of cache operations, then slices of
 * sequences that are computed together. There is no prefill and no decode: a sequence has
 * `computed` tokens and `total` tokens, and a slice lets it catch up.
 *
 *   tokens of a sequence:   [ shared prefix | computed here | slice | not yet ]
 *                           0 ............... computed .... +slice ... total
 */

/** A KV sequence of the engine (`llama_seq_id`), reused after release. */
export type SeqId = number;
/** A generation, unique over a host's life. */
export type RequestKey = number;

/** Cache operations, applied in order before the slices are computed. */
export type CacheOp =
  /**
   * `to`, which is empty, begins with the first `count` tokens of `from`: the same cells, or a copy
   * of them where every sequence has a buffer of its own.
   */
  | { readonly op: 'share'; readonly from: SeqId; readonly to: SeqId; readonly count: number }
  /** `seq` keeps its first `keep` cells; 0 releases it. */
  | { readonly op: 'truncate'; readonly seq: SeqId; readonly keep: number };

export interface Slice {
  readonly request: RequestKey;
  readonly seq: SeqId;
  /** Position of the first token of the slice. */
  readonly start: number;
  readonly tokens: Int32Array;
  /** `last` samples the token that follows the slice; `all` also scores each of its tokens. */
  readonly output: 'none' | 'last' | 'all';
}

/** What decides how long a step takes. */
export interface StepShape {
  /** Tokens computed in all. */
  readonly tokens: number;
  readonly sequences: number;
  /** Sum over computed tokens of the cells that each attends to. */
  readonly attended: number;
  /** Rows whose logits are wanted. */
  readonly outputs: number;
}

export interface StepPlan {
  readonly step: number;
  readonly ops: readonly CacheOp[];
  readonly slices: readonly Slice[];
  readonly shape: StepShape;
  readonly predictedMs: number;
}

export interface RawLogprob {
  readonly token: number;
  readonly logprob: number;
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

/** The token sampled after a slice. */
export interface Sample {
  readonly request: RequestKey;
  readonly token: number;
  /** The model wants to stop here (EOS, EOT …); never true with ignoreEos. */
  readonly endOfGeneration: boolean;
  readonly logprob: RawLogprob | null;
}

/** Scores of a slice's own tokens, for `output: 'all'`: of tokens start+1 … start+length. */
export interface PromptScore {
  readonly request: RequestKey;
  readonly start: number;
  /** Entry i scores the token at start + i + 1; the last entry is only there if that token is. */
  readonly scores: readonly RawLogprob[];
}

export type StepResult =
  | {
      readonly kind: 'done';
      readonly computeMs: number;
      readonly samples: readonly Sample[];
      readonly scores: readonly PromptScore[];
    }
  /**
   * The engine found no cells (fragmentation): nothing was computed, the cache is as before the
   * slices.
   */
  | { readonly kind: 'no_cells' };

/** Predicts and learns how long a step takes. Implemented by the planner; pure. */
export interface StepTimeModel {
  predictMs(shape: StepShape): number;
  observe(shape: StepShape, measuredMs: number): void;
}
