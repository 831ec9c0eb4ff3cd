/**
 * What the front door needs behind it. `serve` gives it a `node` (this machine), `gateway` a
 * `fleet` (many); tests give it a fake that passes the same contract.
 */
import type { EncodeInput, EncodeReply, EncodeTask } from '../wire/encode.ts';
import type { GenerateEvent, GenerateRequest, SamplingParams } from '../wire/generation.ts';
import type { Verdict } from '../wire/guard.ts';
import type { TokenPiece } from '../wire/host.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type { PoolModel, PoolView } from '../wire/pool.ts';
import type { LoadReport } from '../wire/report.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string | undefined;
}

/** A prompt as a client gave it; the backend renders templates, the host tokenises. */
export type ClientPrompt =
  | {
      readonly kind: 'chat';
      readonly messages: readonly ChatMessage[];
      readonly templateArgs: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tokens'; readonly tokens: Int32Array };

export interface ClientRequest {
  readonly requestId: string;
  /** As the client wrote it: an id or an alias. */
  readonly model: string;
  readonly prompt: ClientPrompt;
  readonly sampling: SamplingParams;
  readonly maxTokens: GenerateRequest['maxTokens'];
  readonly stop: readonly string[];
  readonly promptLogprobs: GenerateRequest['promptLogprobs'];
  readonly deadlineMs: GenerateRequest['deadlineMs'];
}

/**
 * A generation under way. Iterating ends with exactly one `end` event, whatever happens. Unread
 * events are kept; `bufferedEvents` lets the reader of a slow client give up in time.
 */
export interface Generation extends AsyncIterable<GenerateEvent> {
  /** Ends it with `cancelled`; its cells are free within one step. Idempotent. */
  cancel(code: 'client_closed' | 'slow_reader'): void;
}

export interface ClientEncodeRequest {
  readonly requestId: string;
  readonly model: string;
  readonly task: EncodeTask;
  /** At least one. */
  readonly inputs: readonly EncodeInput[];
  readonly deadlineMs: number | null;
  /** Aborted when nobody waits for the reply any more. */
  readonly signal: AbortSignal;
}

/** What a guard is to judge. */
export type JudgeSubject =
  /** What was said to a model: everything in `messages` that is not its own. */
  | { readonly kind: 'input'; readonly messages: readonly ChatMessage[] }
  /** What it answers; up to character `freshFrom` it has been judged before. */
  | {
      readonly kind: 'output';
      readonly messages: readonly ChatMessage[];
      readonly answer: string;
      readonly freshFrom: number;
    };

export interface JudgeRequest {
  readonly requestId: string;
  readonly model: string;
  readonly subject: JudgeSubject;
  /** Scores of each category too, where that takes more than the one pass. */
  readonly detail: boolean;
  readonly deadlineMs: number | null;
  readonly signal: AbortSignal;
}

export interface HostStatus {
  readonly model: ModelInfo;
  readonly report: LoadReport | null;
  /** How often the host had to be started again. */
  readonly restarts: number;
  readonly pid: number | null;
  readonly device: string | null;
  readonly loadFraction: number | null;
}

/** The memory of one machine, for its operator. Models are named by id or alias. */
export interface PoolAdmin {
  view(): PoolView;
  /** Resolves when it is resident. Rejects with PlenumError, the arithmetic in it. */
  load(model: string, signal: AbortSignal): Promise<PoolModel>;
  /** Resolves when the system has its bytes back. Rejects with model_in_use. */
  unload(model: string): Promise<PoolModel>;
  pin(model: string, pinned: boolean): PoolModel;
}

export interface Backend {
  /** The served models, in the order of the configuration; the first is the default. */
  models(): readonly ModelInfo[];
  status(): readonly HostStatus[];
  /** Throws PlenumError: model_not_found, model_loading, model_unavailable, template_*. */
  generate(request: ClientRequest): Generation;
  tokenize(
    model: string,
    input: {
      readonly prompt: ClientPrompt;
      readonly addSpecial: boolean;
      readonly parseSpecial: boolean;
      readonly withPieces: boolean;
    },
  ): Promise<{
    readonly tokens: Int32Array;
    readonly pieces: readonly TokenPiece[] | null;
    readonly contextTokens: number;
  }>;
  detokenize(model: string, tokens: Int32Array): Promise<string>;
  /**
   * Rejects with PlenumError: model_*, wrong_endpoint, context_length_exceeded, queue_full,
   * deadline_exceeded, client_closed (aborted), host_crashed, engine_failed.
   */
  encode(request: ClientEncodeRequest): Promise<EncodeReply>;
  /** Asks a guard: a classifier, or a model that generates its verdict. Rejects as `encode`. */
  judge(request: JudgeRequest): Promise<Verdict>;
  /** Absent where the models are not of this machine. */
  readonly pool?: PoolAdmin;
  /** True from the first call of drain on. */
  readonly draining: boolean;
}
