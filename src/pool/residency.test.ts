/** Residency, case by case; what holds in any order of events is in residency.property.test.ts. */
import { describe, expect, it } from 'vitest';
import { explainFit, type Floors, NO_FLOORS } from './ledger.ts';
import { type Declaration, Residency } from './residency.ts';

type Sketch = Partial<Omit<Declaration, 'model' | 'items'>> & { readonly bytes: number };

/** A pool of 100 bytes. Models are declared in the order given and used in that order. */
function pool(models: Readonly<Record<string, Sketch>>, floors: Partial<Floors> = {}): Residency {
  const residency = new Residency(100, { ...NO_FLOORS, ...floors });
  for (const [i, [model, { bytes, ...rest }]] of Object.entries(models).entries()) {
    const half = Math.floor(bytes / 2);
    const items = [
      { name: 'weights', bytes: half, source: 'test' },
      { name: 'kv cache', bytes: bytes - half, source: 'test' },
    ];
    const defaults = { class: 'chat', pinned: false, priority: 0, ttlMs: null } as const;
    residency.declare({ model, items, ...defaults, ...rest }, i);
  }
  return residency;
}

function bring(residency: Residency, ...models: string[]): void {
  for (const [i, model] of models.entries()) {
    expect(residency.want(model, i).actions).toEqual([{ kind: 'load', model }]);
    residency.loaded(model, i);
  }
}

const load = (model: string) => ({ kind: 'load', model });
const unload = (model: string) => ({ kind: 'unload', model });

describe('room for a newcomer', () => {
  it('that is free is taken at once', () => {
    const r = pool({ a: { bytes: 60 } });
    expect(r.want('a', 1)).toEqual({ wish: { kind: 'coming', leaving: [] }, actions: [load('a')] });
    expect(r.want('a', 1)).toEqual({ wish: { kind: 'coming', leaving: [] }, actions: [] });
    r.loaded('a', 2);
    expect(r.want('a', 3)).toEqual({ wish: { kind: 'resident' }, actions: [] });
    expect(r.ledger.reservedBytes).toBe(60);
  });

  it('is loaded only after the bytes of the one that leaves are back', () => {
    const r = pool({ a: { bytes: 60 }, b: { bytes: 70 } });
    bring(r, 'a');
    expect(r.want('b', 1)).toEqual({
      wish: { kind: 'coming', leaving: ['a'] },
      actions: [unload('a')],
    });
    expect(r.stateOf('b')).toBe('unloaded');
    expect(r.ledger.reservedBytes).toBe(60);
    expect(r.gone('a')).toEqual([load('b')]);
    expect(r.stateOf('b')).toBe('loading');
  });

  it('is made by the least recently used', () => {
    const r = pool({ a: { bytes: 30 }, b: { bytes: 30 }, c: { bytes: 30 }, d: { bytes: 30 } });
    bring(r, 'a', 'b', 'c');
    r.release(r.acquire('a', 10), 11);
    expect(r.want('d', 12).actions).toEqual([unload('b')]);
  });

  it('is made by a lower priority before a less recent use', () => {
    const r = pool({
      a: { bytes: 50, priority: 1 },
      b: { bytes: 50 },
      c: { bytes: 40, priority: 1 },
    });
    bring(r, 'a', 'b');
    expect(r.want('c', 12).actions).toEqual([unload('b')]);
  });

  it('costs no model whose leaving is not needed, the most valuable spared first', () => {
    const r = pool({ a: { bytes: 30 }, b: { bytes: 20 }, c: { bytes: 50 }, d: { bytes: 80 } });
    bring(r, 'a', 'b', 'c');
    // In turn a, b and c make 100; c with a is enough, and b is used later than a.
    expect(r.want('d', 12).actions).toEqual([unload('a'), unload('c')]);
  });

  it('is not sought in a class within its floor', () => {
    const r = pool(
      { e: { bytes: 20, class: 'embed' }, a: { bytes: 50 }, b: { bytes: 60 } },
      { embed: 30 },
    );
    bring(r, 'e', 'a');
    expect(r.want('b', 12).actions).toEqual([unload('a')]);
  });
});

