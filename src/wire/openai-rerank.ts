/** POST /v1/rerank: the request and reply that Jina's and Cohere's clients share. */
import { z } from 'zod';
import {
  booleanField,
  deadlineField,
  integerField,
  modelField,
  type RequestLimits,
  stringField,
  unsupported,
} from './openai-fields.ts';

const documentField = () =>
  z.union([z.string(), z.strictObject({ text: stringField() })], {
    error: 'must be a text or an object with a text',
  });

/** The body of a rerank request under the given limits. */
export function rerankRequestSchema(limits: RequestLimits) {
  const { documentsMax } = limits;
  const error = `must be a list of 1 to ${documentsMax} documents`;
  return z.strictObject({
    model: modelField(),
    query: stringField().min(1, { error: 'must not be empty' }),
    documents: z
      .array(documentField(), { error })
      .min(1, { error })
      .max(documentsMax, { error })
      .meta({ description: 'Texts, or objects with a `text`.' }),
    top_n: integerField(1, 2_147_483_647).nullish().meta({
      description: 'At most this many results, the most relevant ones. Default: all.',
    }),
    return_documents: booleanField()
      .nullish()
      .meta({ description: 'Put each text into its result. Default false.' }),
    deadline_ms: deadlineField(),
    user: stringField().nullish(),
    rank_fields: unsupported('ranking by fields of documents'),
    max_chunks_per_doc: unsupported('cutting documents into chunks'),
    max_tokens_per_doc: unsupported('cutting documents that are too long'),
    truncation: unsupported('cutting documents that are too long'),
    return_embeddings: unsupported('embeddings in rerank replies'),
  });
}
export type RerankRequest = z.infer<ReturnType<typeof rerankRequestSchema>>;

export const rerankResponseSchema = z.strictObject({
  id: z.string(),
  model: z.string(),
  results: z.array(
    z.strictObject({
      index: z.int().meta({ description: 'Place of the document in the request.' }),
      relevance_score: z.number().meta({
        description:
          'Logistic function of the model’s rank logit: 0 … 1, comparable within one model only.',
      }),
      document: z.strictObject({ text: z.string() }).optional(),
    }),
  ),
  usage: z.strictObject({ prompt_tokens: z.int(), total_tokens: z.int() }),
});
export type RerankResponse = z.infer<typeof rerankResponseSchema>;
