/** The radix tree against lists of tokens: what is matched, counted, evicted and released. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defined } from '../base/assert.ts';
import type { CacheOp, SeqId } from './plan.ts';
import { endOf, PrefixIndex, type PrefixNode } from './prefix-index.ts';

const RUNS = Number(process.env.PLENUM_RUNS ?? 2000);
const SEQS = 6;

type Action =
  | { readonly kind: 'attach'; readonly tokens: readonly number[]; readonly limit: number }
  | { readonly kind: 'publish'; readonly who: number; readonly more: readonly number[] }
  | { readonly kind: 'retire'; readonly who: number }
  | { readonly kind: 'evictCells'; readonly need: number }
  | { readonly kind: 'evictSeq' };

const letters = fc.array(fc.nat({ max: 2 }), { maxLength: 12 });
/** Long runs, so that evictions of a part happen (they take 64 cells at least). */
const run = fc.oneof(
  letters,
  fc.tuple(letters, fc.nat({ max: 200 })).map(([a, n]) => [...a, ...new Array<number>(n).fill(1)]),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant('attach' as const), tokens: run, limit: fc.nat({ max: 250 }) }),
  fc.record({ kind: fc.constant('attach' as const), tokens: run, limit: fc.constant(999) }),
  fc.record({ kind: fc.constant('publish' as const), who: fc.nat(), more: run }),
  fc.record({ kind: fc.constant('publish' as const), who: fc.nat(), more: run }),
  fc.record({ kind: fc.constant('retire' as const), who: fc.nat() }),
  fc.record({ kind: fc.constant('evictCells' as const), need: fc.integer({ min: 1, max: 300 }) }),
  fc.constant({ kind: 'evictSeq' as const }),
);

const commonLength = (a: readonly number[], b: readonly number[]): number => {
  const at = a.findIndex((token, i) => token !== b[i]);
  return at < 0 ? a.length : at;
};

interface Cell {
  readonly token: number;
}

/** Each sequence and its cells that the tree knows of; what is shared is the same object. */
class Naive {
  readonly held = new Map<SeqId, Cell[]>();
  readonly running = new Map<SeqId, PrefixNode>();
  readonly free = Array.from({ length: SEQS }, (_, i) => i);

  longest(tokens: readonly number[], limit: number): number {
    const lengths = [...this.held.keys()].map((seq) =>
      commonLength(tokens.slice(0, limit), this.tokensOf(seq)),
    );
    return Math.max(0, ...lengths);
  }

  tokensOf(seq: SeqId): number[] {
    return (this.held.get(seq) ?? []).map(({ token }) => token);
  }

  /** The cells that these sequences hold, each once. */
  cellsOf(of: (seq: SeqId) => boolean): Set<Cell> {
    return new Set([...this.held].flatMap(([seq, cells]) => (of(seq) ? cells : [])));
  }

  apply(ops: readonly CacheOp[]): void {
    for (const op of ops) {
      if (op.op !== 'truncate') throw new Error('the tree only truncates');
      const cells = defined(this.held.get(op.seq), 'held sequence');
      expect(op.keep).toBeLessThanOrEqual(cells.length);
      if (op.keep > 0) this.held.set(op.seq, cells.slice(0, op.keep));
      else this.held.delete(op.seq);
    }
  }
}

class Model {
  readonly index = new PrefixIndex();
  readonly naive = new Naive();

  do(a: Action): void {
    const { index, naive } = this;
    if (a.kind === 'attach') this.#attach(a.tokens, a.limit);
    else if (a.kind === 'publish') this.#publish(a.who, a.more);
    else if (a.kind === 'retire') this.#retire(a.who);
    else if (a.kind === 'evictCells') {
      const [before, cached] = [index.cells, index.cachedCells];
      naive.apply(index.evictCells(a.need));
      expect(before - index.cells).toBeGreaterThanOrEqual(Math.min(a.need, cached));
    } else naive.apply(index.evictSeq());
    naive.free.push(...index.takeReleased());
    this.#check();
  }

  #attach(list: readonly number[], limit: number): void {
    const { index, naive } = this;
    const tokens = Int32Array.from(list);
    const { length, source, cached } = index.match(tokens, limit);
    expect(length).toBe(naive.longest(list, limit));
    expect(source === null).toBe(length === 0);
    const shared = (source === null ? [] : (naive.held.get(source) ?? [])).slice(0, length);
    expect(shared.map(({ token }) => token)).toEqual(list.slice(0, length));
    const inUse = naive.cellsOf((seq) => naive.running.has(seq));
    expect(cached).toBe(shared.filter((cell) => !inUse.has(cell)).length);
    const seq = naive.free.pop();
    if (seq === undefined) return;
    naive.running.set(seq, index.attach(seq, tokens, length));
    naive.held.set(seq, shared);
  }

  #publish(who: number, more: readonly number[]): void {
    const { index, naive } = this;
    const picked = pick(naive.running, who);
    if (picked === null) return;
    const [seq, end] = picked;
    const own = naive.held.get(seq) ?? [];
    const tokens = [...naive.tokensOf(seq), ...more];
    const newEnd = index.publish(seq, end, Int32Array.from(tokens), tokens.length);
    const kept = endOf(newEnd) === tokens.length;
    if (!kept) {
      expect(endOf(newEnd)).toBe(own.length);
      expect(naive.longest(tokens, tokens.length)).toBe(tokens.length);
    }
    naive.running.set(seq, newEnd);
    if (kept) naive.held.set(seq, [...own, ...more.map((token) => ({ token }))]);
  }

  #retire(who: number): void {
    const picked = pick(this.naive.running, who);
    if (picked === null) return;
    const [seq, end] = picked;
    this.naive.running.delete(seq);
    this.naive.apply(this.index.retire(seq, end));
  }

  #check(): void {
    const { index, naive } = this;
    index.check();
    const all = naive.cellsOf(() => true).size;
    expect(index.cells).toBe(all);
    const inUse = naive.cellsOf((seq) => naive.running.has(seq)).size;
    expect(index.cachedCells).toBe(all - inUse);
    expect(index.retainedCount).toBe(SEQS - naive.free.length - naive.running.size);
    for (const [seq, end] of naive.running) {
      expect(endOf(end)).toBe(naive.held.get(seq)?.length);
    }
  }
}

