/**
 * POST /v1/chat/completions: the request, the reply and a streamed chunk, field for field as
 * OpenAI's clients send and expect them. Checks that join several fields are the front door's.
 */
import { z } from 'zod';
import { moderationNoteSchema } from './guard.ts';
import {
  booleanField,
  finishReasonSchema,
  integerField,
  isEmptyList,
  isOneOf,
  type RequestLimits,
  samplingFields,
  stringField,
  UNSUPPORTED,
  UNSUPPORTED_SAMPLING,
  unsupported,
  usageSchema,
} from './openai-fields.ts';

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool', 'function'] as const;

const PART_TYPE_ERROR = "must be 'text'";
const partType = z
  .enum(['text', 'image_url', 'input_audio', 'audio_url', 'video_url', 'file', 'refusal'], {
    error: PART_TYPE_ERROR,
  })
  .refine((type) => type === 'text', {
    error: 'only text parts are supported yet',
    params: { code: UNSUPPORTED },
  });

const contentPart = z.strictObject(
  {
    type: partType,
    text: stringField(),
    image_url: unsupported('image input'),
    input_audio: unsupported('audio input'),
    audio_url: unsupported('audio input'),
    video_url: unsupported('video input'),
    file: unsupported('file input'),
    refusal: unsupported('refusal parts'),
    cache_control: unsupported('cache_control (prefixes are always reused)'),
  },
  { error: 'must be an object with type and text' },
);

function messageSchema(limits: RequestLimits) {
  const contentError = `must be a string or a list of at most ${limits.contentPartsMax} text parts`;
  return z.strictObject(
    {
      role: z
        .enum(ROLES, { error: "must be 'system', 'developer', 'user' or 'assistant'" })
        .refine((role) => role !== 'tool' && role !== 'function', {
          error: 'tool calling is not supported yet, and messages of this role are a part of it',
          params: { code: UNSUPPORTED },
        }),
      content: z.union(
        [
          z.string(),
          z
            .array(contentPart, { error: contentError })
            .min(1, { error: contentError })
            .max(limits.contentPartsMax, { error: contentError }),
        ],
        { error: contentError },
      ),
      name: stringField().nullish(),
      tool_calls: unsupported('tool calling', isEmptyList),
      tool_call_id: unsupported('tool calling'),
      function_call: unsupported('function calling'),
      audio: unsupported('audio'),
      refusal: unsupported('refusals', isOneOf('')),
      parsed: unsupported('parsed content (the official client adds a null)'),
      annotations: unsupported('annotations', isEmptyList),
      reasoning_content: unsupported('reasoning content', isOneOf('')),
    },
    { error: 'must be an object with role and content' },
  );
}

/** The body of a chat request under the given limits. */
export function chatRequestSchema(limits: RequestLimits) {
  const messagesError = `must be a list of 1 to ${limits.messagesMax} messages`;
  return z.strictObject({
    messages: z
      .array(messageSchema(limits), { error: messagesError })
      .min(1, { error: messagesError })
      .max(limits.messagesMax, { error: messagesError }),
    ...samplingFields(limits),
    max_completion_tokens: samplingFields(limits).max_tokens,
    logprobs: booleanField().nullish(),
    top_logprobs: integerField(0, 20).nullish(),
    chat_template_kwargs: z
      .record(z.string(), z.unknown(), { error: 'must be an object' })
      .nullish()
      .meta({ description: 'Variables for the model’s chat template.' }),
    metadata: z
      .record(z.string(), z.string({ error: 'must be a string' }), { error: 'must be an object' })
      .nullish()
      .meta({ description: 'Accepted; it would go with a stored reply, and none is stored.' }),
    safety_identifier: stringField().nullish(),
    prompt_cache_key: stringField().nullish(),
    parallel_tool_calls: booleanField().nullish(),
    tools: unsupported('tool calling', isEmptyList),
    tool_choice: unsupported('tool calling', isOneOf('none', 'auto')),
    functions: unsupported('function calling', isEmptyList),
    function_call: unsupported('function calling', isOneOf('none', 'auto')),
    response_format: unsupported('constrained output', isTextFormat),
    modalities: unsupported('output other than text', isTextOnly),
    audio: unsupported('audio output'),
    prediction: unsupported('predicted output'),
    web_search_options: unsupported('web search'),
    service_tier: stringField().nullish().meta({
      description: 'There is one tier: the reply says `default` where the request names any.',
    }),
    store: booleanField().nullish().meta({
      description: 'Accepted; nothing is ever kept after its reply, whatever is asked.',
    }),
    reasoning_effort: unsupported('reasoning effort', isOneOf('none')),
    verbosity: unsupported('verbosity', isOneOf('medium')),
    prompt_cache_retention: unsupported('cache retention', isOneOf('in-memory', 'in_memory')),
    add_generation_prompt: unsupported('leaving the generation prompt out', isOneOf(true)),
    continue_final_message: unsupported('continuing the last message', isOneOf(false)),
    ...UNSUPPORTED_SAMPLING,
  });
}
export type ChatRequest = z.infer<ReturnType<typeof chatRequestSchema>>;

function isTextFormat(value: unknown): boolean {
  if (value === null) return true;
  return (
    typeof value === 'object' &&
    Object.keys(value).length === 1 &&
    'type' in value &&
    value.type === 'text'
  );
}

function isTextOnly(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.length === 1 && value[0] === 'text');
}

const topLogprob = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()).nullable(),
});
const choiceLogprobs = z
  .object({
    content: z.array(topLogprob.extend({ top_logprobs: z.array(topLogprob) })),
    refusal: z.null(),
  })
  .nullable();
export type ChatLogprobs = z.infer<typeof choiceLogprobs>;

const serviceTier = z.literal('default').optional();

export const chatResponseSchema = z.strictObject({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: z.strictObject({
        role: z.literal('assistant'),
        content: z.string(),
        refusal: z.null(),
      }),
      logprobs: choiceLogprobs,
      finish_reason: finishReasonSchema,
      moderation: moderationNoteSchema.optional(),
    }),
  ),
  service_tier: serviceTier,
  usage: usageSchema,
});
export type ChatResponse = z.infer<typeof chatResponseSchema>;

export const chatChunkSchema = z.strictObject({
  id: z.string(),
  object: z.literal('chat.completion.chunk'),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        refusal: z.null().optional(),
      }),
      logprobs: choiceLogprobs,
      finish_reason: finishReasonSchema.nullable(),
      moderation: moderationNoteSchema.optional(),
    }),
  ),
  service_tier: serviceTier,
  usage: usageSchema.nullish(),
});
