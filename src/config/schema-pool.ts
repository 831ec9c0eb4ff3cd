/** The shape of what `plenum.yaml` says of memory: the pool, and how long a model stays in it. */
import * as z from 'zod';
import { DURATION, SIZE } from './quantities.ts';

/** A size with its unit; without one, bytes. */
const size = (description: string) =>
  z
    .union([
      z.int().min(0).max(1e15),
      z
        .string()
        .regex(SIZE)
        .meta({ examples: ['24GB'] }),
    ])
    .meta({ description });

const sizeOrAuto = (description: string) =>
  z
    .union([
      z.literal('auto'),
      z.int().min(0).max(1e15),
      z
        .string()
        .regex(SIZE)
        .meta({ examples: ['24GB'] }),
    ])
    .default('auto')
    .meta({ description });

/** Of one model, or of all of them under `defaults`. */
export const keepingSettings = {
  pin: z
    .boolean()
    .meta({ description: 'Once loaded it stays, whoever needs the room.' })
    .optional(),
  preload: z
    .union([z.boolean(), z.literal('auto')])
    .meta({
      description:
        'true: loaded at the start, or the server does not start; false: loaded by its first ' +
        'request; auto: loaded at the start if there is room.',
    })
    .optional(),
  ttl: z
    .union([
      z.literal('never'),
      z
        .string()
        .regex(DURATION)
        .meta({ examples: ['10m'] }),
    ])
    .meta({ description: 'Leaves memory after so long without a request.' })
    .optional(),
  priority: z
    .int()
    .min(-1000)
    .max(1000)
    .meta({ description: 'A model never makes room for one of lower priority; 0 if not given.' })
    .optional(),
};

const floorsSchema = z.strictObject({
  chat: size('Of chat models.').optional(),
  embed: size('Of embedding models.').optional(),
  rerank: size('Of rerankers.').optional(),
  guard: size('Of safety models.').optional(),
});

export const poolSchema = z.strictObject({
  memory: sizeOrAuto('What models may have in all; auto: what the machine gives.'),
  reserve: sizeOrAuto(
    'Kept free for the system; auto: none on a Mac, elsewhere 1 GB or a tenth if that is less.',
  ),
  floors: floorsSchema
    .meta({ description: 'Memory of a class that no other class takes, used or not.' })
    .prefault({}),
});
