/** The special tokens of a model, from the tokenizer in its header. */
import { type GgufHeader, metadataList, metadataString } from './gguf.ts';

/** The lists that `specialTokensOf` needs; `inspectGguf` keeps them when it is asked to. */
export const SPECIAL_TOKEN_LISTS: readonly string[] = [
  'tokenizer.ggml.tokens',
  'tokenizer.ggml.token_type',
];

/** llama.h, enum llama_token_type. */
const CONTROL = 3;
const USER_DEFINED = 4;

/**
 * Texts that are read as one token wherever they stand in raw text and that steer a conversation:
 * all control tokens, and the user-defined ones that the chat template writes (others of those are
 * ordinary text, such as runs of spaces and HTML tags). Null when the header was read without
 * SPECIAL_TOKEN_LISTS or has none.
 */
export function specialTokensOf(header: GgufHeader): readonly string[] | null {
  const tokens = metadataList(header, 'tokenizer.ggml.tokens');
  const types = metadataList(header, 'tokenizer.ggml.token_type');
  if (tokens === null || types === null) return null;
  const template = metadataString(header, 'tokenizer.chat_template') ?? '';
  return tokens.map(String).filter((text, id) => {
    const type = types[id];
    return type === CONTROL || (type === USER_DEFINED && isMarkup(text) && template.includes(text));
  });
}

const isMarkup = (text: string): boolean => text.length > 2 && text.trim() === text;
