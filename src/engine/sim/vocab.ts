/**
 * The vocabulary of the `sim` engine: the 256 bytes, a few control tokens, then words with a
 * leading space. Promises that tokenising any text and joining `tokenBytes` gives the text's UTF-8
 * back exactly. It owns no model: which token comes next is decided in distribution.ts.
 */
import { assert, defined } from '../../base/assert.ts';

export const CONTROL = { bos: 256, eos: 257, imStart: 258, imEnd: 259 } as const;
/** What a control token is written as; recognised in a text when special tokens are parsed. */
const CONTROL_TEXT: ReadonlyMap<number, string> = new Map([
  [CONTROL.bos, '<|bos|>'],
  [CONTROL.eos, '<|eos|>'],
  [CONTROL.imStart, '<|im_start|>'],
  [CONTROL.imEnd, '<|im_end|>'],
]);
const WORDS_START = 260;
/** Below this the words run out and the text becomes single bytes. */
export const SIM_VOCAB_MIN = 320;
export const SIM_VOCAB_MAX = 1_000_000;

/** First in the vocabulary and so (see distribution.ts) the most frequent. */
const COMMON_WORDS = (
  'the of and to in is that it was for on are as with his they at be this from have or by ' +
  'one had not but what all were when we there can an your which their said if do will each ' +
  'about how up out them then she many some so these would other into has more her two like ' +
  'him see time could no make than first been its who now people my made over did down only ' +
  'way find use may water'
).split(' ');
const CONSONANTS = [...'bdfgklmnprstvz'];
const VOWELS = [...'aeiou'];

/** The n-th pseudo-word: syllables are the digits of n, so that no two n give the same word. */
function pseudoWord(n: number): string {
  const base = CONSONANTS.length * VOWELS.length;
  let word = '';
  let rest = n;
  do {
    const digit = rest % base;
    const consonant = defined(CONSONANTS[Math.floor(digit / VOWELS.length)], 'consonant');
    word += consonant + defined(VOWELS[digit % VOWELS.length], 'vowel');
    rest = Math.floor(rest / base);
  } while (rest > 0);
  return word;
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20;
const isLower = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= 0x61 && byte <= 0x7a;
/** Longer runs of letters are not words of any vocabulary here: they are bytes. */
const WORD_BYTES_MAX = 24;

export class SimVocab {
  readonly size: number;
  readonly #words: string[] = [];
  readonly #ids = new Map<string, number>();

  constructor(size: number) {
    assert(size >= SIM_VOCAB_MIN && size <= SIM_VOCAB_MAX, `sim vocabulary of ${size} tokens`);
    this.size = size;
    for (let n = 0; WORDS_START + this.#words.length < size; n++) {
      const common = COMMON_WORDS[n];
      const word = ` ${common ?? pseudoWord(n - COMMON_WORDS.length)}`;
      if (this.#ids.has(word)) continue;
      this.#ids.set(word, WORDS_START + this.#words.length);
      this.#words.push(word);
    }
  }

  get wordCount(): number {
    return this.#words.length;
  }

  /** The token of the word with this rank, 0 being the most frequent. */
  wordToken(rank: number): number {
    assert(rank >= 0 && rank < this.wordCount, `word rank ${rank}`);
    return WORDS_START + rank;
  }

  isEndOfGeneration(token: number): boolean {
    return token === CONTROL.eos || token === CONTROL.imEnd;
  }

  bytesOf(token: number): Uint8Array {
    assert(token >= 0 && token < this.size, `token ${token} of ${this.size}`);
    if (token < 256) return Uint8Array.of(token);
    if (token < WORDS_START) return new Uint8Array(0);
    return Buffer.from(defined(this.#words[token - WORDS_START], 'word'), 'latin1');
  }

  controlText(token: number): string {
    return defined(CONTROL_TEXT.get(token), `control token ${token}`);
  }

  /** Lone surrogates become U+FFFD, as in any conversion to UTF-8. */
  tokenize(text: string, options: { addSpecial: boolean; parseSpecial: boolean }): Int32Array {
    const ids: number[] = options.addSpecial ? [CONTROL.bos] : [];
    if (options.parseSpecial) {
      for (const part of text.split(/(<\|(?:bos|eos|im_start|im_end)\|>)/)) {
        const control = [...CONTROL_TEXT].find(([, name]) => name === part);
        if (control) ids.push(control[0]);
        else this.#pushPlain(part, ids);
      }
    } else {
      this.#pushPlain(text, ids);
    }
    return Int32Array.from(ids);
  }

  #pushPlain(text: string, ids: number[]): void {
    const bytes = Buffer.from(text, 'utf8');
    let at = 0;
    while (at < bytes.length) {
      const end = isSpace(bytes[at]) ? endOfWord(bytes, at + 1) : at;
      const word = end > at + 1 ? this.#ids.get(bytes.toString('latin1', at, end)) : undefined;
      ids.push(word ?? defined(bytes[at], 'byte'));
      at = word === undefined ? at + 1 : end;
    }
  }
}

/** Where the run of lower-case letters ends; `from` itself when the run is too long for a word. */
function endOfWord(bytes: Buffer, from: number): number {
  let end = from;
  while (isLower(bytes[end])) {
    end += 1;
    if (end - from > WORD_BYTES_MAX) return from;
  }
  return end;
}
