/**
 * The simulation against what queueing theory says where it has closed forms, conservation of
 * requests, and replay.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StepShape } from '../scheduler/plan.ts';
import { servedFixture } from './fixture.ts';
import { type Run, type SimulationAsk, simulate } from './simulation.ts';
import { loadResult, percentiles } from './statistics.ts';
import { DrawnRequests, type Process, type RequestSource } from './workload.ts';

const drawn = (lengths: {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly spread?: number;
  readonly sharedTokens?: number;
  readonly seed?: number;
  readonly contextTokens?: number;
}): RequestSource =>
  new DrawnRequests({ spread: 0, sharedTokens: 0, seed: 1, contextTokens: 1024, ...lengths });

/** One slot, one step per request: a queue with one server. */
const oneServer = (stepMs: SimulationAsk['served']['stepMs']): SimulationAsk['served'] =>
  servedFixture(stepMs, { parallel: 1, prefixCache: false });

const poisson = (ratePerSecond: number): Process => ({ kind: 'poisson', ratePerSecond });

const meanWaitMs = (run: Run): number => loadResult(run, null).queueMs?.mean ?? Number.NaN;

describe('a queue with one server', () => {
  it.each([0.3, 0.5, 0.8])('waits as M/D/1 says at a load of %f', (load) => {
    const serviceMs = 10;
    const run = simulate({
      served: oneServer(() => serviceMs),
      process: poisson((load * 1000) / serviceMs),
      requests: drawn({ promptTokens: 100, outputTokens: 1 }),
      count: 15_000,
      warmUp: 1000,
      seed: 11,
    });
    // W = ρ·D / (2·(1 − ρ)).
    const expected = (load * serviceMs) / (2 * (1 - load));
    expect(Math.abs(meanWaitMs(run) / expected - 1)).toBeLessThan(0.06);
    expect(loadResult(run, null).utilisation).toBeCloseTo(load, 1);
  });

  it('waits as Pollaczek and Khinchine say when service times vary', () => {
    const run = simulate({
      served: oneServer(({ tokens }) => 0.05 * tokens),
      process: poisson(100),
      requests: drawn({ promptTokens: 100, outputTokens: 1, spread: 0.6 }),
      count: 15_000,
      warmUp: 1000,
      seed: 12,
    });
    const services = run.records.map(({ shape }) => 0.05 * shape.promptTokens);
    const mean = services.reduce((sum, s) => sum + s, 0) / services.length;
    const square = services.reduce((sum, s) => sum + s * s, 0) / services.length;
    const rate = 0.1;
    const expected = (rate * square) / (2 * (1 - rate * mean));
    expect(Math.abs(meanWaitMs(run) / expected - 1)).toBeLessThan(0.1);
  });

  it('is never idle in a closed loop', () => {
    const run = simulate({
      served: oneServer(() => 10),
      process: { kind: 'closed', users: 3 },
      requests: drawn({ promptTokens: 100, outputTokens: 1 }),
      count: 500,
      warmUp: 10,
      seed: 1,
    });
    const { endedPerSecond, utilisation } = loadResult(run, null);
    expect(endedPerSecond).toBeCloseTo(100, 0);
    expect(utilisation).toBeCloseTo(1, 2);
  });
});

describe('a batch', () => {
  it('serves as many users as there are slots at the speed of one, if steps are flat', () => {
    const run = simulate({
      served: servedFixture(() => 5, { parallel: 8 }),
      process: { kind: 'closed', users: 8 },
      requests: drawn({ promptTokens: 16, outputTokens: 50 }),
      count: 800,
      warmUp: 80,
      seed: 3,
    });
    const { outputTps, itlMs, ttftMs } = loadResult(run, null);
    expect(outputTps / (8 * 200)).toBeGreaterThan(0.95);
    expect(itlMs?.p99).toBeCloseTo(5, 6);
    expect(ttftMs?.p50).toBeCloseTo(5, 6);
  });

  it('shares the prefix that its prompts have in common', () => {
    const shares = (sharedTokens: number): number => {
      const run = simulate({
        served: servedFixture(({ tokens }) => 1 + 0.1 * tokens),
        process: poisson(5),
        requests: drawn({ promptTokens: 400, outputTokens: 10, sharedTokens }),
        count: 200,
        warmUp: 20,
        seed: 3,
      });
      return loadResult(run, null).cachedShare;
    };
    expect(shares(300)).toBeCloseTo(0.75, 2);
    expect(shares(0)).toBe(0);
  });
});

