/** Which inputs form a batch: the cases by hand, then whatever arrives. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defined } from '../base/assert.ts';
import { type EncodeBatch, EncodeQueue } from './encode-queue.ts';

const LIMITS = { batchTokensMax: 100, batchInputsMax: 8 };
const inputs = (...lengths: number[]): Int32Array[] => lengths.map((n) => new Int32Array(n));
const names = (batch: EncodeBatch | null): string[] =>
  (batch?.inputs ?? []).map(({ key, index }) => `${key}.${index}`);

describe('a batch', () => {
  it('takes one input of each request in turn', () => {
    const queue = new EncodeQueue(LIMITS);
    queue.add(1, 'embed', inputs(10, 10, 10, 10, 10));
    queue.add(2, 'embed', inputs(10));
    queue.add(3, 'embed', inputs(10, 10));
    expect(names(queue.take())).toEqual(['1.0', '2.0', '3.0', '1.1', '3.1', '1.2', '1.3', '1.4']);
    expect(queue.take()).toBeNull();
    expect([queue.inputs, queue.tokens]).toEqual([0, 0]);
  });

  it('holds at most so many inputs and tokens, but always one input', () => {
    const queue = new EncodeQueue(LIMITS);
    queue.add(1, 'embed', inputs(500, 60, 60));
    queue.add(2, 'embed', inputs(30));
    expect(names(queue.take())).toEqual(['1.0']);
    expect(names(queue.take())).toEqual(['2.0', '1.1']);
    expect(names(queue.take())).toEqual(['1.2']);
  });

  it('begins with what did not fit into the one before', () => {
    const queue = new EncodeQueue(LIMITS);
    queue.add(1, 'embed', inputs(60, 10));
    queue.add(2, 'embed', inputs(90));
    queue.add(3, 'embed', inputs(30));
    expect(names(queue.take())).toEqual(['1.0', '3.0', '1.1']);
    expect(names(queue.take())).toEqual(['2.0']);
  });

  it('is of one task', () => {
    const queue = new EncodeQueue(LIMITS);
    queue.add(1, 'embed', inputs(1));
    queue.add(2, 'rank', inputs(1, 1));
    queue.add(3, 'embed', inputs(1));
    expect(names(queue.take())).toEqual(['1.0', '3.0']);
    const second = defined(queue.take(), 'batch');
    expect([second.task, ...names(second)]).toEqual(['rank', '2.0', '2.1']);
  });

  it('has nothing of a request that was removed', () => {
    const queue = new EncodeQueue({ ...LIMITS, batchInputsMax: 2 });
    queue.add(1, 'embed', inputs(1, 1, 1));
    queue.add(2, 'embed', inputs(1));
    expect(names(queue.take())).toEqual(['1.0', '2.0']);
    queue.remove(1);
    queue.remove(7);
    expect(queue.take()).toBeNull();
    expect([queue.inputs, queue.tokens]).toEqual([0, 0]);
  });
});

const lengths = fc.array(fc.integer({ min: 1, max: 130 }), { minLength: 1, maxLength: 12 });
const arrival = fc.record({
  lengths,
  task: fc.constantFrom('embed', 'rank', 'classify'),
  /** Batches taken before it arrives. */
  after: fc.nat(6),
});
const limits = fc.record({
  batchTokensMax: fc.integer({ min: 1, max: 200 }),
  batchInputsMax: fc.integer({ min: 1, max: 10 }),
});

describe('whatever arrives', () => {
  it('is taken once, in order, within the limits', () => {
    fc.assert(
      fc.property(limits, fc.array(arrival, { maxLength: 12 }), (bounds, arrivals) => {
        const queue = new EncodeQueue(bounds);
        const seen = new Map<number, number>();
        const check = (batch: EncodeBatch): void => {
          const sum = batch.inputs.reduce((total, { tokens }) => total + tokens.length, 0);
          expect(batch.tokens).toBe(sum);
          expect(sum <= bounds.batchTokensMax || batch.inputs.length === 1).toBe(true);
          expect(batch.inputs.length).toBeLessThanOrEqual(bounds.batchInputsMax);
          for (const { key, index, tokens } of batch.inputs) {
            expect(index).toBe(seen.get(key) ?? 0);
            expect(arrivals[key]).toMatchObject({ task: batch.task });
            expect(tokens.length).toBe(arrivals[key]?.lengths[index]);
            seen.set(key, index + 1);
          }
        };
        for (const [key, { lengths: own, task, after }] of arrivals.entries()) {
          queue.add(key, task, inputs(...own));
          for (let i = 0; i < after; i++) {
            const batch = queue.take();
            if (batch !== null) check(batch);
          }
        }
        for (let batch = queue.take(); batch !== null; batch = queue.take()) check(batch);
        expect([...arrivals.keys()].map((key) => seen.get(key))).toEqual(
          arrivals.map(({ lengths: own }) => own.length),
        );
        expect([queue.inputs, queue.tokens]).toEqual([0, 0]);
      }),
    );
  });

  it('waits for no more batches than there are requests before it', () => {
    fc.assert(
      fc.property(
        limits,
        fc.array(arrival, { minLength: 1, maxLength: 12 }),
        (bounds, arrivals) => {
          const queue = new EncodeQueue(bounds);
          for (const [key, { lengths: own, task }] of arrivals.entries()) {
            queue.add(key, task, inputs(...own, ...own, ...own));
          }
          const newest = arrivals.length;
          queue.add(newest, 'embed', inputs(1));
          let batches = 0;
          for (let found = false; !found; batches++) {
            found = defined(queue.take(), 'batch').inputs.some(({ key }) => key === newest);
          }
          expect(batches).toBeLessThanOrEqual(arrivals.length + 1);
        },
      ),
    );
  });
});
