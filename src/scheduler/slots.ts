/**
 * The ledger of a cache that is split: one slot of cells for each running sequence, none shared.
 * A prefix that another slot holds is copied. An ended sequence's cells stay in its slot until a
 * newcomer takes it, so a conversation that goes on finds its history there.
 *
 *   slot 0  [ running: computed so far ........ | free ]
 *   slot 1  [ ended: its tokens are cached .. | free   ]   ── copy of a prefix ──► slot 2
 *   slot 2  [ running ............. | free             ]
 *
 * free + cached + held = cells, with a copy counted as often as it exists. A running sequence has
 * its whole context for itself, so there is no shortage and nothing is evicted for one.
 */
import { assert, defined } from '../base/assert.ts';
import { type AdmissionTerms, type CellBook, type CellCount, CellLedger } from './cells.ts';
import type { CacheOp, SeqId } from './plan.ts';
import { commonPrefix, type Sequence } from './sequence.ts';

interface Slot {
  readonly seq: SeqId;
  /** Who runs in it; its cells are then the owner's computed tokens. */
  owner: Sequence | null;
  /** What the cells hold of a sequence that has ended. */
  tokens: Int32Array;
  /** Logical time of last use. */
  usedAt: number;
}

/** Copying a slot costs a pass over all of it: a shorter prefix is computed again (an estimate). */
const COPY_TOKENS_MIN = 32;
/** A slot is continued in place when at least this share of what it holds is wanted. */
const CONTINUE_SHARE = 0.8;

const NOTHING = new Int32Array(0);

/** The ledger of the engine's layout; shared cells where none is named. */
export function openCellBook(options: {
  readonly layout?: 'shared' | 'slots';
  readonly cells: number;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly seqsMax: number;
}): CellBook {
  const { layout, cells, contextTokens, parallel, seqsMax } = options;
  if (layout !== 'slots') return new CellLedger(cells, seqsMax);
  const needed = contextTokens * parallel;
  assert(cells >= needed, `${cells} cells, ${needed} needed for ${parallel} slots`);
  return new SlotLedger(parallel, contextTokens);
}

class SlotLedger implements CellBook {
  readonly #slots: readonly Slot[];
  readonly #slotCells: number;
  #ops: CacheOp[] = [];
  #clock = 0;

