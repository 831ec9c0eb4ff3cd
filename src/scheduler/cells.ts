/**
 * The ledger of KV cells and sequence ids: free + cached + held = cells. Shared cells live in the
 * prefix tree; a running sequence's newest cells are private to it until they are published. Every
 * change leaves the cache operation that makes the engine follow.
 */
import { assert, defined } from '../base/assert.ts';
import type { CacheOp, SeqId } from './plan.ts';
import { endOf, PrefixIndex } from './prefix-index.ts';
import type { Sequence } from './sequence.ts';

export interface CellCount {
  readonly total: number;
  readonly free: number;
  /** Could be evicted at once: only ended sequences hold them. */
  readonly cached: number;
  /** Running sequences hold them. */
  readonly held: number;
}

export interface AdmissionTerms {
  readonly shareable: boolean;
  /** Cells that those that already run are still going to need. */
  readonly headroom: number;
  readonly running: readonly Sequence[];
}

/** What the scheduler needs of a ledger of cells: this one, or slots.ts for a split cache. */
export interface CellBook {
  /** Operations that the engine has not been given yet. */
  readonly hasOps: boolean;
  takeOps(): CacheOp[];
  count(running: readonly Sequence[]): CellCount;
  /** How much of a running sequence others can share already. */
  publishedOf(s: Sequence): number;
  /**
   * Gives a waiting sequence an id and the cells of its cached prefix, if the rest of it would fit
   * beside those that run; otherwise changes nothing and returns false.
   */
  admit(s: Sequence, terms: AdmissionTerms): boolean;
  /** Private cells up to `to` become shareable. */
  publish(s: Sequence, to: number): void;
  /** The sequence runs no longer: what it computed stays as cache if `keep`, and its id goes. */
  retire(s: Sequence, keep: boolean): void;
  /**
   * How many of `count` cells can be had beside `reserved` ones that the step under way has taken,
   * evicting cached cells as needed.
   */
  makeRoom(count: number, reserved: number, list: readonly Sequence[]): number;
  /** Drops all that is only cached; false when nothing was. */
  evictAll(): boolean;
  /** Throws AssertionError when the counts contradict each other. */
  check(list: readonly Sequence[]): void;
}

export class CellLedger implements CellBook {
  readonly #cells: number;
  readonly #seqsMax: number;
  readonly #index = new PrefixIndex();
  readonly #freeSeqs: SeqId[] = [];
  #ops: CacheOp[] = [];

  constructor(cells: number, seqsMax: number) {
    this.#cells = cells;
    this.#seqsMax = seqsMax;
    for (let seq = seqsMax - 1; seq >= 0; seq--) this.#freeSeqs.push(seq);
  }

  get hasOps(): boolean {
    return this.#ops.length > 0;
  }

  takeOps(): CacheOp[] {
    const ops = this.#ops;
    this.#ops = [];
    return ops;
  }

  count(running: readonly Sequence[]): CellCount {
    const free = this.#free(running);
    const cached = this.#index.cachedCells;
    return { total: this.#cells, free, cached, held: this.#cells - free - cached };
  }

  publishedOf(s: Sequence): number {
    return s.end === null ? 0 : endOf(s.end);
  }

  admit(s: Sequence, terms: AdmissionTerms): boolean {
    const limit = terms.shareable ? s.total - 1 : 0;
    const match = this.#index.match(s.tokens, limit);
    const needed = s.total - match.length + terms.headroom;
    const available = this.#free(terms.running) + this.#index.cachedCells - match.cached;
    if (terms.running.length > 0 && needed > available) return false;
    const seq = this.#takeSeq();
    // Making room for the id may have evicted a part of the match.
    const { length, source } = this.#index.match(s.tokens, limit);
    s.seq = seq;
    s.end = this.#index.attach(seq, s.tokens, length);
    s.computed = length;
    if (source !== null) this.#ops.push({ op: 'share', from: source, to: seq, count: length });
    return true;
  }

  publish(s: Sequence, to: number): void {
    const { seq, end } = running(s);
    s.end = this.#index.publish(seq, end, s.tokens, Math.min(s.computed, to));
  }

  retire(s: Sequence, keep: boolean): void {
    if (keep) this.publish(s, s.computed);
    const { seq, end } = running(s);
    if (s.computed > endOf(end)) this.#ops.push({ op: 'truncate', seq, keep: endOf(end) });
    this.#ops.push(...this.#index.retire(seq, end));
    this.#reclaim();
    s.seq = null;
    s.end = null;
    s.computed = 0;
  }

  makeRoom(count: number, reserved: number, list: readonly Sequence[]): number {
    const short = count + reserved - this.#free(list);
    if (short > 0) this.#evict(short);
    return Math.max(0, Math.min(count, this.#free(list) - reserved));
  }

  evictAll(): boolean {
    const cached = this.#index.cachedCells;
    if (cached > 0) this.#evict(cached);
    return cached > 0;
  }

  check(list: readonly Sequence[]): void {
    this.#index.check();
    const count = this.count(list);
    assert(count.free >= 0 && count.held >= 0, `cells: ${JSON.stringify(count)}`);
    const ids = this.#freeSeqs.length + list.length + this.#index.retainedCount;
    assert(ids === this.#seqsMax, `sequence ids: ${ids} of ${this.#seqsMax} accounted for`);
    for (const s of list) {
      const { seq, end } = running(s);
      assert(s.privateCells >= 0, `sequence ${s.key} has ${s.privateCells} private cells`);
      assert(end.parent === null || end.holders.has(seq), `sequence ${s.key} lost its path`);
    }
  }

  #free(list: readonly Sequence[]): number {
    let free = this.#cells - this.#index.cells;
    for (const s of list) free -= s.privateCells;
    return free;
  }

  #evict(count: number): void {
    this.#ops.push(...this.#index.evictCells(count));
    this.#reclaim();
  }

  #takeSeq(): SeqId {
    if (this.#freeSeqs.length === 0) {
      this.#ops.push(...this.#index.evictSeq());
      this.#reclaim();
    }
    return defined(this.#freeSeqs.pop(), 'a free sequence id');
  }

  #reclaim(): void {
    this.#freeSeqs.push(...this.#index.takeReleased());
  }
}

function running(s: Sequence): { seq: SeqId; end: NonNullable<Sequence['end']> } {
  return { seq: defined(s.seq, 'sequence id'), end: defined(s.end, 'end in the tree') };
}