function pick<K, V>(map: ReadonlyMap<K, V>, index: number): [K, V] | null {
  return map.size === 0 ? null : ([...map][index % map.size] ?? null);
}

test('the tree is what the lists of tokens are, after any actions', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
      const model = new Model();
      for (const a of actions) model.do(a);
      for (const seq of [...model.naive.running.keys()]) {
        model.do({ kind: 'retire', who: [...model.naive.running.keys()].indexOf(seq) });
      }
      model.do({ kind: 'evictCells', need: 1e9 });
      expect(model.index.cells).toBe(0);
      expect(model.naive.free.length).toBe(SEQS);
    }),
    { numRuns: RUNS },
  );
}, 3_600_000);

describe('eviction', () => {
  const tokens = (family: number, count: number): Int32Array =>
    Int32Array.from({ length: count }, (_, i) => family * 1000 + i);
  const cache = (index: PrefixIndex, seq: SeqId, list: Int32Array): void => {
    const end = index.attach(seq, list, index.match(list, list.length).length);
    index.retire(seq, index.publish(seq, end, list, list.length));
  };

  test('takes the least recently used first', () => {
    const index = new PrefixIndex();
    for (const seq of [1, 2, 3]) cache(index, seq, tokens(seq, 100));
    cache(index, 4, tokens(1, 100));
    expect(index.evictCells(100)).toEqual([{ op: 'truncate', seq: 2, keep: 0 }]);
    expect(index.evictCells(100)).toEqual([{ op: 'truncate', seq: 3, keep: 0 }]);
    expect(index.cells).toBe(100);
  });

  test('takes the end of a use as a use: who runs longest is cached longest', () => {
    const index = new PrefixIndex();
    const lists = [tokens(0, 100), tokens(1, 100)];
    const ends = lists.map((list, seq) =>
      index.publish(seq, index.attach(seq, list, 0), list, 100),
    );
    for (const seq of [1, 0]) index.retire(seq, defined(ends[seq], 'end'));
    expect(index.evictCells(100)).toEqual([{ op: 'truncate', seq: 1, keep: 0 }]);
  });

  test('takes a part from the end, at least 64 cells', () => {
    const index = new PrefixIndex();
    cache(index, 1, tokens(1, 200));
    expect(index.evictCells(1)).toEqual([{ op: 'truncate', seq: 1, keep: 136 }]);
    expect(index.evictCells(100)).toEqual([{ op: 'truncate', seq: 1, keep: 36 }]);
    expect(index.evictCells(1)).toEqual([{ op: 'truncate', seq: 1, keep: 0 }]);
    expect(index.evictCells(1)).toEqual([]);
  });

  test('never touches what a running sequence holds', () => {
    const index = new PrefixIndex();
    cache(index, 1, tokens(1, 100));
    index.attach(2, tokens(1, 100), 60);
    expect(index.cachedCells).toBe(40);
    index.evictCells(1e9);
    expect(index.cells).toBe(60);
    expect(index.match(tokens(1, 100), 100)).toMatchObject({ length: 60, cached: 0 });
  });

  test('twins are matched by the one that leads farther, and evicted apart', () => {
    const index = new PrefixIndex();
    const [a, b] = [tokens(1, 30), Int32Array.of(...tokens(1, 10), ...tokens(2, 90))];
    const ends = [index.attach(1, a, 0), index.attach(2, b, 0)];
    index.retire(1, index.publish(1, defined(ends[0], 'end'), a, 30));
    index.retire(2, index.publish(2, defined(ends[1], 'end'), b, 100));
    expect(index.cells).toBe(130);
    expect(index.match(a, 30)).toEqual({ length: 30, source: 1, cached: 30 });
    expect(index.match(b, 100)).toEqual({ length: 100, source: 2, cached: 100 });
    expect(index.evictCells(30)).toEqual([{ op: 'truncate', seq: 1, keep: 0 }]);
    expect(index.match(a, 30)).toEqual({ length: 10, source: 2, cached: 10 });
  });

  test('of a sequence id prefers one whose cells another holds as well', () => {
    const index = new PrefixIndex();
    const list = tokens(1, 100);
    cache(index, 1, tokens(5, 100));
    cache(index, 2, list.slice(0, 50));
    // The third extends the second's cells, so that the second's id holds nothing of its own.
    cache(index, 3, list);
    expect(index.evictSeq()).toEqual([{ op: 'truncate', seq: 2, keep: 0 }]);
    expect(index.cells).toBe(200);
    expect(index.evictSeq()).toEqual([{ op: 'truncate', seq: 1, keep: 0 }]);
    expect(index.cells).toBe(100);
  });
});