describe('who is not asked to leave', () => {
  it('serves, loads, is pinned or has a higher priority: a refusal names each', () => {
    const r = pool({
      serving: { bytes: 20 },
      pinned: { bytes: 20, pinned: true },
      high: { bytes: 20, priority: 5 },
      loading: { bytes: 20 },
      idle: { bytes: 20 },
      big: { bytes: 50 },
    });
    bring(r, 'serving', 'pinned', 'high', 'idle');
    r.acquire('serving', 9);
    r.want('loading', 10);
    const { wish, actions } = r.want('big', 11);
    expect(actions).toEqual([]);
    expect(wish).toEqual({
      kind: 'refused',
      fit: {
        fits: false,
        availableBytes: 100,
        neededBytes: 50,
        ownClassBytes: 80,
        otherClasses: [],
        shortBytes: 30,
      },
      blockers: [
        { model: 'serving', bytes: 20, because: 'serving' },
        { model: 'pinned', bytes: 20, because: 'pinned' },
        { model: 'high', bytes: 20, because: 'priority' },
        { model: 'loading', bytes: 20, because: 'loading' },
      ],
    });
    expect(r.stateOf('idle')).toBe('resident');
  });

  it('a class within its floor is no blocker; the guarantee is in the sum', () => {
    const r = pool(
      { e: { bytes: 20, class: 'embed', pinned: true }, big: { bytes: 80 } },
      { embed: 30 },
    );
    bring(r, 'e');
    const { wish } = r.want('big', 1);
    if (wish.kind !== 'refused') throw new Error(wish.kind);
    expect(wish.blockers).toEqual([]);
    expect(explainFit(wish.fit, { model: 'big', class: 'chat', bytes: 80 })).toBe(
      '80 B for big + 30 B guaranteed to embed = 110 B is 10 B more than the pool of 100 B',
    );
  });

  it('a request that ends on a dead host does not hide one on the next host', () => {
    const r = pool({ a: { bytes: 60 }, b: { bytes: 60 } });
    bring(r, 'a');
    const orphan = r.acquire('a', 1);
    expect(r.gone('a')).toEqual([]);
    bring(r, 'a');
    const use = r.acquire('a', 2);
    r.release(orphan, 3);
    expect(r.view('a').inUse).toBe(1);
    expect(r.want('b', 4).wish.kind).toBe('refused');
    r.release(use, 5);
    expect(r.want('b', 6).wish.kind).toBe('coming');
    expect(() => r.release(use, 7)).toThrow('released more often than acquired');
  });
});

describe('room that was promised', () => {
  it('is not given to a later newcomer, whose refusal counts it', () => {
    const r = pool({
      old: { bytes: 60 },
      first: { bytes: 70 },
      second: { bytes: 40, priority: 9 },
    });
    bring(r, 'old');
    expect(r.want('first', 1).wish).toEqual({ kind: 'coming', leaving: ['old'] });
    const { wish } = r.want('second', 2);
    expect(wish).toMatchObject({
      kind: 'refused',
      fit: { fits: false, ownClassBytes: 70, shortBytes: 10 },
      blockers: [{ model: 'first', bytes: 70, because: 'loading' }],
    });
    expect(r.gone('old')).toEqual([load('first')]);
  });

  it('is not given back to the one that leaves for it, when that is wanted again', () => {
    const r = pool({ old: { bytes: 60, priority: 0 }, first: { bytes: 70 } });
    bring(r, 'old');
    r.want('first', 1);
    const { wish } = r.want('old', 2);
    expect(wish).toMatchObject({ kind: 'refused', fit: { ownClassBytes: 70, shortBytes: 30 } });
    expect(r.gone('old')).toEqual([load('first')]);
  });

  it('leaves the floor of another class alone: a small one comes beside it', () => {
    const r = pool(
      { old: { bytes: 70 }, first: { bytes: 60 }, e: { bytes: 30, class: 'embed' } },
      { embed: 30 },
    );
    bring(r, 'old');
    r.want('first', 1);
    expect(r.want('e', 2)).toEqual({ wish: { kind: 'coming', leaving: [] }, actions: [load('e')] });
    expect(r.gone('old')).toEqual([load('first')]);
  });

  it('goes to those who wait by priority, then by turn', () => {
    const r = pool({
      c: { bytes: 20 },
      b: { bytes: 20 },
      a: { bytes: 20, priority: 3 },
      old: { bytes: 90 },
    });
    bring(r, 'old');
    for (const model of ['b', 'c', 'a']) r.want(model, 1);
    expect(r.gone('old')).toEqual([load('a'), load('b'), load('c')]);
  });
});

