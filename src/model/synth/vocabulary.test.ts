/** Vocabularies, with byte-level BPE as it is defined. */
import { describe, expect, it } from 'vitest';
import { bpeVocabulary, byteSymbols, VOCAB_MIN, wordPieceVocabulary } from './vocabulary.ts';

function listOf(vocabulary: ReturnType<typeof bpeVocabulary>, key: string): readonly string[] {
  const value = vocabulary.metadata.get(`tokenizer.ggml.${key}`);
  if (value?.type !== 'strings') throw new Error(key);
  return value.values;
}

/** Byte-level BPE as it is defined: of all neighbours the pair of lowest rank joins, repeatedly. */
function encode(text: string, ranks: ReadonlyMap<string, number>): string[] {
  const symbols = byteSymbols();
  const pieces = [...Buffer.from(text)].map((byte) => symbols[byte] ?? '');
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < pieces.length; i++) {
      const rank = ranks.get(`${pieces[i]} ${pieces[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank < bestRank) [best, bestRank] = [i, rank];
    }
    if (best < 0) return pieces;
    pieces.splice(best, 2, `${pieces[best]}${pieces[best + 1]}`);
  }
}

describe('a byte-level vocabulary', () => {
  it.each([VOCAB_MIN, 4096, 49152, 262144])('of %i tokens has each once', (size) => {
    const vocabulary = bpeVocabulary(size);
    const tokens = listOf(vocabulary, 'tokens');
    expect(tokens).toHaveLength(size);
    expect(new Set(tokens).size).toBe(size);
    const merges = listOf(vocabulary, 'merges');
    expect(merges).toHaveLength(size - 3 - 256);
    expect(new Set(merges).size).toBe(merges.length);
  });

  it('holds every byte, so that any text survives', () => {
    const tokens = new Set(listOf(bpeVocabulary(VOCAB_MIN), 'tokens'));
    const symbols = byteSymbols();
    expect(new Set(symbols).size).toBe(256);
    expect(symbols.every((symbol) => tokens.has(symbol))).toBe(true);
  });

  it('reaches its words by its merges', () => {
    const vocabulary = bpeVocabulary(49152);
    const tokens = listOf(vocabulary, 'tokens');
    const merges = listOf(vocabulary, 'merges');
    const ranks = new Map(merges.map((merge, rank) => [merge, rank]));
    const symbols = byteSymbols();
    const bytes = new Map(symbols.map((symbol, byte) => [symbol, byte]));
    for (let id = 3 + 256; id < tokens.length; id += 97) {
      const token = tokens[id] ?? '';
      const text = Buffer.from([...token].map((symbol) => bytes.get(symbol) ?? 0)).toString();
      expect(encode(text, ranks)).toEqual([token]);
    }
  });

  it('has its unprintable tokens first', () => {
    const vocabulary = bpeVocabulary(VOCAB_MIN);
    const tokens = listOf(vocabulary, 'tokens');
    const symbols = byteSymbols();
    const words = tokens.slice(vocabulary.firstTextToken);
    expect(words[0]).toBe(symbols[0x0a]);
    expect(words).not.toContain(symbols[0x80]);
    expect(words).not.toContain('<|im_end|>');
    expect(words).toContain('~');
  });
});

describe('a WordPiece vocabulary', () => {
  it.each([1024, 30522])('of %i tokens has each once', (size) => {
    const tokens = listOf(wordPieceVocabulary(size), 'tokens');
    expect(new Set(tokens).size).toBe(size);
    expect(tokens.slice(0, 5)).toEqual(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']);
    expect(tokens).toContain('\u2581a');
    expect(tokens).toContain('a');
  });
});
