/** POST /v1/embeddings: OpenAI's request and reply, and `normalize` and `input_type` beside. */
import { z } from 'zod';
import {
  booleanField,
  deadlineField,
  integerField,
  isOneOf,
  isTokenList,
  modelField,
  type RequestLimits,
  stringField,
  TOKEN_LIST_JSON,
  unsupported,
} from './openai-fields.ts';

export type EmbeddingInput = string | readonly string[] | readonly number[] | readonly number[][];

/** Shape alone; what is empty or too long is named by the front door, with its index. */
function isInput(value: unknown): value is EmbeddingInput {
  if (typeof value === 'string') return true;
  if (!Array.isArray(value)) return false;
  return (
    value.every((item) => typeof item === 'string') ||
    isTokenList(value) ||
    value.every((item) => isTokenList(item))
  );
}

/** The body of an embeddings request under the given limits. */
export function embeddingsRequestSchema(limits: RequestLimits) {
  const { inputsMax, inputCharsMax } = limits;
  const error =
    `must be a text, a list of token ids, or a list of 1 to ${inputsMax} of either, ` +
    'all of one kind';
  return z.strictObject({
    model: modelField(),
    input: z.custom<EmbeddingInput>(isInput, { error }).meta({
      anyOf: [
        { type: 'string', maxLength: inputCharsMax },
        {
          type: 'array',
          items: { type: 'string', maxLength: inputCharsMax },
          minItems: 1,
          maxItems: inputsMax,
        },
        { ...TOKEN_LIST_JSON, minItems: 1 },
        { type: 'array', items: TOKEN_LIST_JSON, minItems: 1, maxItems: inputsMax },
      ],
      description: 'Token ids are taken as they are: special tokens are the client’s own affair.',
    }),
    encoding_format: z
      .enum(['float', 'base64'], { error: "must be 'float' or 'base64'" })
      .nullish()
      .meta({ description: 'base64: the bytes of little-endian 32-bit floats. Default float.' }),
    dimensions: integerField(1, 1_048_576).nullish().meta({
      description: 'Cuts the vectors; only to lengths that the model was trained for.',
    }),
    normalize: booleanField().nullish().meta({
      description: 'Beyond OpenAI. Vectors have length 1 unless this is false. Default true.',
    }),
    input_type: z
      .enum(['query', 'document'], { error: "must be 'query' or 'document'" })
      .nullish()
      .meta({
        description:
          'Beyond OpenAI. Puts the prefix that is configured for the model (`embedding` in ' +
          'plenum.yaml) before each text.',
      }),
    deadline_ms: deadlineField(),
    user: stringField().nullish(),
    truncate: unsupported('cutting inputs that are too long', isOneOf(false, 'NONE')),
    truncate_prompt_tokens: unsupported('cutting inputs that are too long'),
    late_chunking: unsupported('late chunking', isOneOf(false)),
    task: unsupported('task adapters (use input_type)'),
    embedding_type: unsupported('other number formats (use encoding_format)', isOneOf('float')),
  });
}
export type EmbeddingsRequest = z.infer<ReturnType<typeof embeddingsRequestSchema>>;

export const embeddingsResponseSchema = z.strictObject({
  object: z.literal('list'),
  data: z.array(
    z.strictObject({
      object: z.literal('embedding'),
      index: z.int(),
      embedding: z.union([z.array(z.number()), z.string()]),
    }),
  ),
  model: z.string(),
  usage: z.strictObject({ prompt_tokens: z.int(), total_tokens: z.int() }),
});
export type EmbeddingsResponse = z.infer<typeof embeddingsResponseSchema>;
