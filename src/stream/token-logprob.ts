/** Log probabilities as clients see them: token ids of the engine become strings and bytes. */
import type { TokenLogprob } from '../wire/generation.ts';

/** A token's score as the engine gives it (the scheduler's RawLogprob has this shape). */
export interface TokenScore {
  readonly token: number;
  readonly logprob: number;
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

/** The bytes that a token adds to the output. */
export type TokenBytes = (token: number) => Uint8Array;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** `token` strings are lossy where a token is a part of a character; `bytes` are exact. */
export function toTokenLogprob(score: TokenScore, tokenBytes: TokenBytes): TokenLogprob {
  return {
    ...entry(score, tokenBytes),
    top: score.top.map((item) => entry(item, tokenBytes)),
  };
}

function entry(
  item: { readonly token: number; readonly logprob: number },
  tokenBytes: TokenBytes,
): Omit<TokenLogprob, 'top'> {
  const bytes = tokenBytes(item.token);
  return {
    token: decoder.decode(bytes),
    tokenId: item.token,
    bytes: Array.from(bytes),
    logprob: item.logprob,
  };
}
