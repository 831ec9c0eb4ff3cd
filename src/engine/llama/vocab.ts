/**
 * The model's vocabulary: text to tokens, tokens to bytes from a compact cache, and which tokens
 * end a generation.
 */
import { assert } from '../../base/assert.ts';
import type { TokenizeOptions } from '../port.ts';
import { type Binding, type Pointer, TOKEN_WHOLE, VOCAB_BPE } from './binding.ts';
import { allocate, readInt32s, release, view } from './memory.ts';
import { cutLongRuns, hasLongRun } from './runs.ts';
import { Tokenizer } from './tokenizer.ts';

export class Vocab {
  readonly size: number;
  readonly bosText: string;
  readonly eosText: string;
  readonly endOfGeneration: ReadonlySet<number>;
  readonly suppressed: readonly number[];
  readonly firstToken: number;
  readonly #binding: Binding;
  readonly #vocab: Pointer;
  readonly #pieces: PieceCache;
  readonly #tokenizer: Tokenizer;
  readonly #bos: number;
  #whole: readonly string[] | null = null;

  constructor(binding: Binding, vocab: Pointer) {
    this.#binding = binding;
    this.#vocab = vocab;
    this.#tokenizer = new Tokenizer(binding, vocab);
    this.size = binding.vocabSize(vocab);
    const bos = binding.vocabBos(vocab);
    this.#bos = bos;
    const eos = binding.vocabEos(vocab);
    const text = (token: number): string => {
      return token < 0 ? '' : (binding.vocabText(vocab, token) ?? '');
    };
    this.bosText = text(bos);
    this.eosText = text(eos);
    this.firstToken = Math.max(0, bos);
    const ends = new Set<number>();
    for (let token = 0; token < this.size; token++) {
      if (binding.vocabIsEog(vocab, token)) ends.add(token);
    }
    this.endOfGeneration = ends;
    this.suppressed = suppressedTokens(binding, vocab);
    this.#pieces = new PieceCache(this.size, (token, memory, bytes) =>
      binding.tokenToPiece(vocab, token, memory, bytes, 0, false),
    );
  }

  bytesOf(token: number): Uint8Array {
    assert(token >= 0 && token < this.size, `token ${token} of ${this.size}`);
    return this.#pieces.bytesOf(token);
  }

  /**
   * Any text of any length, NUL included; lone surrogates become U+FFFD. Rejects with
   * `engine_failed` when the library cannot count the tokens.
   */
  async tokenize(text: string, options: TokenizeOptions): Promise<Int32Array> {
    const regular = this.#binding.vocabType(this.#vocab) === VOCAB_BPE;
    if (!(regular && hasLongRun(text))) return this.#tokenizer.tokenize(text, options);
    const { addSpecial, parseSpecial } = options;
    const lists: Int32Array[] = [];
    for (const part of cutLongRuns(text, parseSpecial ? this.#wholeTokens() : [])) {
      lists.push(await this.#tokenizer.tokenize(part, { addSpecial: false, parseSpecial }));
    }
    // What goes around any text: a first token, a last one, both or none.
    const around = addSpecial ? await this.#tokenizer.tokenize('', options) : new Int32Array(0);
    const before = around[0] === this.#bos ? 1 : 0;
    return concat([around.subarray(0, before), ...lists, around.subarray(before)]);
  }

  /** The texts of the tokens that are found whole wherever they stand. */
  #wholeTokens(): readonly string[] {
    this.#whole ??= Array.from({ length: this.size }, (_, token) => token)
      .filter((token) => (this.#binding.vocabAttributes(this.#vocab, token) & TOKEN_WHOLE) !== 0)
      .map((token) => this.#binding.vocabText(this.#vocab, token) ?? '')
      .filter((text) => text !== '');
    return this.#whole;
  }

  free(): void {
    this.#pieces.free();
  }
}

function concat(lists: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}

function suppressedTokens(binding: Binding, vocab: Pointer): number[] {
  const count: [number | bigint | null] = [null];
  const tokens = binding.vocabSuppressed(vocab, count);
  return tokens === null ? [] : [...readInt32s(tokens, Number(count[0] ?? 0))];
}

type ReadPiece = (token: number, memory: Pointer, bytes: number) => number;

/**
 * Pieces side by side in one growing array, found by offset: 8 bytes per token of the vocabulary
 * and the bytes of the pieces that were asked for, at most the vocabulary's own text.
 */
class PieceCache {
  readonly #read: ReadPiece;
  /** Offset of the piece + 1; 0 = not yet read. */
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  #arena = new Uint8Array(4096);
  #used = 0;
  #scratch: Pointer;
  #scratchBytes = 64;

  constructor(size: number, read: ReadPiece) {
    this.#read = read;
    this.#starts = new Uint32Array(size);
    this.#ends = new Uint32Array(size);
    this.#scratch = allocate(this.#scratchBytes);
  }

  bytesOf(token: number): Uint8Array {
    if (this.#starts[token] === 0) this.#load(token);
    const start = (this.#starts[token] ?? 1) - 1;
    return this.#arena.subarray(start, this.#ends[token]);
  }

  free(): void {
    release(this.#scratch);
  }

  #load(token: number): void {
    let length = this.#read(token, this.#scratch, this.#scratchBytes);
    if (length < 0) {
      release(this.#scratch);
      this.#scratchBytes = -length;
      this.#scratch = allocate(this.#scratchBytes);
      length = this.#read(token, this.#scratch, this.#scratchBytes);
    }
    assert(length >= 0, `piece of token ${token}`);
    this.#grow(this.#used + length);
    if (length > 0) {
      this.#arena.set(new Uint8Array(view(this.#scratch, length)), this.#used);
    }
    this.#starts[token] = this.#used + 1;
    this.#used += length;
    this.#ends[token] = this.#used;
  }

  #grow(bytes: number): void {
    if (bytes <= this.#arena.length) return;
    const larger = new Uint8Array(Math.max(bytes, this.#arena.length * 2));
    larger.set(this.#arena);
    this.#arena = larger;
  }
}
