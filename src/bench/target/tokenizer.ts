/**
 * How a target counts tokens, and the words that it counts as one token each: by its tokenizer
 * endpoint where it has one, otherwise by what it says of its `usage`.
 */
import { Prng } from '../../base/prng.ts';
import { makeText, PLAIN_STOCK, WORDS, type WordStock } from '../load/text.ts';
import type { Target } from '../result.ts';
import { type Api, ask } from './api.ts';

export type TokenizerKind = Target['tokenizer'];

export interface Counter {
  readonly kind: TokenizerKind;
  readonly stock: WordStock;
}

type Count = (text: string) => Promise<number | null>;

/** Texts of these lengths must come out exact before a stock of words is trusted. */
const PROOF_TOKENS = [1, 2, 17, 64, 300];
/** Fewer words make prompts that are too much alike. */
const WORDS_MIN = 40;
const AT_ONCE = 8;

/** Null where the target has no such endpoint, or its counts do not add up. */
export async function countByEndpoint(api: Api, model: string | null): Promise<Counter | null> {
  const first = await ask(api, '/tokenize', bodyOf(model, 'time'));
  if (first.status !== 200 || !Array.isArray(first.json?.tokens)) return null;
  const kind = typeof first.json.context_tokens === 'number' ? 'plenum' : 'llama-server';
  const count: Count = async (text) => {
    const { json } = await ask(api, '/tokenize', bodyOf(model, text));
    return Array.isArray(json?.tokens) ? json.tokens.length : null;
  };
  const beginning = await singles(count, WORDS);
  const following = await additive(count, WORDS);
  if (beginning.length < WORDS_MIN || following.length < WORDS_MIN) return null;
  const stock = { first: beginning, following, tokensPerWord: 1, isExact: true };
  return (await isProven(count, stock)) ? { kind, stock } : null;
}

const bodyOf = (model: string | null, content: string): object => ({
  ...(model === null ? {} : { model }),
  content,
});

/** Words that are one token where they stand alone. */
async function singles(count: Count, words: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (let from = 0; from < words.length; from += AT_ONCE) {
    const some = words.slice(from, from + AT_ONCE);
    const counts = await Promise.all(some.map(count));
    found.push(...some.filter((_, i) => counts[i] === 1));
  }
  return found;
}

/**
 * Words that are one token each after another word: a text of n such words has as many tokens more
 * than its first word as it has words more. Halves that do not add up are looked at again.
 */
async function additive(count: Count, words: readonly string[]): Promise<string[]> {
  const lead = words[0] ?? '';
  const base = await count(lead);
  if (base === null) return [];
  const search = async (some: readonly string[]): Promise<string[]> => {
    if (some.length === 0) return [];
    const total = await count([lead, ...some].join(' '));
    if (total === base + some.length) return [...some];
    if (some.length === 1) return [];
    const middle = Math.ceil(some.length / 2);
    return [...(await search(some.slice(0, middle))), ...(await search(some.slice(middle)))];
  };
  return search(words);
}

async function isProven(count: Count, stock: WordStock): Promise<boolean> {
  const prng = new Prng(1);
  for (const tokens of PROOF_TOKENS) {
    if ((await count(makeText(stock, prng, tokens))) !== tokens) return false;
  }
  return true;
}

/** Prompt tokens that the target says it had for a text; null where it says nothing. */
export type UsageOf = (text: string) => Promise<number | null>;

const FEW = 8;
const MANY = 208;

/**
 * Tokens per word by the difference of two prompts, so that what a template adds falls out. `none`
 * where the target does not say: one word is taken for one token then.
 */
export async function countByUsage(usageOf: UsageOf): Promise<Counter> {
  const prng = new Prng(1);
  const few = await usageOf(makeText(PLAIN_STOCK, prng, FEW));
  const many = few === null ? null : await usageOf(makeText(PLAIN_STOCK, prng, MANY));
  if (few === null || many === null || many <= few) return { kind: 'none', stock: PLAIN_STOCK };
  const tokensPerWord = (many - few) / (MANY - FEW);
  return { kind: 'calibrated', stock: { ...PLAIN_STOCK, tokensPerWord } };
}
