/**
 * The simulated KV cache: which token lies at which position of which sequence, in cells with
 * reference counts. It asserts what a real cache silently corrupts: a slice that does not start
 * where its sequence ends, a share of a prefix that is not there, a share onto a used sequence.
 */
import { assert, defined } from '../../base/assert.ts';
import { mix } from './hash.ts';

export class SimCells {
  readonly #token: Int32Array;
  /** Hash of every token from the sequence's start to this cell: what the cell "attended to". */
  readonly #hash: Int32Array;
  readonly #refs: Int32Array;
  readonly #free: number[] = [];
  readonly #seqs: number[][];
  readonly #hashSeed: number;

  constructor(options: { cells: number; seqsMax: number; seed: number }) {
    this.#token = new Int32Array(options.cells);
    this.#hash = new Int32Array(options.cells);
    this.#refs = new Int32Array(options.cells);
    for (let cell = options.cells - 1; cell >= 0; cell--) this.#free.push(cell);
    this.#seqs = Array.from({ length: options.seqsMax }, () => []);
    this.#hashSeed = mix(0x5bd1e995, options.seed);
  }

  get freeCells(): number {
    return this.#free.length;
  }

  get usedCells(): number {
    return this.#token.length - this.#free.length;
  }

  lengthOf(seq: number): number {
    return this.#seq(seq).length;
  }

  /** The tokens of a sequence, for tests and for messages. */
  tokensOf(seq: number): number[] {
    return this.#seq(seq).map((cell) => this.#at(this.#token, cell));
  }

  share(from: number, to: number, count: number): void {
    const source = this.#seq(from);
    const target = this.#seq(to);
    assert(from !== to, `share of sequence ${from} onto itself`);
    assert(target.length === 0, `share onto sequence ${to}, which holds ${target.length} cells`);
    assert(
      count >= 1 && count <= source.length,
      `share of ${count} cells of sequence ${from}, which holds ${source.length}`,
    );
    for (let i = 0; i < count; i++) {
      const cell = defined(source[i], 'cell');
      this.#refs[cell] = this.#at(this.#refs, cell) + 1;
      target.push(cell);
    }
  }

  truncate(seq: number, keep: number): void {
    const cells = this.#seq(seq);
    assert(
      keep >= 0 && keep <= cells.length,
      `truncate of sequence ${seq} to ${keep} cells; it holds ${cells.length}`,
    );
    while (cells.length > keep) {
      const cell = defined(cells.pop(), 'cell');
      const refs = this.#at(this.#refs, cell) - 1;
      assert(refs >= 0, `cell ${cell} released more often than taken`);
      this.#refs[cell] = refs;
      if (refs === 0) this.#free.push(cell);
    }
  }

  /** Puts a token at the end of a sequence. The caller has checked that a cell is free. */
  append(seq: number, token: number): void {
    const cells = this.#seq(seq);
    const cell = defined(this.#free.pop(), 'free cell');
    this.#token[cell] = token;
    this.#hash[cell] = mix(this.contextHash(seq), token);
    this.#refs[cell] = 1;
    cells.push(cell);
  }

  /** Hash of all tokens of the sequence, in order. */
  contextHash(seq: number): number {
    const last = this.#seq(seq).at(-1);
    return last === undefined ? this.#hashSeed : this.#at(this.#hash, last);
  }

  /** The last `count` tokens or fewer. */
  tail(seq: number, count: number): number[] {
    return this.#seq(seq)
      .slice(-count)
      .map((cell) => this.#at(this.#token, cell));
  }

  #seq(seq: number): number[] {
    const cells = this.#seqs[seq];
    assert(cells !== undefined, `sequence ${seq} of ${this.#seqs.length}`);
    return cells;
  }

  #at(array: Int32Array, cell: number): number {
    return defined(array[cell], 'cell');
  }
}
