/** The predicted wait against list scheduling done by hand, moment by moment. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { options, request, timeModel, tokensOf } from './fixture-requests.ts';
import { Sequence } from './sequence.ts';
import { predictWaitMs, WaitEstimator } from './wait.ts';

const whole = fc.nat({ max: 12 });

/**
 * One millisecond after the other: who runs counts down, a free slot takes the first that waits.
 */
function byHand(running: readonly number[], waiting: readonly number[], slots: number): number {
  const left = running.filter((ms) => ms > 0);
  const queue = waiting.slice();
  for (let now = 0; ; now++) {
    while (left.length < slots && queue.length > 0) {
      const next = queue.shift() ?? 0;
      if (next > 0) left.push(next);
    }
    if (left.length < slots) return now;
    for (let i = left.length - 1; i >= 0; i--) {
      const rest = (left[i] ?? 0) - 1;
      if (rest === 0) left.splice(i, 1);
      else left[i] = rest;
    }
  }
}

test('list scheduling gives the moment at which a slot is free', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }).chain((slots) =>
        fc.record({
          slots: fc.constant(slots),
          running: fc.array(whole, { maxLength: slots }),
          waiting: fc.array(whole, { maxLength: 10 }),
        }),
      ),
      ({ slots, running, waiting }) => {
        expect(predictWaitMs(running, waiting, slots)).toBe(byHand(running, waiting, slots));
      },
    ),
    { numRuns: 2000 },
  );
});

describe('the estimate', () => {
  const sequence = (key: number, length: number, maxTokens: number | null = null): Sequence =>
    new Sequence(request(key, tokensOf(key, length), { maxTokens }), 0, options().contextTokens);
  const flat = timeModel(() => 10);

  test('is nothing while a slot is free', () => {
    const wait = new WaitEstimator(flat, 2);
    expect(wait.predictMs([], [])).toBe(0);
    expect(wait.predictMs([sequence(1, 10)], [])).toBe(0);
    expect(wait.predictMs([sequence(1, 10)], [sequence(2, 10)])).toBeGreaterThan(0);
  });

  test('is prompt and output of what is ahead, at most what it may still generate', () => {
    const wait = new WaitEstimator(flat, 1);
    // One step of prompt, then one for each of 5 tokens.
    expect(wait.predictMs([sequence(1, 10, 5)], [])).toBe(60);
    expect(wait.predictMs([sequence(1, 10, 5)], [sequence(2, 10, 7)])).toBe(60 + 80);
    // 128 tokens are expected before anything is known.
    expect(wait.predictMs([sequence(1, 10, 500)], [])).toBe(10 + 1280);
  });

  test('learns how long outputs are from those that finished, not from those cut short', () => {
    const wait = new WaitEstimator(flat, 1);
    const ended = sequence(1, 10, 500);
    ended.ending = { kind: 'cancelled', code: 'client_closed' };
    for (let i = 0; i < 100; i++) wait.observeLength(ended);
    expect(wait.predictMs([sequence(2, 10, 500)], [])).toBe(1290);
    ended.ending = { kind: 'finished', reason: 'stop' };
    for (let i = 0; i < 20; i++) {
      ended.computed = ended.total;
      ended.append(1);
    }
    for (let i = 0; i < 200; i++) wait.observeLength(ended);
    expect(wait.predictMs([sequence(2, 10, 500)], [])).toBeCloseTo(210, 0);
  });

  test('never is negative or nothing for a sequence that outlives the expectation', () => {
    const wait = new WaitEstimator(flat, 1);
    const long = sequence(1, 10, 900);
    for (let i = 0; i < 300; i++) {
      long.computed = long.total;
      long.append(1);
    }
    expect(wait.predictMs([long], [])).toBe(10);
  });
});
