/**
 * Building blocks of the request schemas: bounded numbers whose message names their range, fields
 * that are known but not supported, and the sampling fields that chat and completions share. Every
 * schema's message is a phrase (`must be …`) that the front door puts after the field's name.
 */
import { z } from 'zod';

/** Sizes that a request may have. They appear in the OpenAPI document as the configured numbers. */
export interface RequestLimits {
  readonly messagesMax: number;
  readonly contentPartsMax: number;
  /** Prompts in one completions request. */
  readonly promptsMax: number;
  /** Prompts × n of one request. */
  readonly choicesMax: number;
  readonly nMax: number;
  readonly stopStringsMax: number;
  readonly stopStringCharsMax: number;
  readonly logitBiasMax: number;
  /** Inputs of one embeddings or moderations request. */
  readonly inputsMax: number;
  /** Characters (UTF-16 units) of one input, query or document. */
  readonly inputCharsMax: number;
  /** Documents of one rerank request. */
  readonly documentsMax: number;
}

export const UNSUPPORTED = 'unsupported_parameter';
const INT32_MAX = 2_147_483_647;

export function numberField(min: number, max: number) {
  const error = `must be a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
}

export function integerField(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export const booleanField = () => z.boolean({ error: 'must be true or false' });
export const stringField = () => z.string({ error: 'must be a string' });

type Neutral = (value: unknown) => boolean;
export const isNull: Neutral = (value) => value === null;
export const isEmptyList: Neutral = (value) =>
  value === null || (Array.isArray(value) && value.length === 0);
export const isOneOf =
  (...values: readonly unknown[]): Neutral =>
  (value) =>
    value === null || values.includes(value);

/**
 * A parameter that clients may know and this server does not support: refused by name, except for
 * the values that ask for nothing (null, or the default that official clients send).
 */
export function unsupported(what: string, neutral: Neutral = isNull) {
  return z
    .unknown()
    .refine(neutral, {
      error: `${what} is not supported yet; leave it out`,
      params: { code: UNSUPPORTED },
    })
    .optional()
    .meta({
      description: `Not supported yet (${what}); refused unless it asks for nothing.`,
      'x-unsupported': what,
    });
}

/** A list of token ids, checked without building an issue for each wrong element. */
export function isTokenList(value: unknown): value is number[] {
  return (
    Array.isArray(value) &&
    value.every((token) => Number.isInteger(token) && token >= 0 && token <= INT32_MAX)
  );
}

export const TOKEN_LIST_JSON = {
  type: 'array',
  items: { type: 'integer', minimum: 0, maximum: INT32_MAX },
} as const;

function stopField(limits: RequestLimits) {
  const { stopStringsMax, stopStringCharsMax } = limits;
  const error =
    `must be a string or a list of at most ${stopStringsMax} strings, ` +
    `each of 1 to ${stopStringCharsMax} characters`;
  const length = { error: `must be a string of 1 to ${stopStringCharsMax} characters` };
  const one = z.string(length).min(1, length).max(stopStringCharsMax, length);
  return z
    .union([one, z.array(one, { error }).max(stopStringsMax, { error })], { error })
    .nullish()
    .meta({ description: 'Generation ends before any of these; no part of one is sent.' });
}

function logitBiasField(limits: RequestLimits) {
  const error = `must map at most ${limits.logitBiasMax} token ids to numbers from -100 to 100`;
  return z
    .record(z.string().regex(/^\d{1,9}$/, { error }), numberField(-100, 100), { error })
    .refine((map) => Object.keys(map).length <= limits.logitBiasMax, { error })
    .nullish()
    .meta({ description: 'Token id to a bias that is added to its logit.' });
}

const maxTokensField = () => {
  const error = `must be a whole number from 1 to ${INT32_MAX}, or -1 for as many as fit`;
  return z
    .int({ error })
    .max(INT32_MAX, { error })
    .refine((n) => n >= 0 || n === -1, { error })
    .nullish();
};

export const modelField = () =>
  z
    .string({ error: 'must be the name of a model' })
    .min(1, { error: 'must be the name of a model' })
    .optional()
    .meta({ description: 'Id or alias of a served model; the first fitting one if left out.' });

export const deadlineField = () =>
  integerField(1, 86_400_000)
    .nullish()
    .meta({ description: 'From arrival to the last token; after it the request has expired.' });

const DEFAULTED =
  'When left out: the default of the model (GET /v1/models, `meta.sampling`), else OpenAI’s.';

/** What decides how tokens are drawn and when generation ends; shared by both endpoints. */
export function samplingFields(limits: RequestLimits) {
  return {
    model: modelField(),
    temperature: numberField(0, 2)
      .nullish()
      .meta({ description: `0 is greedy. ${DEFAULTED}` }),
    top_p: numberField(0, 1).nullish().meta({ description: DEFAULTED }),
    top_k: integerField(-1, INT32_MAX)
      .nullish()
      .meta({ description: `0 and -1 turn it off. ${DEFAULTED}` }),
    min_p: numberField(0, 1).nullish().meta({ description: DEFAULTED }),
    repeat_penalty: numberField(0.01, 10)
      .nullish()
      .meta({ description: `1 turns it off. ${DEFAULTED}` }),
    repetition_penalty: numberField(0.01, 10)
      .nullish()
      .meta({ description: 'Another name of repeat_penalty.' }),
    repeat_last_n: integerField(-1, INT32_MAX)
      .nullish()
      .meta({ description: 'Tokens that repeat_penalty looks back on; -1 is the whole context.' }),
    frequency_penalty: numberField(-2, 2).nullish(),
    presence_penalty: numberField(-2, 2).nullish(),
    logit_bias: logitBiasField(limits),
    seed: integerField(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
      .nullish()
      .meta({
        description:
          'The same seed draws the same way; null and -1 draw one. The text is the same as long as ' +
          'the computed probabilities are: other requests in the batch change their rounding, ' +
          'which now and then tips a draw; greedy ones (temperature 0) only where two tokens tie.',
      }),
    n: integerField(1, limits.nMax).nullish(),
    stop: stopField(limits),
    max_tokens: maxTokensField(),
    ignore_eos: booleanField().nullish(),
    stream: booleanField().nullish(),
    stream_options: z
      .strictObject(
        {
          include_usage: booleanField().nullish(),
          include_obfuscation: unsupported('obfuscation of streams', isOneOf(false)),
          continuous_usage_stats: unsupported('usage in every chunk', isOneOf(false)),
        },
        { error: 'must be an object' },
      )
      .nullish(),
    deadline_ms: deadlineField(),
    user: stringField().nullish(),
  };
}

/** Parameters of other servers and of newer clients that ask for something we do not do yet. */
export const UNSUPPORTED_SAMPLING = {
  best_of: unsupported('choosing the best of several completions', isOneOf(1)),
  grammar: unsupported('constrained output', isOneOf('')),
  json_schema: unsupported('constrained output'),
  guided_json: unsupported('constrained output'),
  guided_regex: unsupported('constrained output'),
  guided_choice: unsupported('constrained output'),
  guided_grammar: unsupported('constrained output'),
  structured_outputs: unsupported('constrained output'),
  min_tokens: unsupported('a least number of tokens', isOneOf(0)),
  stop_token_ids: unsupported('stopping at token ids', isEmptyList),
  include_stop_str_in_output: unsupported('keeping the stop string', isOneOf(false)),
  skip_special_tokens: unsupported('sending special tokens', isOneOf(true)),
  typical_p: unsupported('typical sampling', isOneOf(1)),
  mirostat: unsupported('mirostat', isOneOf(0)),
  mirostat_tau: unsupported('mirostat'),
  mirostat_eta: unsupported('mirostat'),
  dynatemp_range: unsupported('dynamic temperature', isOneOf(0)),
  dynatemp_exponent: unsupported('dynamic temperature', isOneOf(1)),
  xtc_probability: unsupported('XTC sampling', isOneOf(0)),
  xtc_threshold: unsupported('XTC sampling'),
  dry_multiplier: unsupported('DRY sampling', isOneOf(0)),
  dry_base: unsupported('DRY sampling'),
  dry_allowed_length: unsupported('DRY sampling'),
  dry_penalty_last_n: unsupported('DRY sampling'),
  dry_sequence_breakers: unsupported('DRY sampling', isEmptyList),
  samplers: unsupported('reordering samplers', isEmptyList),
  cache_prompt: unsupported('turning prefix reuse off', isOneOf(true)),
  id_slot: unsupported('choosing a slot', isOneOf(-1)),
  n_probs: unsupported('n_probs (use logprobs)', isOneOf(0)),
  n_predict: unsupported('n_predict (use max_tokens)'),
  lora: unsupported('LoRA adapters', isEmptyList),
  return_tokens: unsupported('returning token ids', isOneOf(false)),
  timings_per_token: unsupported('timings per token', isOneOf(false)),
} as const;

export const usageSchema = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({
    cached_tokens: z.int().meta({ description: 'Prompt tokens that were not computed again.' }),
    audio_tokens: z.literal(0),
  }),
  completion_tokens_details: z.object({
    reasoning_tokens: z.literal(0),
    audio_tokens: z.literal(0),
    accepted_prediction_tokens: z.literal(0),
    rejected_prediction_tokens: z.literal(0),
  }),
});
export type UsageBody = z.infer<typeof usageSchema>;

export const finishReasonSchema = z
  .enum(['stop', 'length', 'tool_calls', 'content_filter'])
  .meta({ description: 'content_filter: a guard in the path found the input or output unsafe.' });
