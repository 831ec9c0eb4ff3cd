/**
 * POST /tokenize and /detokenize in the shapes of llama.cpp's server, with an optional model, and a
 * count for chat messages as well as for text.
 */
import { z } from 'zod';
import { chatRequestSchema } from './openai-chat.ts';
import {
  booleanField,
  isTokenList,
  type RequestLimits,
  samplingFields,
  stringField,
  TOKEN_LIST_JSON,
} from './openai-fields.ts';

/** Exactly one of `content` and `messages` is to be given; the front door checks that. */
export function tokenizeRequestSchema(limits: RequestLimits) {
  const { messages, chat_template_kwargs } = chatRequestSchema(limits).shape;
  return z.strictObject({
    model: samplingFields(limits).model,
    content: stringField().optional(),
    messages: messages.optional(),
    chat_template_kwargs,
    add_special: booleanField()
      .optional()
      .meta({ description: 'Add the model’s BOS/EOS to content. Default false.' }),
    parse_special: booleanField()
      .optional()
      .meta({ description: 'Read <|…|> in content as special tokens. Default true.' }),
    with_pieces: booleanField().optional(),
  });
}
export type TokenizeRequest = z.infer<ReturnType<typeof tokenizeRequestSchema>>;

export const tokenizeResponseSchema = z.strictObject({
  tokens: z.union([
    z.array(z.int()),
    z.array(
      z.strictObject({
        id: z.int(),
        piece: z
          .union([z.string(), z.array(z.int())])
          .meta({ description: 'Text, or bytes where they are not whole characters.' }),
      }),
    ),
  ]),
  count: z.int(),
  context_tokens: z.int().meta({ description: 'Longest sequence of the model.' }),
});
export type TokenizeResponse = z.infer<typeof tokenizeResponseSchema>;

export function detokenizeRequestSchema(limits: RequestLimits) {
  return z.strictObject({
    model: samplingFields(limits).model,
    tokens: z
      .custom<number[]>(isTokenList, { error: 'must be a list of token ids' })
      .meta(TOKEN_LIST_JSON),
  });
}

export const detokenizeResponseSchema = z.strictObject({ content: z.string() });
