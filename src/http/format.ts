/** What chat and completions have in common when a run becomes OpenAI's objects. */
import { createHash } from 'node:crypto';
import type { PlenumError } from '../base/errors.ts';
import type { Usage } from '../wire/generation.ts';
import type { ModerationNote } from '../wire/guard.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type { ErrorBody } from '../wire/openai-error.ts';
import type { UsageBody } from '../wire/openai-fields.ts';
import type { FinishReason } from '../wire/outcome.ts';
import type { Finish, OutputEvent } from './run.ts';

export interface ReplyHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly fingerprint: string;
  /** Said only to who asked for one. */
  readonly serviceTier: 'default' | undefined;
}

/** Turns the events of a run into chunks of a stream; one instance serves one request. */
export interface ChunkFormat {
  output(index: number, event: OutputEvent): string;
  finished(index: number, finish: Finish): string;
  usage(usage: Usage): string;
}

/** Gathers the events of a run for one whole reply. */
export interface ReplyFormat {
  output(index: number, event: OutputEvent): void;
  finished(index: number, finish: Finish): void;
  reply(usage: Usage): object;
}

/** The fields of a choice that say how it ended. */
export function finishBody({ reason, moderation }: Finish): {
  finish_reason: FinishReason;
  moderation?: ModerationNote;
} {
  return { finish_reason: reason, ...(moderation === undefined ? {} : { moderation }) };
}

export const DONE = 'data: [DONE]\n\n';

export const sseData = (body: object): string => `data: ${JSON.stringify(body)}\n\n`;

export function usageBody(usage: Usage): UsageBody {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

export function errorBody(error: PlenumError): ErrorBody {
  return {
    error: {
      message: error.message,
      type: error.row.type,
      param: error.param ?? null,
      code: error.code,
    },
  };
}

/** Changes when the same seed may give another text: another server version or model. */
export function systemFingerprint(version: string, model: ModelInfo): string {
  const parts = [version, model.id, model.description, model.contextTokens].join('\n');
  return `fp_${createHash('sha256').update(parts).digest('hex').slice(0, 12)}`;
}

/** JSON has no infinity; OpenAI writes -9999 for a token that cannot come. */
export const finiteLogprob = (logprob: number): number =>
  Number.isFinite(logprob) ? logprob : -9999;
