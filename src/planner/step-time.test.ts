/** What the step-time model learns, keeps, and does not fall for. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../base/prng.ts';
import { TILE_TOKENS } from './step-cost.ts';
import { OnlineStepTime } from './step-time.ts';

interface Shape {
  readonly tokens: number;
  readonly attended: number;
}
const GUESS = { fixedMs: 5, perTokenMs: 0.5, perAttendedMs: 0.0001 };
/** A machine: 12 ms for the weights, 0.8 ms for each token, 2 ms for each 1,000 attended cells. */
const law = (s: Shape): number => 12 + 0.8 * s.tokens + 0.002 * s.attended;
const decode = (sequences: number, context: number): Shape => ({
  tokens: sequences,
  attended: sequences * context,
});
const prompt = (start: number, length: number): Shape => ({
  tokens: length,
  attended: length * start + (length * (length + 1)) / 2,
});

/** Steps as a server sees them: mostly decoding, now and then a chunk of a prompt. */
function shapes(count: number, seed: number): Shape[] {
  const prng = new Prng(seed);
  return Array.from({ length: count }, () => {
    const decoding = decode(prng.int(1, 8), prng.int(10, 2000));
    if (prng.float() < 0.7) return decoding;
    const chunk = prompt(prng.int(0, 1500), prng.int(2, 400));
    return {
      tokens: decoding.tokens + chunk.tokens,
      attended: decoding.attended + chunk.attended,
    };
  });
}

function learned(noise: number, seed = 1): OnlineStepTime {
  const prng = new Prng(seed + 1000);
  const time = new OnlineStepTime(GUESS);
  for (const s of shapes(400, seed)) time.observe(s, law(s) * (1 + noise * prng.normal()));
  return time;
}

const probes: Shape[] = [
  decode(1, 100),
  decode(4, 1000),
  decode(8, 2000),
  prompt(0, 100),
  prompt(0, 500),
  prompt(1000, 256),
];
const error = (time: OnlineStepTime, s: Shape): number => Math.abs(time.predictMs(s) / law(s) - 1);

describe('learning', () => {
  test('before any data it says the first guess', () => {
    const time = new OnlineStepTime(GUESS);
    for (const s of probes) {
      const perAttendedMs = s.tokens < TILE_TOKENS ? 0.0001 : 0.000025;
      expect(time.predictMs(s)).toBeCloseTo(5 + 0.5 * s.tokens + perAttendedMs * s.attended, 9);
    }
  });

  test('an exact law is learned within 2 %', () => {
    const time = learned(0);
    for (const s of probes) expect(error(time, s)).toBeLessThan(0.02);
  });

  test('with 10 % of noise it is learned within 15 %, whatever the seed', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const time = learned(0.1, seed);
      for (const s of probes) expect(error(time, s), `seed ${seed}`).toBeLessThan(0.15);
    }
  });

  test('a knee at small batches is learned: eight decode for little more than one', () => {
    const kneed = (s: Shape): number =>
      20 + 0.2 * Math.min(16, s.tokens) + 2 * Math.max(0, s.tokens - 16);
    const time = new OnlineStepTime(GUESS);
    for (const s of shapes(600, 3)) time.observe(s, kneed(s));
    for (const s of [decode(1, 500), decode(8, 500), prompt(0, 64), prompt(0, 300)]) {
      expect(Math.abs(time.predictMs(s) / kneed(s) - 1)).toBeLessThan(0.15);
    }
  });

  test('a machine where eight decode as fast as one is learned through the noise', () => {
    const flat = (s: Shape): number => 25 + 0.4 * Math.max(0, s.tokens - 16);
    for (let seed = 1; seed <= 10; seed++) {
      const prng = new Prng(seed);
      const time = new OnlineStepTime(GUESS);
      for (const s of shapes(600, seed)) time.observe(s, flat(s) * (1 + 0.05 * prng.normal()));
      for (const s of [decode(1, 500), decode(8, 500), prompt(0, 64), prompt(0, 300)]) {
        expect(Math.abs(time.predictMs(s) / flat(s) - 1), `seed ${seed}`).toBeLessThan(0.1);
      }
    }
  });

  test.each([50, 1 / 50])('a first guess that is wrong by a factor of %d is overcome', (factor) => {
    const time = new OnlineStepTime({
      fixedMs: 12 * factor,
      perTokenMs: 0.8 * factor,
      perAttendedMs: 0.002 * factor,
    });
    for (const s of shapes(400, 11)) time.observe(s, law(s));
    for (const s of probes) expect(error(time, s)).toBeLessThan(0.1);
  });

  test('one prompt and a few decode steps are enough to be within 30 %', () => {
    const time = new OnlineStepTime(GUESS);
    time.observe(prompt(0, 200), law(prompt(0, 200)));
    for (let i = 1; i < 8; i++) time.observe(decode(1, 200 + i), law(decode(1, 200 + i)));
    for (const s of [decode(1, 250), prompt(0, 100), prompt(0, 300)]) {
      expect(error(time, s)).toBeLessThan(0.3);
    }
  });

  test('it follows a machine that becomes slower', () => {
    const time = learned(0.02);
    for (const s of shapes(1500, 9)) time.observe(s, 2 * law(s));
    for (const s of probes) expect(time.predictMs(s) / law(s)).toBeCloseTo(2, 1);
  });

  test('hours of decoding do not make it forget what a prompt costs', () => {
    const time = learned(0.05);
    const prng = new Prng(5);
    for (let i = 0; i < 20_000; i++) {
      const s = decode(1, 100 + (i % 1000));
      time.observe(s, law(s) * (1 + 0.05 * prng.normal()));
    }
    for (const s of [prompt(0, 100), prompt(0, 400), prompt(1000, 256)]) {
      expect(error(time, s)).toBeLessThan(0.1);
    }
  });
});

