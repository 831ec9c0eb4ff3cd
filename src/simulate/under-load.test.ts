/** The answers under load: goodput, the highest rate that meets a target, traces and curves. */
import { describe, expect, it } from 'vitest';
import { servedFixture } from './fixture.ts';
import type { Target } from './statistics.ts';
import { parseTrace } from './trace.ts';
import { type LoadAsk, loadCurve, underLoad } from './under-load.ts';

const target: Target = { ttftMs: 200, itlMs: 30, share: 0.9 };
const ask = (more: Partial<LoadAsk['traffic']> = {}, wish: Target | null = target): LoadAsk => ({
  served: servedFixture(({ tokens, attended }) => 4 + 0.1 * tokens + 1e-5 * attended, {
    queueMax: 64,
    waitMsMax: 60_000,
  }),
  traffic: {
    mean: { promptTokens: 200, outputTokens: 20, cachedTokens: 0 },
    spread: 0,
    trace: null,
    ratePerSecond: 5,
    users: 4,
    seed: 1,
    ...more,
  },
  target: wish,
});

describe('the highest rate', () => {
  it('meets the target, and a rate well above it does not', () => {
    const { highest } = underLoad(ask());
    const rate = highest?.ratePerSecond ?? 0;
    expect(rate).toBeGreaterThan(0);
    expect(highest?.result?.goodput?.share).toBeGreaterThanOrEqual(0.9);
    expect(highest?.lowPerSecond).toBeLessThanOrEqual(rate);
    expect(highest?.highPerSecond).toBeGreaterThanOrEqual(rate);
    const above = underLoad(ask({ ratePerSecond: (highest?.highPerSecond ?? 0) * 1.4 }));
    expect(above.result.goodput?.share).toBeLessThan(0.9);
  });

  it('is null when a request misses the target alone, and is not looked for without one', () => {
    const impossible = underLoad(ask({}, { ...target, ttftMs: 1 }));
    expect(impossible.highest).toMatchObject({ ratePerSecond: null, result: null });
    expect(underLoad(ask({}, null)).highest).toBeNull();
  });

  it('is no lower for a target that asks less', () => {
    const rate = (itlMs: number): number =>
      underLoad(ask({}, { ...target, itlMs })).highest?.ratePerSecond ?? 0;
    expect(rate(60)).toBeGreaterThanOrEqual(rate(15));
  });

  it('refuses a target that says nothing', () => {
    for (const [wish, message] of [
      [{ ttftMs: null, itlMs: null, share: 0.9 }, /names ttft, itl or both/],
      [{ ttftMs: 0, itlMs: null, share: 0.9 }, /of 0 ms can never be met/],
      [{ ttftMs: 5, itlMs: null, share: 1.5 }, /share is 1.5/],
    ] as const) {
      expect(() => underLoad(ask({}, wish))).toThrow(message);
    }
  });
});

describe('traffic', () => {
  it('waits longer the more of it there is', () => {
    const curve = loadCurve(ask({}, null), [0.2, 0.6, 1.2]);
    const waits = curve.map(({ result }) => result.ttftMs?.mean ?? 0);
    expect(waits[0]).toBeLessThan(waits[1] ?? 0);
    expect(waits[1]).toBeLessThan(waits[2] ?? 0);
  });

  it('of a trace comes at its times, or as much faster as a rate asks', () => {
    const line = (at: number): string =>
      JSON.stringify({ at, prompt_tokens: 100, output_tokens: 5 });
    const trace = parseTrace([0, 1, 2, 3, 4].map(line).join('\n'), 't');
    const slow = underLoad(ask({ trace, ratePerSecond: null }));
    expect(slow.process).toBe('times');
    expect(slow.result.requests.finished).toBe(5);
    expect(slow.result.offeredPerSecond).toBeCloseTo(1, 1);
    const fast = underLoad(ask({ trace, ratePerSecond: 10 }));
    expect(fast.result.offeredPerSecond).toBeGreaterThan(5);
  });

  it('of a conversation finds its earlier turns in the cache', () => {
    const turn = (i: number) => ({
      at: i,
      prompt_tokens: 100 * (i + 1),
      output_tokens: 50,
      conversation: 'a',
    });
    const trace = parseTrace([0, 1, 2, 3].map((i) => JSON.stringify(turn(i))).join('\n'), 't');
    const { result } = underLoad(ask({ trace, ratePerSecond: null }));
    // Of 100, 200, 300 and 400 tokens 149, 249 and 349 were computed for the turn before.
    expect(result.cachedShare).toBeGreaterThan(0.7);
  });
});
