/**
 * The scheduler under random load: arrivals, cancels, stops, deadlines, shortages, faults. Drive
 * asserts what must hold at each step; here is what must hold over a whole history.
 * PLENUM_RUNS sets the number of histories.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OnlineStepTime } from '../planner/step-time.ts';
import { Drive } from './fixture-drive.ts';
import type { StepTimeModel } from './plan.ts';
import type { SchedulerRequest } from './sequence.ts';

const RUNS = Number(process.env.PLENUM_RUNS ?? 2500);
const VOCABULARY = 4;

type TimeKind = 'constant' | 'linear' | 'deep' | 'online' | 'free' | 'infinite' | 'nan' | 'falling';
const predict = (predictMs: StepTimeModel['predictMs']): StepTimeModel => ({
  predictMs,
  observe: () => undefined,
});
const TIME: Record<TimeKind, () => StepTimeModel> = {
  constant: () => predict(() => 5),
  linear: () => predict((s) => 2 + 0.3 * s.tokens + 0.001 * s.attended),
  deep: () => predict((s) => 1 + 0.01 * s.tokens + 0.5 * s.attended),
  online: () => new OnlineStepTime({ fixedMs: 5, perTokenMs: 1, perAttendedMs: 0.001 }),
  free: () => predict(() => 0),
  infinite: () => predict(() => Number.POSITIVE_INFINITY),
  nan: () => predict(() => Number.NaN),
  falling: () => predict((s) => 100 / (1 + s.tokens)),
};

interface Arrival {
  readonly atStep: number;
  readonly family: number;
  readonly shared: number;
  readonly own: readonly number[];
  readonly maxTokens: number | null;
  readonly scorePrompt: boolean;
  readonly deadlineMs: number | null;
  /** Ended from outside so many steps after its arrival. */
  readonly endAfter: number | null;
  readonly endInFlight: boolean;
  readonly endAs: 'client_closed' | 'stop';
}

