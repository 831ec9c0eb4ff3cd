/** GET /admin/pool and POST /admin/models/{id}/…: the pool for its operator. */
import { z } from 'zod';
import { MODEL_CLASSES } from './pool.ts';

const bytes = (description: string) => z.number().meta({ description });

export const poolModelSchema = z.strictObject({
  id: z.string(),
  class: z.enum(MODEL_CLASSES),
  state: z.enum(['unloaded', 'loading', 'resident', 'unloading']),
  reason: z.string().nullable().meta({ description: 'Why it does not answer; null when it does.' }),
  pinned: z.boolean(),
  preload: z.boolean(),
  priority: z.int(),
  ttl_ms: z.number().nullable().meta({ description: 'Leaves after so long without use.' }),
  needed_bytes: bytes('The sum of the items.'),
  reserved_bytes: bytes('What the ledger holds for it now.'),
  measured_bytes: z
    .number()
    .nullable()
    .meta({ description: 'What the system counts for its host.' }),
  mispredicted: z.enum(['above', 'below']).nullable().meta({
    description:
      'The host has over 5 % more than was predicted, or less than what it has used must take.',
  }),
  items: z.array(z.strictObject({ name: z.string(), bytes: z.number(), source: z.string() })),
  pid: z.int().nullable(),
  in_use: z.int().meta({ description: 'Requests that use it.' }),
  waiting: z.int().meta({ description: 'Requests that wait until it is loaded.' }),
  queued: z.int().nullable().meta({ description: 'Requests in its own queue.' }),
  running: z.int().nullable(),
  tokens_per_second: z.number().meta({ description: 'Generated, or read by a model of vectors.' }),
  idle_ms: z.number(),
  loads: z.int(),
  restarts: z.int(),
});
export type PoolModelBody = z.infer<typeof poolModelSchema>;

export const poolSchema = z.strictObject({
  available_bytes: bytes('What models may have.'),
  available_source: z.string(),
  reserved_bytes: bytes('What loaded models have, by their declarations.'),
  measured_bytes: bytes('What the system counts for their hosts.'),
  paused: z.string().nullable().meta({ description: 'Why nothing is loaded at the moment.' }),
  floors: z.record(z.enum(MODEL_CLASSES), z.number()).meta({
    description: 'Bytes of a class that no other class takes.',
  }),
  models: z.array(poolModelSchema),
});
export type PoolBody = z.infer<typeof poolSchema>;

export const adminRequestSchema = z.strictObject({});
