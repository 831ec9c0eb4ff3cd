/**
 * Prompts of an exact number of tokens: random common words, tokenised by a server (both kinds have
 * POST /tokenize in one shape) and cut. The same seed gives the same prompt.
 */
import { z } from 'zod';
import { Prng } from '../../src/base/prng.ts';

export const WORDS =
  `time year people way day man thing woman life child world school state family student
group country problem hand part place case week company system program question work government
number night point home water room mother area money story fact month lot right study book eye job
word business issue side kind head house service friend father power hour game line end member law
car city community name president team minute idea body information back parent face others level
office door health person art war history party result change morning reason research girl guy
moment air teacher force education foot boy age policy music market sense road paper garden river`
    .split(/\s+/)
    .filter((word) => word !== '');

const tokenizedSchema = z.object({ tokens: z.array(z.number()) });

/** `count` token ids of random text. Text of different seeds differs from its first words on. */
export async function promptTokens(
  baseUrl: string,
  count: number,
  seed: number,
): Promise<number[]> {
  const prng = new Prng(seed);
  // Common words are one token each in any vocabulary worth the name; a few more never hurt.
  const text = Array.from({ length: Math.ceil(count * 1.2) + 8 }, () => prng.pick(WORDS)).join(' ');
  const response = await fetch(new URL('/tokenize', baseUrl), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ content: text }),
  });
  if (!response.ok) throw new Error(`/tokenize: HTTP ${response.status} ${await response.text()}`);
  const { tokens } = tokenizedSchema.parse(await response.json());
  if (tokens.length < count) throw new Error(`${tokens.length} tokens where ${count} are needed`);
  return tokens.slice(0, count);
}
