/**
 * The real scheduler on a virtual engine: a discrete-event loop in which the only clock is the sum
 * of the steps' predicted times. Requests are submitted at the moment when they arrive, also while
 * a step computes, as a host does it.
 *
 * Promises: every request that arrives ends in exactly one Outcome; the same ask gives the same
 * records. It leaves out what a host does between steps (text, sockets), which overlaps computing.
 */
import { assert, defined } from '../base/assert.ts';
import type { StepTimeGuess } from '../planner/step-time.ts';
import type { RequestKey, StepPlan, StepShape } from '../scheduler/plan.ts';
import {
  type End,
  type Planned,
  Scheduler,
  type SchedulerOptions,
  type Settled,
} from '../scheduler/scheduler.ts';
import type { Outcome } from '../wire/outcome.ts';
import { LearnedTime } from './learned-time.ts';
import { promptOf, VirtualEngine } from './virtual-engine.ts';
import { Arrivals, type Process, type RequestShape, type RequestSource } from './workload.ts';

/** A model on a machine, as far as the simulation needs it. */
export interface Served {
  readonly limits: Omit<SchedulerOptions, 'time'>;
  /** What a step takes, in milliseconds: the truth of the simulated machine. */
  readonly stepMs: (shape: StepShape) => number;
  /** What the scheduler predicts before it has seen a step. */
  readonly guess: StepTimeGuess;
}

export interface SimulationAsk {
  readonly served: Served;
  readonly process: Process;
  readonly requests: RequestSource;
  /** Requests in all. */
  readonly count: number;
  /** The first of them, which meet an empty server, are in no statistic. */
  readonly warmUp: number;
  readonly seed: number;
  /** Told of each step that computes; for tests and traces. */
  readonly onStep?: (plan: StepPlan) => void;
  /** Told of each token: of which record, and when. */
  readonly onToken?: (record: number, at: number) => void;
}

/** What became of a request. Times are milliseconds of virtual time; null when it never came. */
export interface RequestRecord {
  readonly shape: RequestShape;
  readonly arrivedAt: number;
  readonly isMeasured: boolean;
  startedAt: number | null;
  firstTokenAt: number | null;
  lastTokenAt: number | null;
  endedAt: number | null;
  generated: number;
  cachedTokens: number;
  outcome: Outcome | null;
}

export interface Run {
  readonly records: readonly RequestRecord[];
  /** Milliseconds between two tokens of a measured request, in no order. */
  readonly gapsMs: readonly number[];
  /** From the arrival of the first measured request to that of the last, of a trace to its end. */
  readonly window: {
    readonly fromMs: number;
    readonly toMs: number;
    readonly busyMs: number;
    readonly outputTokens: number;
    readonly promptTokensComputed: number;
    readonly ended: number;
    /** Sum over steps of running sequences × time of the step. */
    readonly runningMs: number;
  };
  readonly endedMs: number;
  readonly steps: number;
  readonly preemptions: number;
  readonly waitingMost: number;
}

/** Looks so often at what waits when nothing computes and nothing arrives, as a host does. */
const EXPIRY_POLL_MS = 100;
/** A simulation that takes more steps than this is taken to have lost its way. */
const STEPS_MAX = 50_000_000;

export function simulate(ask: SimulationAsk): Run {
  return new Simulation(ask).run();
}

class Simulation {
  readonly #ask: SimulationAsk;
  readonly #scheduler: Scheduler;
  readonly #engine: VirtualEngine;
  readonly #arrivals: Arrivals;
  readonly #records: RequestRecord[] = [];
  readonly #gapsMs: number[] = [];
  #now = 0;
  #steps = 0;
  #waitingMost = 0;
  #open = 0;
  #fromMs: number | null = null;
  #toMs: number | null = null;
  #busyMs = 0;
  #runningMs = 0;
  #outputTokens = 0;
  #promptTokens = 0;
  #ended = 0;

  constructor(ask: SimulationAsk) {
    this.#ask = ask;
    const { served, process, count, seed } = ask;
    assert(count >= 1 && ask.warmUp < count, 'requests to measure');
    const time = new LearnedTime(served.guess);
    const { stepTokensMax, contextTokens } = served.limits;
    time.calibrate(served.stepMs, Math.min(stepTokensMax, contextTokens));
    this.#scheduler = new Scheduler({ ...served.limits, time });
    this.#engine = new VirtualEngine({ ...served.limits, stepMs: served.stepMs });
    this.#arrivals = new Arrivals(process, count, seed);
  }

  run(): Run {
    while (!this.#isDone()) {
      this.#arrive(this.#now);
      const planned = this.#scheduler.plan(this.#now);
      this.#take(planned);
      if (planned.step === null) this.#rest();
      else this.#compute(planned.step);
    }
    this.#scheduler.check();
    return this.#result();
  }

  #isDone(): boolean {
    assert(this.#steps < STEPS_MAX, `the simulation has not ended after ${STEPS_MAX} steps`);
    return this.#arrivals.isOver && this.#open === 0;
  }