describe('every run', () => {
  const ask = (seed: number, load: number, over: { queueMax: number; waitMsMax: number }) => ({
    served: servedFixture(({ tokens, attended }) => 2 + 0.2 * tokens + 1e-5 * attended, {
      ...over,
      cells: 1536,
    }),
    process: seed % 3 === 0 ? ({ kind: 'closed', users: 1 + (seed % 9) } as const) : poisson(load),
    requests: drawn({
      promptTokens: 200,
      outputTokens: 20,
      spread: 0.7,
      sharedTokens: seed % 150,
      seed,
      contextTokens: 1024,
    }),
    count: 80,
    warmUp: 8,
    seed,
  });

  it('ends every request that arrived in one outcome, in order of its times', () => {
    const seeds = fc.integer({ min: 0, max: 1e6 });
    const loads = fc.double({ min: 1, max: 60, noNaN: true });
    const limits = fc.record({
      queueMax: fc.integer({ min: 0, max: 20 }),
      waitMsMax: fc.integer({ min: 1, max: 2000 }),
    });
    fc.assert(
      fc.property(seeds, loads, limits, (seed, load, over) => {
        const run = simulate(ask(seed, load, over));
        expect(run.records).toHaveLength(80);
        for (const { outcome, shape, generated, ...at } of run.records) {
          expect(outcome).not.toBeNull();
          expect(at.endedAt).toBeGreaterThanOrEqual(at.arrivedAt);
          if (outcome?.kind === 'finished') {
            expect(generated).toBe(shape.outputTokens);
            expect(at.firstTokenAt).toBeGreaterThan(at.arrivedAt);
          } else if (outcome?.kind === 'refused') expect(at.startedAt).toBeNull();
        }
        const { requests } = loadResult(run, null);
        const { finished, refused, expired, failed, measured } = requests;
        expect(finished + refused + expired + failed).toBe(measured);
      }),
      { numRuns: 40 },
    );
  });

  it('is no slower on a machine that is faster in everything', () => {
    const seeds = fc.integer({ min: 0, max: 1e6 });
    const factors = fc.double({ min: 1.2, max: 4, noNaN: true });
    fc.assert(
      fc.property(seeds, factors, (seed, factor) => {
        const { served, ...rest } = ask(seed, 15, { queueMax: 100, waitMsMax: 60_000 });
        const { stepMs } = served;
        const faster = { ...served, stepMs: (shape: StepShape) => stepMs(shape) / factor };
        const wait = (machine: typeof served): number =>
          loadResult(
            simulate({
              ...rest,
              process: poisson(15),
              requests: drawn({ promptTokens: 200, outputTokens: 20, spread: 0.7, seed }),
              served: machine,
            }),
            null,
          ).requestMs?.mean ?? 0;
        expect(wait(faster)).toBeLessThan(wait(served));
      }),
      { numRuns: 15 },
    );
  });

  it('is the same for the same seed, and another for another', () => {
    const run = (seed: number) =>
      JSON.stringify(simulate(ask(seed, 20, { queueMax: 9, waitMsMax: 900 })));
    expect(run(4)).toBe(run(4));
    expect(run(4)).not.toBe(run(5));
  });

  it('refuses what is longer than the context, as a host does', () => {
    const run = simulate({
      served: servedFixture(() => 1, { contextTokens: 100, cells: 400 }),
      process: { kind: 'times', atMs: [0, 1] },
      requests: drawn({ promptTokens: 90, outputTokens: 20 }),
      count: 2,
      warmUp: 0,
      seed: 1,
    });
    const refused = { 'refused:context_length_exceeded': 2 };
    expect(loadResult(run, null).requests.outcomes).toEqual(refused);
  });
});

describe('percentiles', () => {
  it('are linear between the members', () => {
    expect(percentiles([4, 1, 2, 3])).toMatchObject({ mean: 2.5, p50: 2.5 });
    expect(percentiles([7])).toMatchObject({ p50: 7, p99: 7 });
    expect(percentiles([])).toBeNull();
  });
});
