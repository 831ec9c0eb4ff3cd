/**
 * The messages between the front process and a model's host (a forked Node process, `advanced`
 * serialisation, so typed arrays cross as they are). The host never waits for the front between two
 * decode steps; everything it sends in one turn of its loop goes as one message.
 */
import type { ErrorRecord } from '../base/errors.ts';
import type { EncodeReply, EncodeRequest, EncoderFacts } from './encode.ts';
import type { GenerateEvent, GenerateRequest } from './generation.ts';
import type { MachineProfile } from './profile.ts';
import type { LoadReport } from './report.ts';
import type { TurnOrder, TurnReport } from './turn.ts';

/** What a host is told to load and how. All counts are checked by the front before. */
export interface HostSpec {
  readonly modelId: string;
  /** Whether it generates text or gives vectors. */
  readonly role: 'generate' | 'encode';
  readonly engine: EngineSpec;
  /** Longest sequence, prompt and output together. */
  readonly contextTokens: number;
  /** Sequences that decode at the same time. */
  readonly parallel: number;
  /** KV cells in all; contextTokens × parallel guarantees every sequence its whole context. */
  readonly cells: number;
  readonly queueMax: number;
  readonly waitMsMax: number;
  /** Time that one step may take while streams decode; null = twice the decode-only step. */
  readonly stepTargetMs: number | null;
  readonly prefixCache: boolean;
  readonly heartbeatMs: number;
  /** What was measured of this machine with as many threads; its steps are planned from it. */
  readonly profile?: MachineProfile;
  /** How long a host may try its engine out before it is ready; left out: 400. */
  readonly calibrationMsMax?: number;
  /** Of the role `encode`, where parallel, cells, queueMax and what is about steps mean nothing. */
  readonly encode: EncodeLimits;
}

export interface EncodeLimits {
  /** Most tokens computed at once of several inputs; one alone may have the whole context. */
  readonly batchTokensMax: number;
  readonly batchInputsMax: number;
  /** Inputs of all requests that may be here and not computed, tokenised or not. */
  readonly inputsMax: number;
  /** Tokens that may wait; a request that finds none waiting is taken whatever its size. */
  readonly waitingTokensMax: number;
}

/**
 * Batches: on a CPU nothing is gained past a few hundred tokens, and every token of a batch
 * reserves a row of the vocabulary in the library's output buffer. 2,048 inputs are the most that
 * OpenAI's endpoint takes in one request; twice as many are let in, so that one such request is no
 * wall.
 */
export const ENCODE_LIMITS: EncodeLimits = {
  batchTokensMax: 512,
  batchInputsMax: 64,
  inputsMax: 4096,
  waitingTokensMax: 1_048_576,
};

export type EngineSpec =
  | {
      readonly kind: 'llama';
      readonly path: string;
      /** Threads of decode and of prefill; null = chosen from the machine. */
      readonly threads: number | null;
      /** null = all where there is a GPU, 0 = CPU only. */
      readonly gpuLayers: number | null;
      readonly cacheType: 'f16' | 'q8_0';
      /**
       * `unified`: one cache, prefixes shared without a copy. `split`: one per running sequence;
       * prefixes are copied, and no sequence's step passes over others' cells. Left out: `auto`.
       */
      readonly kvLayout?: 'auto' | 'unified' | 'split';
      /** Left out: `auto`, by layout, cache type and device. */
      readonly flashAttention?: 'auto' | 'on' | 'off';
      /** Most tokens in one step. */
      readonly stepTokensMax: number;
    }
  | { readonly kind: 'sim'; readonly sim: SimSpec };

/** Two-term time model, seed and faults of the `sim` engine. */
export interface SimSpec {
  readonly seed: number;
  readonly vocabSize: number;
  readonly fixedMs: number;
  readonly perTokenMs: number;
  readonly perAttendedMs: number;
  /** Standard deviation of a step's time, as a fraction of it. */
  readonly noise: number;
  readonly stepTokensMax: number;
  readonly faults: SimFaults;
}

export interface SimFaults {
  /** The step (from 1) at which the process aborts, the step fails, or hangs; null = never. */
  readonly crashAtStep: number | null;
  readonly failAtStep: number | null;
  readonly hangAtStep: number | null;
  readonly failLoad: string | null;
}

/** What the host found when it loaded; proven by its handshake before it is sent. */
export interface HostFacts {
  readonly pid: number;
  /** `llama v0.4.0` or `sim`. */
  readonly engine: string;
  /** `cpu (sapphirerapids), 2 threads` or `Metal: Apple M4 Max, 33 of 33 layers`. */
  readonly device: string;
  readonly description: string;
  readonly vocabSize: number;
  readonly trainedContextTokens: number;
  readonly contextTokens: number;
  readonly chatTemplate: string | null;
  readonly bosText: string;
  readonly eosText: string;
  readonly synthetic: boolean;
  readonly loadMs: number;
  /** Null for a host that generates. */
  readonly encoder: EncoderFacts | null;
}

export type ToHost =
  | { readonly type: 'load'; readonly spec: HostSpec }
  | { readonly type: 'submit'; readonly id: string; readonly request: GenerateRequest }
  | { readonly type: 'cancel'; readonly id: string; readonly code: 'client_closed' | 'slow_reader' }
  | {
      readonly type: 'tokenize';
      readonly call: number;
      readonly text: string;
      readonly addSpecial: boolean;
      readonly parseSpecial: boolean;
      readonly withPieces: boolean;
    }
  | { readonly type: 'detokenize'; readonly call: number; readonly tokens: Int32Array }
  | { readonly type: 'encode'; readonly call: number; readonly request: EncodeRequest }
  /** Of an `encode`; it is answered by `call_failed` with client_closed, unless it was already. */
  | { readonly type: 'cancel_call'; readonly call: number }
  | TurnOrder
  /** Finish what is accepted, take nothing new, then close. */
  | { readonly type: 'drain' }
  | { readonly type: 'close' };

export interface TokenPiece {
  readonly id: number;
  readonly bytes: readonly number[];
}

export type FromHost =
  | { readonly type: 'progress'; readonly fraction: number }
  | { readonly type: 'ready'; readonly facts: HostFacts }
  /** The host is about to exit and says why. */
  | { readonly type: 'fatal'; readonly error: ErrorRecord }
  | {
      readonly type: 'events';
      readonly events: readonly { readonly id: string; readonly event: GenerateEvent }[];
    }
  | { readonly type: 'report'; readonly report: LoadReport }
  | TurnReport
  | {
      readonly type: 'tokenized';
      readonly call: number;
      readonly tokens: Int32Array;
      readonly pieces: readonly TokenPiece[] | null;
    }
  | { readonly type: 'detokenized'; readonly call: number; readonly text: string }
  | { readonly type: 'encoded'; readonly call: number; readonly reply: EncodeReply }
  | { readonly type: 'call_failed'; readonly call: number; readonly error: ErrorRecord };
