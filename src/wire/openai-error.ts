/** The body of every error reply, and of the event that ends a stream that failed. */
import { z } from 'zod';

export const errorBodySchema = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().meta({ description: 'A code of the error table; see docs/errors.md.' }),
  }),
});
export type ErrorBody = z.infer<typeof errorBodySchema>;
