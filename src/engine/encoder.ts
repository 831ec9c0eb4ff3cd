/**
 * The port of engines that turn inputs into vectors. A batch holds whole inputs: each is computed
 * in one pass and nothing of it stays behind. Two implementations, `llama/` and `sim/`, and one
 * contract suite for both.
 */
import type { EncodeInput, EncoderFacts, EncodeTask } from '../wire/encode.ts';
import type { EngineStats } from './port.ts';

export interface EncoderEngineFacts extends EncoderFacts {
  readonly engine: string;
  readonly device: string;
  readonly description: string;
  readonly vocabSize: number;
  readonly trainedContextTokens: number;
  /** Longest input. */
  readonly contextTokens: number;
  /** Most tokens of a batch of several inputs (one alone may have `contextTokens`), most inputs. */
  readonly batchTokensMax: number;
  readonly batchInputsMax: number;
  readonly synthetic: boolean;
  readonly guess: {
    readonly fixedMs: number;
    readonly perTokenMs: number;
    readonly perAttendedMs: number;
  };
}

export interface EncodedBatch {
  /** One row of `width` numbers per input. */
  readonly values: Float32Array;
  readonly width: number;
  readonly computeMs: number;
}

export interface Encoder {
  readonly facts: EncoderEngineFacts;
  /** Tokens with the model's own special ones; a pair is joined as the model expects. */
  tokenize(input: EncodeInput): Promise<Int32Array>;
  /** One call at a time. Rejects with PlenumError `engine_failed`. */
  encode(task: EncodeTask, batch: readonly Int32Array[]): Promise<EncodedBatch>;
  stats(): EngineStats;
  shutdown(): Promise<void>;
}

export interface EncoderOptions {
  readonly contextTokens: number;
  readonly batchTokensMax: number;
  readonly batchInputsMax: number;
  readonly onProgress: (fraction: number) => void;
}
