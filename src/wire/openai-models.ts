/** GET /v1/models: OpenAI's shape, and beside it what a client needs to choose a model. */
import { z } from 'zod';
import { MODEL_STATES } from './model-info.ts';
import { MODEL_CLASSES } from './pool.ts';

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
      class: z.enum(MODEL_CLASSES),
      chat: z.boolean(),
      endpoints: z.array(z.string()).meta({ description: 'Paths that take this model.' }),
      embedding: z
        .strictObject({
          dimensions: z.int(),
          pooling: z.string(),
          shorter_dimensions: z
            .array(z.int())
            .meta({ description: 'Lengths to which `dimensions` may cut a vector.' }),
        })
        .nullable()
        .meta({ description: 'Of a loaded model that gives vectors.' }),
      labels: z.array(z.string()).meta({ description: 'Classes of a loaded classifier.' }),
      sampling: z
        .record(z.string(), z.number())
        .meta({ description: 'What requests get that do not say otherwise.' }),
      state: z.enum(MODEL_STATES),
    })
    .meta({ description: 'Beyond OpenAI: facts of the model as it is served here.' }),
});
export type ModelBody = z.infer<typeof modelSchema>;

export const modelListSchema = z.strictObject({
  object: z.literal('list'),
  data: z.array(modelSchema),
});
