/** GET /v1/models: OpenAI's shape, and beside it what a client needs to choose a model. */
import { z } from 'zod';

export const modelSchema = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.literal('plenum'),
  meta: z
    .strictObject({
      aliases: z.array(z.string()),
      description: z.string(),
      context_tokens: z.int(),
      parallel: z.int(),
      synthetic: z.boolean(),
      chat: z.boolean(),
      state: z.enum(['starting', 'ready', 'backing_off', 'failed', 'stopping']),
    })
    .meta({ description: 'Beyond OpenAI: facts of the model as it is served here.' }),
});
export type ModelBody = z.infer<typeof modelSchema>;

export const modelListSchema = z.strictObject({
  object: z.literal('list'),
  data: z.array(modelSchema),
});
