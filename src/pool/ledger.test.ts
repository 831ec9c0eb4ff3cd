/** The byte ledger: floors, the sum that decides, and the sum in words. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';
import {
  ByteLedger,
  explainFit,
  type Floors,
  floorsProblem,
  NO_FLOORS,
  type Reservation,
} from './ledger.ts';

const GB = 1e9;
const needs = (model: string, c: ModelClass, gb: number): Reservation => ({
  model,
  class: c,
  bytes: gb * GB,
});

function ledgerWith(gb: number, floors: Partial<Floors>, ...has: Reservation[]): ByteLedger {
  const ledger = new ByteLedger(gb * GB, { ...NO_FLOORS, ...floors });
  for (const reservation of has) ledger.reserve(reservation);
  return ledger;
}

function words(ledger: ByteLedger, need: Reservation): string {
  return explainFit(ledger.fit(need), need);
}

describe('a floor', () => {
  it('is memory that other classes cannot take, used or not', () => {
    const ledger = ledgerWith(16, { embed: 4 * GB });
    expect(ledger.fit(needs('big', 'chat', 12)).fits).toBe(true);
    const tooBig = ledger.fit({ model: 'big', class: 'chat', bytes: 12 * GB + 1 });
    expect(tooBig).toMatchObject({ fits: false, shortBytes: 1, ownClassBytes: 0 });
    expect(tooBig.otherClasses).toEqual([{ class: 'embed', usedBytes: 0, floorBytes: 4 * GB }]);
  });

  it('counts once: what its class uses of it is not added to it', () => {
    const ledger = ledgerWith(16, { embed: 4 * GB }, needs('e', 'embed', 3));
    expect(ledger.fit(needs('big', 'chat', 12)).fits).toBe(true);
  });

  it('does not limit its own class, which may grow beyond it into what is free', () => {
    const ledger = ledgerWith(16, { embed: 4 * GB, guard: 2 * GB }, needs('e', 'embed', 4));
    expect(ledger.fit(needs('e2', 'embed', 10)).fits).toBe(true);
    expect(ledger.fit(needs('e2', 'embed', 11))).toMatchObject({ fits: false, shortBytes: GB });
  });

  it('of a class that is beyond it leaves to others only what is free', () => {
    const ledger = ledgerWith(16, { embed: 4 * GB }, needs('e', 'embed', 9));
    expect(ledger.fit(needs('c', 'chat', 8)).shortBytes).toBe(GB);
  });

  it('is always there for its class, whatever the others took before', () => {
    const size = fc.integer({ min: 0, max: 40 });
    const floors = fc.record({ chat: size, embed: size, rerank: size, guard: size });
    const asked = fc.array(fc.tuple(fc.constantFrom(...MODEL_CLASSES), size), { maxLength: 20 });
    fc.assert(
      fc.property(floors, fc.integer({ min: 0, max: 60 }), asked, (floor, spare, list) => {
        const total = MODEL_CLASSES.reduce((sum, c) => sum + floor[c], 0);
        const ledger = new ByteLedger(total + spare, floor);
        for (const [i, [c, bytes]] of list.entries()) {
          const need = { model: `m${i}`, class: c, bytes };
          const { fits } = ledger.fit(need);
          if (ledger.usedBy(c) + bytes <= floor[c]) expect(fits).toBe(true);
          if (fits) ledger.reserve(need);
          ledger.check();
          expect(ledger.reservedBytes).toBeLessThanOrEqual(total + spare);
        }
      }),
    );
  });
});

describe('floors that cannot be', () => {
  it('are named with their sum', () => {
    const floors = { chat: 10 * GB, embed: 0, rerank: 4 * GB, guard: 3 * GB };
    expect(floorsProblem(16 * GB, floors)).toBe(
      'the floors need 17.0 GB (chat 10.0 GB + rerank 4.00 GB + guard 3.00 GB), ' +
        '1.00 GB more than the pool of 16.0 GB',
    );
    expect(floorsProblem(17 * GB, floors)).toBeNull();
    expect(() => new ByteLedger(16 * GB, floors)).toThrow('floors beyond the pool');
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('%d bytes is no floor', (embed) => {
    const problem = floorsProblem(16 * GB, { ...NO_FLOORS, embed });
    expect(problem).toContain(`the floor of embed is ${embed} bytes; a floor is a whole number`);
  });
});

describe('the sum', () => {
  it('leaves out who would have left and counts in what was promised', () => {
    const ledger = ledgerWith(16, {}, needs('a', 'chat', 8), needs('b', 'embed', 6));
    const need = needs('c', 'chat', 9);
    expect(ledger.fit(need).shortBytes).toBe(7 * GB);
    expect(ledger.fit(need, new Set(['a'])).fits).toBe(true);
    const promised = [needs('d', 'embed', 2)];
    expect(ledger.fit(need, new Set(['a']), promised)).toMatchObject({
      shortBytes: GB,
      otherClasses: [{ class: 'embed', usedBytes: 8 * GB, floorBytes: 0 }],
    });
  });

  it('gives back what is released', () => {
    const ledger = ledgerWith(16, {}, needs('a', 'chat', 10), needs('b', 'chat', 6));
    ledger.release('a');
    expect(ledger.has('a')).toBe(false);
    expect(ledger.usedBy('chat')).toBe(6 * GB);
    expect(ledger.fit(needs('c', 'guard', 10)).fits).toBe(true);
  });

  it('is guarded against a driver that takes or gives back twice, or takes nonsense', () => {
    const ledger = ledgerWith(16, {}, needs('a', 'chat', 10));
    expect(() => ledger.reserve(needs('a', 'chat', 1))).toThrow('has its bytes already');
    expect(() => ledger.reserve(needs('b', 'chat', 7))).toThrow('does not fit');
    expect(() => ledger.release('b')).toThrow('has no bytes to release');
    for (const gb of [-1, Number.NaN]) {
      expect(() => ledger.reserve(needs('c', 'chat', gb))).toThrow('c:');
    }
    expect(ledger.reservedBytes).toBe(10 * GB);
  });
});

describe('the sum in words', () => {
  it('says what fits', () => {
    expect(words(ledgerWith(16, {}), needs('a', 'chat', 8))).toBe(
      '8.00 GB for a fits into the pool of 16.0 GB',
    );
  });

  it('adds up own class, other classes and guarantees, and names what is missing', () => {
    const ledger = ledgerWith(
      16,
      { embed: 2 * GB, guard: GB },
      needs('a', 'chat', 6),
      needs('g', 'guard', 1.5),
    );
    expect(words(ledger, needs('b', 'chat', 8))).toBe(
      '8.00 GB for b + 6.00 GB of other chat models + 2.00 GB guaranteed to embed + ' +
        '1.50 GB of guard models = 17.5 GB is 1.50 GB more than the pool of 16.0 GB',
    );
  });

  it('does not repeat a sum of one term', () => {
    expect(words(ledgerWith(16, {}), needs('a', 'chat', 20))).toBe(
      '20.0 GB for a is 4.00 GB more than the pool of 16.0 GB',
    );
  });
});