describe('robustness', () => {
  test('outliers move it by a few per cent at most', () => {
    const time = new OnlineStepTime(GUESS);
    for (const [i, s] of shapes(600, 4).entries()) {
      time.observe(s, law(s) * (i % 20 === 19 ? 50 : 1));
    }
    for (const s of probes) expect(error(time, s)).toBeLessThan(0.2);
  });

  test('what cannot have been measured is ignored', () => {
    const time = learned(0.05);
    const before = probes.map((s) => time.predictMs(s));
    for (let i = 0; i < 200; i++) {
      for (const ms of [Number.NaN, 0, -5, Infinity, -Infinity, 1e-200]) {
        time.observe(decode(4, 100), ms);
      }
      time.observe({ tokens: 0, attended: 0 }, 10);
      time.observe({ tokens: Number.NaN, attended: 10 }, 10);
      time.observe({ tokens: 3, attended: Number.NaN }, 10);
    }
    expect(probes.map((s) => time.predictMs(s))).toEqual(before);
  });

  test('whatever it has seen, more work in the same kernels never takes less time', () => {
    const shape = fc.record({
      tokens: fc.integer({ min: 1, max: 2048 }),
      attended: fc.integer({ min: 1, max: 1e7 }),
    });
    const seen = fc.record({ shape, ms: fc.double({ min: 1e-4, max: 1e6, noNaN: true }) });
    fc.assert(
      fc.property(
        fc.array(seen, { maxLength: 80 }),
        shape,
        fc.nat({ max: 500 }),
        fc.nat({ max: 1e6 }),
        (observations, probe, moreTokens, moreAttended) => {
          const tokensAfter = probe.tokens + moreTokens;
          fc.pre(probe.tokens >= TILE_TOKENS === tokensAfter >= TILE_TOKENS);
          const time = new OnlineStepTime(GUESS);
          for (const { shape: s, ms } of observations) time.observe(s, ms);
          const less = time.predictMs(probe);
          const more = time.predictMs({
            tokens: tokensAfter,
            attended: probe.attended + moreAttended,
          });
          expect(Number.isFinite(less) && less > 0).toBe(true);
          expect(more).toBeGreaterThanOrEqual(less * (1 - 1e-9));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('it is a function of what it has seen and nothing else', () => {
    const [a, b] = [learned(0.1, 7), learned(0.1, 7)];
    for (const s of probes) expect(a.predictMs(s)).toBe(b.predictMs(s));
  });
});