  constructor(slots: number, slotCells: number) {
    this.#slotCells = slotCells;
    this.#slots = Array.from({ length: slots }, (_, seq) => {
      return { seq, owner: null, tokens: NOTHING, usedAt: 0 };
    });
  }

  get hasOps(): boolean {
    return this.#ops.length > 0;
  }

  takeOps(): CacheOp[] {
    const ops = this.#ops;
    this.#ops = [];
    return ops;
  }

  count(): CellCount {
    let [held, cached] = [0, 0];
    for (const slot of this.#slots) {
      if (slot.owner === null) cached += slot.tokens.length;
      else held += slot.owner.computed;
    }
    const total = this.#slots.length * this.#slotCells;
    return { total, free: total - held - cached, cached, held };
  }

  publishedOf(s: Sequence): number {
    return Math.min(s.computed, s.promptLength);
  }

  admit(s: Sequence, { shareable }: AdmissionTerms): boolean {
    const idle = this.#slots.filter((slot) => slot.owner === null);
    if (idle.length === 0) return false;
    this.#clock += 1;
    const source = shareable ? this.#longest(s) : null;
    const continued = source !== null && continues(source) ? source : null;
    const target = continued?.slot ?? leastUsed(idle, source?.slot ?? null);
    // What the slot itself holds costs nothing. The only idle one may be the one that holds the
    // prefix: it is continued whatever is lost.
    const own = shareable ? sourceIn(target, s) : null;
    const from = target !== source?.slot && copies(source) ? source : own;
    const length = from?.length ?? 0;
    this.#fill(target, from, length);
    target.owner = s;
    target.tokens = NOTHING;
    target.usedAt = this.#clock;
    s.seq = target.seq;
    s.computed = length;
    return true;
  }

  publish(): void {
    // Cells are shareable as soon as they are computed.
  }

  retire(s: Sequence, keep: boolean): void {
    const slot = this.#slotOf(s);
    this.#clock += 1;
    slot.owner = null;
    slot.usedAt = this.#clock;
    slot.tokens = keep ? s.tokens.slice(0, s.computed) : NOTHING;
    if (!keep && s.computed > 0) this.#ops.push({ op: 'truncate', seq: slot.seq, keep: 0 });
    s.seq = null;
    s.computed = 0;
  }

  /** A sequence never outgrows its slot: the scheduler ends it with its context. */
  makeRoom(count: number): number {
    return count;
  }

  evictAll(): boolean {
    const cached = this.#slots.filter((slot) => slot.tokens.length > 0);
    for (const slot of cached) {
      slot.tokens = NOTHING;
      this.#ops.push({ op: 'truncate', seq: slot.seq, keep: 0 });
    }
    return cached.length > 0;
  }

  check(list: readonly Sequence[]): void {
    const owners = this.#slots.filter((slot) => slot.owner !== null);
    assert(owners.length === list.length, `slots: ${owners.length} owners of ${list.length}`);
    for (const s of list) {
      const slot = this.#slotOf(s);
      assert(slot.tokens.length === 0, `slot ${slot.seq} is cached and runs`);
      assert(s.computed <= this.#slotCells, `slot ${slot.seq} holds ${s.computed} cells`);
    }
    const { free, cached, held } = this.count();
    assert(free >= 0 && cached >= 0 && held >= 0, `slots: ${free} free`);
  }

  /** The operations that make the target begin with `length` tokens of the source, and no more. */
  #fill(target: Slot, source: Source | null, length: number): void {
    const { seq } = target;
    const isCopy = source !== null && source.slot !== target && length > 0;
    const keep = isCopy ? 0 : length;
    if (target.tokens.length > keep) this.#ops.push({ op: 'truncate', seq, keep });
    if (isCopy) this.#ops.push({ op: 'share', from: source.slot.seq, to: seq, count: length });
  }

  /** The slot with the longest common prefix; of equals an idle one, which may be continued. */
  #longest(s: Sequence): Source | null {
    const sources = this.#slots.map((slot) => sourceIn(slot, s));
    const rank = ({ slot, length }: Source): number => 2 * length + (slot.owner === null ? 1 : 0);
    const best = sources.reduce((a, b) => (rank(b) > rank(a) ? b : a));
    return best.length > 0 ? best : null;
  }

  #slotOf(s: Sequence): Slot {
    const slot = defined(this.#slots[defined(s.seq, 'slot of a running sequence')], 'slot');
    assert(slot.owner === s, `slot ${slot.seq} belongs to another than ${s.key}`);
    return slot;
  }
}

/** Where a prefix lies: `length` of the `held` tokens in the slot. */
interface Source {
  readonly slot: Slot;
  readonly length: number;
  readonly held: number;
}

/** What a slot holds of a sequence: one token at least is left to compute. */
function sourceIn(slot: Slot, s: Sequence): Source {
  const held = heldBy(slot);
  const length = commonPrefix(held, s.tokens.subarray(0, s.total - 1));
  return { slot, length, held: held.length };
}

const continues = ({ slot, length, held }: Source): boolean =>
  slot.owner === null && length >= CONTINUE_SHARE * held;

const copies = (source: Source | null): boolean => (source?.length ?? 0) >= COPY_TOKENS_MIN;

const heldBy = ({ owner, tokens }: Slot): Int32Array =>
  owner === null ? tokens : owner.tokens.subarray(0, owner.computed);

/** Empty slots first, then the least recently used; the one to copy from only if it must be. */
function leastUsed(idle: readonly Slot[], source: Slot | null): Slot {
  const others = idle.filter((slot) => slot !== source);
  const list = others.length > 0 ? others : idle;
  return list.reduce((best, slot) => {
    const [a, b] = [slot.tokens.length === 0, best.tokens.length === 0];
    return a !== b ? (a ? slot : best) : !a && slot.usedAt < best.usedAt ? slot : best;
  });
}
