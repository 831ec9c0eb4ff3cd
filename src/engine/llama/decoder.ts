/**
 * The context at work: applies cache operations, fills the batch, decodes it on another thread and
 * gives the rows of logits. It knows sequences and positions, not requests.
 */
import { assert, defined } from '../../base/assert.ts';
import type { CacheOp, Slice } from '../../scheduler/plan.ts';
import { TokenBatch } from './batch.ts';
import type { Pointer } from './binding.ts';
import { engineFailed, type NativeModel } from './load.ts';
import { callAsync, view } from './memory.ts';

/** llama_decode: no slot in the cache was found; the memory is as before the call. */
const NO_SLOT = 1;

export class Decoder {
  readonly outputsMax: number;
  readonly stepTokensMax: number;
  readonly #native: NativeModel;
  readonly #vocabSize: number;
  readonly #gpu: boolean;
  readonly #batch: TokenBatch;
  #outputs = 0;
  #base: Pointer = 0n;
  #rows: ArrayBuffer = new ArrayBuffer(0);

  constructor(native: NativeModel, { vocabSize, gpu }: { vocabSize: number; gpu: boolean }) {
    this.#native = native;
    this.#vocabSize = vocabSize;
    this.#gpu = gpu;
    this.outputsMax = native.outputsMax;
    this.stepTokensMax = native.stepTokensMax;
    this.#batch = new TokenBatch(native.stepTokensMax);
  }

  apply(op: CacheOp): void {
    const { memory, seqsMax, prefixSharing, library } = this.#native;
    const known = (seq: number): void => assert(seq >= 0 && seq < seqsMax, `sequence ${seq}`);
    if (op.op === 'share') {
      known(op.from);
      known(op.to);
      assert(prefixSharing !== 'none', 'share with a model whose memory is not cells');
      assert(this.lengthOf(op.to) === 0, `share onto sequence ${op.to}, which holds cells`);
      assert(op.count <= this.lengthOf(op.from), `share of ${op.count} cells of ${op.from}`);
      if (prefixSharing === 'cells') {
        library.binding.memoryShare(memory, op.from, op.to, 0, op.count);
      } else {
        // Between buffers the library copies whole ones only, when the next decode begins.
        library.binding.memoryShare(memory, op.from, op.to, -1, -1);
        this.#remove(op.to, op.count);
      }
    } else {
      known(op.seq);
      this.#remove(op.seq, op.keep);
    }
  }

  /** Cells of a sequence: its last position + 1. */
  lengthOf(seq: number): number {
    // The library ends the process when it is asked about a sequence that it does not have.
    assert(seq >= 0 && seq < this.#native.seqsMax, `sequence ${seq} of ${this.#native.seqsMax}`);
    return this.#native.library.binding.memoryLast(this.#native.memory, seq) + 1;
  }

  clear(): void {
    this.#batch.clear();
    this.#outputs = 0;
  }

  /**
   * Adds tokens [from, to) of a slice. `output` says which of them give a row of logits; rows come
   * in the order in which they were added.
   */
  add(slice: Slice, range: { from: number; to: number }, output: 'none' | 'last' | 'all'): void {
    for (let i = range.from; i < range.to; i++) {
      const wanted = output === 'all' || (output === 'last' && i === range.to - 1);
      if (wanted) this.#outputs += 1;
      const token = defined(slice.tokens[i], 'token of a slice');
      assert(token >= 0 && token < this.#vocabSize, `token ${token} of ${this.#vocabSize}`);
      this.#batch.add({ token, pos: slice.start + i, seq: slice.seq, output: wanted });
    }
  }

  /** Rejects with PlenumError `engine_failed`, which quotes the library. */
  async decode(): Promise<'done' | 'no_cells'> {
    const { library, context } = this.#native;
    const { binding } = library;
    assert(this.#outputs <= this.outputsMax, `${this.#outputs} rows of logits`);
    const code = await callAsync(binding.decode, context, this.#batch.native);
    if (code === NO_SLOT) return 'no_cells';
    if (code !== 0) throw engineFailed(library.log, `llama_decode returned ${code}`);
    // A GPU computes on after the call has returned; whoever asks for the logits would block here.
    if (this.#gpu) await callAsync(binding.synchronize, context);
    if (this.#outputs > 0) this.#mapRows();
    return 'done';
  }

  /** Logits of the n-th token that was added with an output; valid until the next decode. */
  row(n: number): Float32Array {
    const bytes = this.#vocabSize * Float32Array.BYTES_PER_ELEMENT;
    return new Float32Array(this.#rows, n * bytes, this.#vocabSize);
  }

  /** Takes back what was computed of these slices, so that the cache is as before them. */
  undo(slices: readonly Slice[]): void {
    for (const { seq, start } of slices) if (this.lengthOf(seq) > start) this.#remove(seq, start);
  }

  /** Decodes one token alone and forgets it: the proof of a fresh context, and its warm-up. */
  async decodeOne(token: number): Promise<Float32Array> {
    this.clear();
    const slice: Slice = {
      request: 0,
      seq: 0,
      start: 0,
      tokens: Int32Array.of(token),
      output: 'last',
    };
    this.add(slice, { from: 0, to: 1 }, 'last');
    const result = await this.decode();
    assert(result === 'done', 'an empty cache has no cell for one token');
    const row = this.row(0).slice();
    this.#native.library.binding.memoryClear(this.#native.memory, false);
    return row;
  }

  free(): void {
    this.#batch.free();
  }

  #remove(seq: number, keep: number): void {
    const { memory, library } = this.#native;
    if (library.binding.memoryRemove(memory, seq, keep, -1)) return;
    throw engineFailed(library.log, `sequence ${seq} cannot be cut to ${keep} cells`);
  }

  /** The library reallocates its rows when it needs more; a view is made once per address. */
  #mapRows(): void {
    const base = this.#native.library.binding.logits(this.#native.context);
    assert(base !== null, 'a decode with outputs has logits');
    const bytes = this.#outputs * this.#vocabSize * Float32Array.BYTES_PER_ELEMENT;
    if (base === this.#base && bytes <= this.#rows.byteLength) return;
    this.#rows = view(base, bytes);
    this.#base = base;
  }
}
