/** Which smaller wishes are proposed, and that they would really fit. */
import { expect, it } from 'vitest';
import { loadCatalogue } from '../model/catalogue-data.ts';
import { geometryOfModel } from './architecture.ts';
import { findModel } from './lookup.ts';
import { type ModelWish, needOf, smallerWishes } from './wish.ts';

const model = findModel(loadCatalogue(), 'llama-3.1-8b');
const geometry = geometryOfModel(model, 'Q8_0');
const wish: ModelWish = {
  named: { reference: 'org/eight:Q8_0', geometry, entry: null },
  contextTokens: 32_768,
  parallel: 4,
  cacheType: 'f16',
};
const need = needOf(wish).neededBytes;
const within = (roomBytes: number, of: ModelWish = wish): readonly string[] =>
  smallerWishes([of], { fits: ([one]) => (one?.neededBytes ?? 0) <= roomBytes });

it('are the smallest change of each kind', () => {
  expect(within(need - 1)).toEqual([
    'a context of 16384 tokens (context: 16384)',
    '2 instead of 4 sequences at a time',
    'a cache of 8 bits (q8_0)',
    'org/eight:Q8_0 as Q6_K instead of Q8_0',
  ]);
});

it('go as far as they must, and no kind is proposed that does not do it', () => {
  expect(within(12e9)).toEqual(
    ['a context of 4096 tokens (context: 4096)', '1 instead of 4 sequences at a time'].slice(
      0,
      within(12e9).length,
    ),
  );
  expect(within(1e9)).toEqual([]);
});

it('of a model of the catalogue have the exact bytes of the other quantisation', () => {
  const named = { ...wish.named, entry: { model, quant: 'Q8_0' } };
  const texts = within(need - 1e9, { ...wish, named });
  expect(texts).toContain('llama-3.1-8b as Q6_K instead of Q8_0');
});

it('of an encoder are no other quantisation, which nobody has measured', () => {
  const named = { ...wish.named, geometry: { ...geometry, isEncoder: true } };
  expect(within(need - 1, { ...wish, named }).join()).not.toContain('instead of Q8_0');
});
