/**
 * One generation as it crosses from the front door to a model's host and back. One prompt, one
 * completion: a request for n > 1 is n generations that share their prompt's prefix.
 */
import type { ErrorRecord } from '../base/errors.ts';
import type { ModerationNote } from './guard.ts';
import type { Outcome } from './outcome.ts';

/** Defaults are OpenAI's; what OpenAI does not have is neutral unless asked for. */
export interface SamplingParams {
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** 0 = off. */
  readonly topK: number;
  /** 0 = off. */
  readonly minP: number;
  /** null = drawn at random by the host, so that two requests differ. */
  readonly seed: number | null;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  /** 1 = off. Looks at the last `repeatLastN` tokens, the prompt's included (as llama.cpp does). */
  readonly repeatPenalty: number;
  /** 0 = off, -1 = the whole context. */
  readonly repeatLastN: number;
  /** Token id → bias in [-100, 100], added to the logit before anything else. */
  readonly logitBias: readonly (readonly [token: number, bias: number])[];
  /** Never ends at an end-of-generation token. */
  readonly ignoreEos: boolean;
  /** null = none; k = log probability of each token and of the k likeliest beside it. */
  readonly logprobs: number | null;
  /** Tokens that are listed beside the likeliest, whatever their rank; needs `logprobs`. */
  readonly watch?: readonly number[];
}

export const NEUTRAL_SAMPLING: SamplingParams = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: null,
  frequencyPenalty: 0,
  presencePenalty: 0,
  repeatPenalty: 1,
  repeatLastN: 64,
  logitBias: [],
  ignoreEos: false,
  logprobs: null,
};

/**
 * Text is tokenised by the host. `addSpecial` puts the model's own BOS/EOS around it,
 * `parseSpecial` reads `<|…|>` inside it as special tokens. A rendered chat template comes as
 * segments, each tokenised on its own with special tokens parsed: the cuts lie inside the special
 * tokens that a user has written out, so that those stay text.
 */
export type PromptSource =
  | {
      readonly kind: 'text';
      readonly text: string;
      readonly addSpecial: boolean;
      readonly parseSpecial: boolean;
    }
  | { readonly kind: 'segments'; readonly segments: readonly string[] }
  | { readonly kind: 'tokens'; readonly tokens: Int32Array };

export interface GenerateRequest {
  readonly prompt: PromptSource;
  readonly sampling: SamplingParams;
  /** null = until the context is full. 0 is allowed with `promptLogprobs` (scoring). */
  readonly maxTokens: number | null;
  /** Generation ends before any of these; no part of one is ever sent. */
  readonly stop: readonly string[];
  /** Log probabilities of the prompt's own tokens (completions with echo and logprobs). */
  readonly promptLogprobs: number | null;
  /** From arrival to the last token; null = none. */
  readonly deadlineMs: number | null;
}

export interface TokenLogprob {
  readonly token: string;
  readonly tokenId: number;
  /** The token's own bytes: a token may be a part of a character. */
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: readonly {
    readonly token: string;
    readonly tokenId: number;
    readonly bytes: readonly number[];
    readonly logprob: number;
  }[];
}

export interface Usage {
  readonly promptTokens: number;
  /** Prompt tokens that were not computed because their KV cells were shared. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

export interface Timings {
  /** From arrival at the host to the first step that computes it. */
  readonly queueMs: number;
  /** From there to the first token. */
  readonly prefillMs: number;
  /** From the first token to the last. */
  readonly decodeMs: number;
}

/** In order: accepted, started, prompt?, delta*, end. A refusal is an end alone. */
export type GenerateEvent =
  | { readonly kind: 'accepted'; readonly promptTokens: number; readonly predictedWaitMs: number }
  | { readonly kind: 'started'; readonly cachedTokens: number; readonly queueMs: number }
  /** The prompt's own log probabilities; the first token's is null (nothing comes before it). */
  | {
      readonly kind: 'prompt';
      readonly text: string;
      readonly logprobs: readonly (TokenLogprob | null)[];
    }
  /** `text` is whole characters only; `tokens` counts the tokens generated since the last delta. */
  | {
      readonly kind: 'delta';
      readonly text: string;
      readonly tokens: number;
      readonly logprobs: readonly TokenLogprob[];
    }
  | {
      readonly kind: 'end';
      readonly outcome: Outcome;
      /** Set for every outcome but `finished` and `cancelled`. */
      readonly error: ErrorRecord | null;
      readonly usage: Usage;
      readonly timings: Timings;
      /** The stop string that ended it, if one did. */
      readonly stopString: string | null;
      /** What a guard in the path said; absent without one, null when it could not judge. */
      readonly moderation?: ModerationNote;
    };

export const NO_USAGE: Usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
export const NO_TIMINGS: Timings = { queueMs: 0, prefillMs: 0, decodeMs: 0 };
