/** GET /health (the process lives) and GET /ready (a model can answer), for probes and people. */
import { z } from 'zod';
import { MODEL_STATES } from './model-info.ts';

export const healthSchema = z.strictObject({
  status: z.literal('ok'),
  version: z.string(),
});

export const readySchema = z.strictObject({
  status: z.enum(['ready', 'degraded', 'unready', 'draining']).meta({
    description:
      'degraded: some model is not ready, another one is. A model that is loaded when it is ' +
      'asked for counts as ready.',
  }),
  models: z.array(
    z.strictObject({
      id: z.string(),
      state: z.enum(MODEL_STATES),
      reason: z.string().nullable(),
      load_fraction: z.number().nullable(),
      restarts: z.int(),
      waiting: z.int().nullable(),
      running: z.int().nullable(),
      predicted_wait_ms: z.number().nullable(),
      device: z.string().nullable(),
    }),
  ),
});
export type ReadyBody = z.infer<typeof readySchema>;

export const readyQuerySchema = z.strictObject({
  model: z.string().optional().meta({ description: 'Ask for one model instead of any.' }),
});
