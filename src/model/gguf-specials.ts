/** The special tokens of a model, from the tokenizer in its header. */
import { type GgufHeader, metadataList } from './gguf.ts';

/** The lists that `specialTokensOf` needs; `inspectGguf` keeps them when it is asked to. */
export const SPECIAL_TOKEN_LISTS: readonly string[] = [
  'tokenizer.ggml.tokens',
  'tokenizer.ggml.token_type',
];

/** llama.h, enum llama_token_type: control and user-defined tokens are matched in raw text. */
const MATCHED_TYPES: ReadonlySet<unknown> = new Set([3, 4]);

/** Their texts; null when the header was read without SPECIAL_TOKEN_LISTS or has none. */
export function specialTokensOf(header: GgufHeader): readonly string[] | null {
  const tokens = metadataList(header, 'tokenizer.ggml.tokens');
  const types = metadataList(header, 'tokenizer.ggml.token_type');
  if (tokens === null || types === null) return null;
  return tokens.filter((_, id) => MATCHED_TYPES.has(types[id])).map(String);
}
