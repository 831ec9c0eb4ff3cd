/**
 * Text of a wanted number of tokens out of common words. Where words are known to be one token each
 * in running text the number is exact; otherwise it follows from tokens per word.
 */
import type { Prng } from '../../base/prng.ts';

export interface WordStock {
  /** May begin a text. */
  readonly first: readonly string[];
  /** May follow another word. */
  readonly following: readonly string[];
  /** 1 where each is exactly one token. */
  readonly tokensPerWord: number;
  readonly isExact: boolean;
}

const COMMON = `time year people way day man thing woman life child world school state family student
group country problem hand part place case week company system program question work government
number night point home water room mother area money story fact month lot right study book eye job
word business issue side kind head house service friend father power hour game line end member law
car city community name president team minute idea body information back parent face others level
office door health person art war history party result change morning reason research girl guy
moment air teacher force education foot boy age policy music market sense road paper garden river`;

export const WORDS: readonly string[] = COMMON.split(/\s+/);

/**
 * One word is one token: what is nearly true of any vocabulary, and what is used if nothing
 * says.
 */
export const PLAIN_STOCK: WordStock = {
  first: WORDS,
  following: WORDS,
  tokensPerWord: 1,
  isExact: false,
};

/** `tokens` tokens of random words; at least one word. */
export function makeText(stock: WordStock, prng: Prng, tokens: number): string {
  const count = Math.max(1, Math.round(tokens / stock.tokensPerWord));
  const words = [prng.pick(stock.first)];
  while (words.length < count) words.push(prng.pick(stock.following));
  return words.join(' ');
}
