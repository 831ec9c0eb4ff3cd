/** POST /v1/moderations: OpenAI's request and reply, with the categories of the model itself. */
import { z } from 'zod';
import {
  deadlineField,
  modelField,
  type RequestLimits,
  stringField,
  UNSUPPORTED,
  unsupported,
} from './openai-fields.ts';

const textPart = z.strictObject(
  {
    type: z
      .enum(['text', 'image_url'], { error: "must be 'text'" })
      .refine((type) => type === 'text', {
        error: 'only text can be judged yet',
        params: { code: UNSUPPORTED },
      }),
    text: stringField(),
    image_url: unsupported('judging images'),
  },
  { error: 'must be an object with type and text' },
);

/** The body of a moderations request under the given limits. */
export function moderationsRequestSchema(limits: RequestLimits) {
  const { inputsMax, inputCharsMax } = limits;
  const error = `must be a text, or a list of 1 to ${inputsMax} texts or of text parts`;
  const item = z.union([z.string(), textPart], { error: 'must be a text or a text part' });
  const list = z.array(item, { error }).min(1, { error }).max(inputsMax, { error });
  return z.strictObject({
    model: modelField(),
    input: z.union([z.string(), list], { error }).meta({
      description:
        'Each text of a list is judged by itself; text parts are one input together. ' +
        `At most ${inputCharsMax} characters each.`,
    }),
    deadline_ms: deadlineField(),
    user: stringField().nullish(),
  });
}
export type ModerationsRequest = z.infer<ReturnType<typeof moderationsRequestSchema>>;

export const moderationsResponseSchema = z.strictObject({
  id: z.string(),
  model: z.string(),
  results: z.array(
    z.strictObject({
      flagged: z.boolean(),
      categories: z.record(z.string(), z.boolean()).meta({
        description:
          'The categories that the model tells apart, by its own names. True from the threshold ' +
          'on; of a flagged text at least the likeliest is.',
      }),
      category_scores: z.record(z.string(), z.number()),
      category_applied_input_types: z.record(z.string(), z.array(z.literal('text'))),
    }),
  ),
});
export type ModerationsResponse = z.infer<typeof moderationsResponseSchema>;
