/**
 * The arrays of llama_batch, allocated once and written through typed arrays over the native
 * memory, so that a step marshals one struct of pointers whatever its size. One block:
 *
 *   | seq_id*  8n | token 4n | pos 4n | n_seq_id 4n (all 1) | seq 4n | logits n |
 *        each seq_id[i] points to seq[i]
 */
import { assert } from '../../base/assert.ts';
import type { Batch, Pointer } from './binding.ts';
import { allocate, release, view } from './memory.ts';

const BYTES_PER_TOKEN = 8 + 4 * 4 + 1;

export class TokenBatch {
  readonly capacity: number;
  readonly #block: Pointer;
  readonly #token: Int32Array;
  readonly #pos: Int32Array;
  readonly #seq: Int32Array;
  readonly #logits: Int8Array;
  readonly #native: Batch;

  constructor(capacity: number) {
    const n = capacity;
    this.capacity = n;
    this.#block = allocate(n * BYTES_PER_TOKEN);
    const memory = view(this.#block, n * BYTES_PER_TOKEN);
    const at = { token: 8 * n, pos: 12 * n, count: 16 * n, seq: 20 * n, logits: 24 * n };
    this.#token = new Int32Array(memory, at.token, n);
    this.#pos = new Int32Array(memory, at.pos, n);
    this.#seq = new Int32Array(memory, at.seq, n);
    this.#logits = new Int8Array(memory, at.logits, n);
    new Int32Array(memory, at.count, n).fill(1);
    const pointers = new BigUint64Array(memory, 0, n);
    for (let i = 0; i < n; i++) pointers[i] = this.#address(at.seq + 4 * i);
    this.#native = {
      n_tokens: 0,
      token: this.#address(at.token),
      embd: null,
      pos: this.#address(at.pos),
      n_seq_id: this.#address(at.count),
      seq_id: this.#block,
      logits: this.#address(at.logits),
    };
  }

  get length(): number {
    return this.#native.n_tokens;
  }

  /** For llama_decode; valid until the next change. */
  get native(): Batch {
    return this.#native;
  }

  clear(): void {
    this.#native.n_tokens = 0;
  }

  /** Appends a token; its index in the batch is the former length. */
  add(entry: { token: number; pos: number; seq: number; output: boolean }): void {
    const i = this.#native.n_tokens;
    assert(i < this.capacity, `batch of more than ${this.capacity} tokens`);
    this.#token[i] = entry.token;
    this.#pos[i] = entry.pos;
    this.#seq[i] = entry.seq;
    this.#logits[i] = entry.output ? 1 : 0;
    this.#native.n_tokens = i + 1;
  }

  free(): void {
    release(this.#block);
  }

  #address(offset: number): Pointer {
    return this.#block + BigInt(offset);
  }
}