  /** Everything that arrives until `until` is submitted at its own time. */
  #arrive(until: number): void {
    for (;;) {
      const at = this.#arrivals.nextAt;
      if (at === null || at > until) return;
      this.#arrivals.take();
      this.#submit(at);
    }
  }

  #submit(at: number): void {
    const shape = this.#ask.requests.next();
    const key = this.#records.length;
    const isMeasured = key >= this.#ask.warmUp;
    if (key === this.#ask.warmUp) this.#fromMs = at;
    const record: RequestRecord = {
      ...{ shape, arrivedAt: at, isMeasured, startedAt: null, firstTokenAt: null },
      ...{ lastTokenAt: null, endedAt: null, generated: 0, cachedTokens: 0, outcome: null },
    };
    this.#records.push(record);
    const admission = this.#scheduler.submit(
      {
        key,
        prompt: promptOf(shape),
        maxTokens: shape.outputTokens,
        scorePrompt: false,
        deadlineMs: null,
      },
      at,
    );
    // A trace is looked at until its last request has ended; what never ends is cut off.
    if (this.#arrivals.isOver && this.#ask.process.kind !== 'times') this.#toMs = at;
    if (admission.kind !== 'accepted') {
      const code = admission.kind === 'too_long' ? 'context_length_exceeded' : 'queue_full';
      record.outcome = { kind: 'refused', code };
      record.endedAt = at;
      this.#arrivals.ended(at, true);
      return;
    }
    this.#open += 1;
    this.#engine.open(key, shape);
    this.#waitingMost = Math.max(this.#waitingMost, this.#scheduler.snapshot().waiting);
  }

  /** Nothing to compute: on to the next arrival, or to when something waiting may expire. */
  #rest(): void {
    const next = this.#arrivals.nextAt;
    const poll = this.#scheduler.idle ? null : this.#now + EXPIRY_POLL_MS;
    const at = Math.min(next ?? Number.POSITIVE_INFINITY, poll ?? Number.POSITIVE_INFINITY);
    if (at < Number.POSITIVE_INFINITY) this.#now = Math.max(this.#now, at);
  }

  #compute(step: StepPlan): void {
    const result = this.#engine.compute(step);
    this.#steps += 1;
    this.#ask.onStep?.(step);
    const tookMs = result.kind === 'done' ? result.computeMs : 0;
    const end = this.#now + tookMs;
    this.#account(step, { from: this.#now, tookMs });
    this.#arrive(end);
    this.#now = end;
    this.#settled(this.#scheduler.settle(step, result, end));
  }

  #isInWindow(at: number): boolean {
    return this.#fromMs !== null && at >= this.#fromMs && this.#toMs === null;
  }

  #account(step: StepPlan, { from, tookMs }: { from: number; tookMs: number }): void {
    if (!this.#isInWindow(from)) return;
    this.#busyMs += tookMs;
    this.#runningMs += tookMs * step.shape.sequences;
    for (const { request, start, tokens } of step.slices) {
      const { promptTokens } = defined(this.#records[request], 'record').shape;
      this.#promptTokens += Math.max(0, Math.min(promptTokens, start + tokens.length) - start);
    }
  }

  #settled(settled: Settled): void {
    const at = this.#now;
    for (const { request } of settled.produced) {
      const record = defined(this.#records[request], 'record of a token');
      record.generated += 1;
      this.#ask.onToken?.(request, at);
      if (record.lastTokenAt === null) record.firstTokenAt = at;
      else if (record.isMeasured) this.#gapsMs.push(at - record.lastTokenAt);
      record.lastTokenAt = at;
      if (this.#isInWindow(at)) this.#outputTokens += 1;
    }
    this.#end(settled.ends);
  }

  #take(planned: Planned): void {
    for (const { key, cachedTokens } of planned.started) {
      const record = defined(this.#records[key], 'record of a start');
      record.startedAt = this.#now;
      record.cachedTokens = cachedTokens;
    }
    this.#end(planned.ends);
  }

  #end(ends: readonly End[]): void {
    for (const { key, outcome } of ends) this.#endOne(key, outcome);
  }

  #endOne(key: RequestKey, outcome: Outcome): void {
    const record = defined(this.#records[key], 'record of an end');
    assert(record.outcome === null, 'a request ended twice');
    record.outcome = outcome;
    record.endedAt = this.#now;
    this.#open -= 1;
    this.#engine.close(key);
    if (this.#isInWindow(this.#now)) this.#ended += 1;
    this.#arrivals.ended(this.#now, false);
  }

  #result(): Run {
    const fromMs = this.#fromMs ?? 0;
    return {
      records: this.#records,
      gapsMs: this.#gapsMs,
      window: {
        fromMs,
        toMs: this.#toMs ?? this.#now,
        busyMs: this.#busyMs,
        outputTokens: this.#outputTokens,
        promptTokensComputed: this.#promptTokens,
        ended: this.#ended,
        runningMs: this.#runningMs,
      },
      endedMs: this.#now,
      steps: this.#steps,
      preemptions: this.#scheduler.snapshot().preemptions,
      waitingMost: this.#waitingMost,
    };
  }
}