const rarely = <T>(weight: number, value: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof({ weight: 10 - weight, arbitrary: fc.constant(null) }, { weight, arbitrary: value });

const arrival = (contextTokens: number): fc.Arbitrary<Arrival> =>
  fc.record({
    atStep: fc.nat({ max: 30 }),
    family: fc.nat({ max: 2 }),
    shared: fc.nat({ max: contextTokens }),
    own: fc.array(fc.nat({ max: VOCABULARY - 1 }), { maxLength: 6 }),
    maxTokens: fc.oneof(fc.constantFrom(0, 1, null), fc.integer({ min: 2, max: 20 })),
    scorePrompt: fc.nat({ max: 7 }).map((n) => n === 0),
    deadlineMs: rarely(1, fc.integer({ min: 0, max: 60 })),
    endAfter: rarely(2, fc.nat({ max: 12 })),
    endInFlight: fc.boolean(),
    endAs: fc.constantFrom('client_closed', 'stop'),
  });

const history = fc
  .record({
    contextTokens: fc.constantFrom(4, 12, 40, 40, 130),
    parallel: fc.integer({ min: 1, max: 5 }),
  })
  .chain(({ contextTokens, parallel }) =>
    fc.record({
      contextTokens: fc.constant(contextTokens),
      parallel: fc.constant(parallel),
      layout: fc.constantFrom('shared', 'shared', 'slots'),
      moreCells: fc.oneof(fc.nat({ max: 8 }), fc.nat({ max: 2 * contextTokens })),
      lostCells: fc.oneof(fc.constant(0), fc.nat({ max: 20 })),
      moreSeqs: fc.nat({ max: 4 }),
      moreStepTokens: fc.oneof(fc.nat({ max: 8 }), fc.nat({ max: 150 })),
      queueMax: fc.oneof(fc.nat({ max: 3 }), fc.constant(50)),
      waitMsMax: fc.oneof(fc.constant(1e9), fc.nat({ max: 80 })),
      stepTargetMs: fc.constantFrom(null, null, 0.1, 4, 30),
      prefixCache: fc.nat({ max: 3 }).map((n) => n > 0),
      time: fc.constantFrom(...(Object.keys(TIME) as TimeKind[])),
      endOneIn: fc.constantFrom(0, 6, 30),
      noCellsAt: rarely(3, fc.uniqueArray(fc.nat({ max: 40 }), { maxLength: 6 })),
      arrivals: fc.array(arrival(contextTokens), { minLength: 1, maxLength: 14 }),
    }),
  );
type History = typeof history extends fc.Arbitrary<infer T> ? T : never;

/**
 * Families are infinite strings of tokens; two prompts of one family share the shorter's length.
 */
function promptOf(a: Arrival, contextTokens: number): Int32Array {
  const shared = Array.from(
    { length: a.shared },
    (_, i) => (i * i + a.family * (i + 1)) % VOCABULARY,
  );
  const tokens = [...shared, ...a.own].slice(0, contextTokens);
  return Int32Array.from(tokens.length === 0 ? [a.family] : tokens);
}

class Replay {
  readonly drive: Drive;
  accepted = 0;
  /** Most steps that this history may take. */
  stepsMax = 200;
  readonly #history: History;
  readonly #byStep = new Map<number, { key: number; arrival: Arrival }[]>();

  constructor(h: History) {
    this.#history = h;
    this.drive = new Drive({
      ...h,
      cells:
        h.layout === 'slots'
          ? h.contextTokens * h.parallel
          : h.contextTokens + h.moreCells + h.lostCells,
      seqsMax: h.parallel + (h.layout === 'slots' ? 0 : h.moreSeqs),
      lostCells: h.layout === 'slots' ? 0 : h.lostCells,
      stepTokensMax: h.parallel + h.moreStepTokens,
      time: TIME[h.time](),
      vocabulary: VOCABULARY,
      monotone: h.time !== 'falling',
      computeMs: (shape) => 1 + shape.tokens / 16,
    });
    const sorted = h.arrivals.toSorted((a, b) => a.atStep - b.atStep);
    for (const [key, a] of sorted.entries()) {
      const list = this.#byStep.get(a.atStep) ?? [];
      list.push({ key, arrival: a });
      this.#byStep.set(a.atStep, list);
    }
  }

  run(): void {
    const { drive } = this;
    const last = Math.max(...this.#history.arrivals.map((a) => a.atStep + (a.endAfter ?? 0)));
    for (let step = 0; step <= last; step++) {
      for (const { key, arrival: a } of this.#byStep.get(step) ?? []) this.#submit(key, a);
      this.#endSome(step, false);
      const noCells = this.#history.noCellsAt?.includes(step) ?? false;
      const planned = drive.step({ noCells, inFlight: () => this.#endSome(step, true) });
      if (planned === null) {
        expect(drive.ends.size, 'nothing to do although requests live').toBe(this.accepted);
        this.#endSome(step, true);
        drive.now += 1;
      }
    }
    drive.drain(this.stepsMax);
  }

  #submit(key: number, a: Arrival): void {
    const { contextTokens } = this.#history;
    const prompt = promptOf(a, contextTokens);
    const maxTokens = a.maxTokens === 0 && !a.scorePrompt ? 1 : a.maxTokens;
    const { scorePrompt, deadlineMs } = a;
    const request: SchedulerRequest = { key, prompt, maxTokens, scorePrompt, deadlineMs };
    const admission = this.drive.submit(request);
    const longest = prompt.length + (maxTokens ?? 1);
    expect(admission.kind === 'too_long').toBe(longest > contextTokens);
    if (admission.kind !== 'accepted') return;
    this.accepted += 1;
    // Every token alone in its own step, recomputed a few times after preemption.
    this.stepsMax += 4 * Math.min(contextTokens, prompt.length + (maxTokens ?? contextTokens));
  }

  #endSome(step: number, inFlight: boolean): void {
    for (const [at, list] of this.#byStep) {
      for (const { key, arrival: a } of list) {
        if (a.endAfter === null || at + a.endAfter !== step || a.endInFlight !== inFlight) continue;
        if (a.endAs === 'stop' && !this.drive.ends.has(key)) this.drive.stopping.add(key);
        this.drive.scheduler.end(
          key,
          a.endAs === 'stop'
            ? { kind: 'finished', reason: 'stop' }
            : { kind: 'cancelled', code: 'client_closed' },
        );
      }
    }
  }
}

test('any history drains, each request ends once, with the tokens that it gives alone', () => {
  fc.assert(
    fc.property(history, (h) => {
      const replay = new Replay(h);
      replay.run();
      const { drive } = replay;
      expect(drive.ends.size).toBe(replay.accepted);
      const { cells, promptCached, promptComputed, generated } = drive.scheduler.snapshot();
      expect(cells.held).toBe(0);
      if (!h.prefixCache) expect(cells.free).toBe(cells.total);
      const ends = [...drive.ends.values()];
      expect(generated).toBe(ends.reduce((sum, end) => sum + end.generated, 0));
      const prompts = ends.reduce((sum, end) => sum + end.promptTokens, 0);
      expect(promptCached + promptComputed).toBeLessThanOrEqual(prompts);
      const complete = ends.every((end) => end.generated > 0);
      if (complete) expect(promptCached + promptComputed).toBe(prompts);
      // Only a fault of the engine makes a request fail: the cells hold at least one context.
      const failed = ends.filter((end) => end.outcome.kind === 'failed');
      if (h.noCellsAt === null) expect(failed).toEqual([]);
    }),
    { numRuns: RUNS },
  );
}, 3_600_000);
