/** POST /v1/completions: the request, the reply and a streamed chunk (they have one shape). */
import { z } from 'zod';
import { moderationNoteSchema } from './guard.ts';
import {
  booleanField,
  finishReasonSchema,
  integerField,
  isOneOf,
  isTokenList,
  type RequestLimits,
  samplingFields,
  TOKEN_LIST_JSON,
  UNSUPPORTED_SAMPLING,
  unsupported,
  usageSchema,
} from './openai-fields.ts';

export type PromptInput = string | string[] | number[] | number[][];

function isPrompt(value: unknown, promptsMax: number): value is PromptInput {
  if (typeof value === 'string') return true;
  if (!Array.isArray(value) || value.length === 0) return false;
  if (isTokenList(value)) return true;
  if (value.length > promptsMax) return false;
  return (
    value.every((item) => typeof item === 'string') ||
    value.every((item) => isTokenList(item) && item.length > 0)
  );
}

function promptField(limits: RequestLimits) {
  const { promptsMax } = limits;
  const error = `must be a string, a list of token ids, or a list of 1 to ${promptsMax} of either`;
  return z
    .custom<PromptInput>((value) => isPrompt(value, limits.promptsMax), { error })
    .meta({
      anyOf: [
        { type: 'string' },
        { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: limits.promptsMax },
        { ...TOKEN_LIST_JSON, minItems: 1 },
        { type: 'array', items: TOKEN_LIST_JSON, minItems: 1, maxItems: limits.promptsMax },
      ],
    });
}

/** The body of a completions request under the given limits. */
export function completionRequestSchema(limits: RequestLimits) {
  return z.strictObject({
    prompt: promptField(limits),
    ...samplingFields(limits),
    echo: booleanField().nullish(),
    logprobs: integerField(0, 5).nullish(),
    suffix: unsupported('filling in the middle', isOneOf('')),
    ...UNSUPPORTED_SAMPLING,
  });
}
export type CompletionRequest = z.infer<ReturnType<typeof completionRequestSchema>>;

const legacyLogprobs = z
  .strictObject({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
    text_offset: z
      .array(z.int())
      .meta({ description: 'Characters (code points) from the start of the returned text.' }),
  })
  .nullable();
export type LegacyLogprobs = z.infer<typeof legacyLogprobs>;

const shape = {
  id: z.string(),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
};
const choice = {
  index: z.int(),
  text: z.string(),
  logprobs: legacyLogprobs,
  moderation: moderationNoteSchema.optional(),
};

export const completionResponseSchema = z.strictObject({
  ...shape,
  choices: z.array(z.strictObject({ ...choice, finish_reason: finishReasonSchema })),
  usage: usageSchema,
});
export type CompletionResponse = z.infer<typeof completionResponseSchema>;

export const completionChunkSchema = z.strictObject({
  ...shape,
  choices: z.array(z.strictObject({ ...choice, finish_reason: finishReasonSchema.nullable() })),
  usage: usageSchema.nullish(),
});