describe('coming back', () => {
  it('one that leaves and is wanted again waits until it is gone', () => {
    const r = pool({ a: { bytes: 60 } });
    bring(r, 'a');
    r.evict('a');
    expect(r.want('a', 1)).toEqual({ wish: { kind: 'coming', leaving: [] }, actions: [] });
    expect(r.gone('a')).toEqual([load('a')]);
  });

  it('a host that dies frees its bytes for those who wait, and comes back when wanted', () => {
    const r = pool({ a: { bytes: 60 }, b: { bytes: 70 } });
    bring(r, 'a');
    r.want('b', 1);
    expect(r.gone('a')).toEqual([load('b')]);
    expect(r.gone('b')).toEqual([]);
    expect(r.ledger.reservedBytes).toBe(0);
    expect(r.want('b', 2).actions).toEqual([load('b')]);
  });
});

describe('leaving by itself', () => {
  it('comes a ttl after the last use, not while it serves or is pinned', () => {
    const r = pool({
      a: { bytes: 10, ttlMs: 100 },
      b: { bytes: 10, ttlMs: 100 },
      c: { bytes: 10 },
    });
    bring(r, 'a', 'b', 'c');
    const use = r.acquire('a', 50);
    r.pin('b', true);
    expect(r.tick(1000)).toEqual([]);
    r.release(use, 1000);
    r.pin('b', false);
    expect(r.tick(1099)).toEqual([unload('b')]);
    expect(r.tick(1100)).toEqual([unload('a')]);
    expect(r.tick(9999)).toEqual([]);
  });
});

describe('an operator', () => {
  it('evicts an idle model, not one that serves, loads or is pinned', () => {
    const r = pool({ a: { bytes: 10 } });
    r.want('a', 0);
    const refusal = (because: string) => ({
      refused: { model: 'a', bytes: 10, because },
      actions: [],
    });
    expect(r.evict('a')).toEqual(refusal('loading'));
    r.pin('a', true);
    expect(r.evict('a')).toEqual(refusal('pinned'));
    r.pin('a', false);
    r.loaded('a', 1);
    const use = r.acquire('a', 1);
    expect(r.evict('a')).toEqual(refusal('serving'));
    r.pin('a', true);
    expect(r.evict('a')).toEqual(refusal('pinned'));
    r.pin('a', false);
    r.release(use, 2);
    r.pin('a', true);
    expect(r.evict('a')).toEqual(refusal('pinned'));
    r.pin('a', false);
    expect(r.evict('a')).toEqual({ refused: null, actions: [unload('a')] });
    expect(r.evict('a')).toEqual({ refused: null, actions: [] });
  });

  it('takes back the wish for a model that still waits', () => {
    const r = pool({ a: { bytes: 60 }, b: { bytes: 70 } });
    bring(r, 'a');
    r.want('b', 1);
    r.evict('b');
    expect(r.gone('a')).toEqual([]);
  });
});

describe('memory pressure', () => {
  it('lets nothing in, keeps promises for later and lets models leave', () => {
    const r = pool({ a: { bytes: 60, ttlMs: 5 }, b: { bytes: 70 }, c: { bytes: 10, ttlMs: 5 } });
    bring(r, 'a', 'c');
    r.want('b', 1);
    r.pause('swap');
    expect(r.want('a', 2)).toEqual({ wish: { kind: 'paused', reason: 'swap' }, actions: [] });
    expect(r.want('c', 2).wish.kind).toBe('resident');
    expect(r.want('b', 2).wish.kind).toBe('coming');
    expect(r.tick(100)).toEqual([unload('c')]);
    expect(r.gone('a')).toEqual([]);
    expect(r.pausedBy).toBe('swap');
    expect(r.resume()).toEqual([load('b')]);
  });
});
