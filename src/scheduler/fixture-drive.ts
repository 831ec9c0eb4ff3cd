/**
 * Drives a Scheduler with the FixtureEngine, step by step, and checks after every call what must
 * always hold: conservation against the physical cells, limits, one outcome for each request, and
 * for every token that it is the one that its request gives alone. For tests only.
 */
import { assert, defined } from '../base/assert.ts';
import { CHUNK_TOKENS_MIN, LARGE_STEPS_APART_MAX } from './catch-up.ts';
import { FixtureEngine } from './fixture-engine.ts';
import type { RequestKey, StepPlan, StepShape } from './plan.ts';
import { type Admission, type End, Scheduler, type SchedulerOptions } from './scheduler.ts';
import type { SchedulerRequest } from './sequence.ts';

export interface DriveOptions extends SchedulerOptions {
  readonly vocabulary?: number;
  readonly endOneIn?: number;
  /** Cells that the scheduler counts but the engine cannot give. */
  readonly lostCells?: number;
  /** More tokens never take less time in `time`, so that the step target can be checked. */
  readonly monotone?: boolean;
  /** True time of a step; the clock moves by it. Default: 1 ms. */
  readonly computeMs?: (shape: StepShape) => number;
}

export interface StepOptions {
  /** The engine answers that it found no cells. */
  readonly noCells?: boolean;
  /** Runs between plan and settle. */
  readonly inFlight?: () => void;
}

interface Expected {
  readonly request: SchedulerRequest;
  readonly tokens: readonly number[];
  readonly stopped: boolean;
}

export class Drive {
  readonly scheduler: Scheduler;
  readonly engine: FixtureEngine;
  readonly produced = new Map<RequestKey, number[]>();
  readonly ends = new Map<RequestKey, End>();
  /** Key → when its first step was planned. */
  readonly started = new Map<RequestKey, number>();
  /** Key → time of its first token. */
  readonly firstToken = new Map<RequestKey, number>();
  /** Requests that the test finishes itself (a stop string). */
  readonly stopping = new Set<RequestKey>();
  now = 0;
  steps = 0;
  /** Tokens computed in all. */
  computedTokens = 0;
  #unfed = 0;
  readonly #options: DriveOptions;
  readonly #expected = new Map<RequestKey, Expected>();

  constructor(options: DriveOptions) {
    this.#options = options;
    const { vocabulary = 1000, endOneIn = 0 } = options;
    this.scheduler = new Scheduler(options);
    this.engine = new FixtureEngine({ ...options, vocabulary, endOneIn });
  }

  submit(request: SchedulerRequest): Admission {
    const admission = this.scheduler.submit(request, this.now);
    if (admission.kind !== 'accepted') return admission;
    this.engine.open(request.key, request.prompt);
    const { tokens, stopped } = this.engine.alone(request.prompt, request.maxTokens);
    this.#expected.set(request.key, { request, tokens, stopped });
    this.produced.set(request.key, []);
    return admission;
  }

  /** One plan and settle; null when there was nothing to do. */
  step(options: StepOptions = {}): StepPlan | null {
    const { step, started, ends } = this.scheduler.plan(this.now);
    for (const { key, cachedTokens } of started) {
      const { request } = defined(this.#expected.get(key), 'started request');
      assert(!this.started.has(key), `drive: ${key} started twice`);
      assert(cachedTokens < request.prompt.length, `drive: ${cachedTokens} cached of ${key}`);
      this.started.set(key, this.now);
    }
    this.#end(ends);
    this.#check();
    if (step === null) return null;
    this.steps += 1;
    this.engine.applyOps(step);
    this.#conserved();
    for (const slice of step.slices) {
      assert(!this.ends.has(slice.request), `drive: computing ended request ${slice.request}`);
    }
    options.inFlight?.();
    this.#fed(step);
    if (this.#options.monotone !== false) this.#withinTarget(step);
    const short = options.noCells === true || !this.#fits(step);
    this.#settle(step, short && step.slices.length > 0);
    return step;
  }

  /** Steps until nothing is left to do; throws when that takes more than `stepsMax`. */
  drain(stepsMax: number): void {
    for (let i = 0; this.step() !== null; i++) {
      assert(i < stepsMax, `drive: not drained after ${stepsMax} steps`);
    }
    assert(this.ends.size === this.#expected.size, 'drive: nothing to do, but not all have ended');
    const { cells, running, waiting } = this.scheduler.snapshot();
    assert(this.scheduler.idle && running === 0 && waiting === 0, 'drive: drained but not idle');
    assert(cells.held === 0, `drive: ${cells.held} cells held by nobody`);
    this.#conserved();
  }

  /**
   * The oldest that has started gets its part of every step; of one step it may be left out, when
   * those that decode take the very last cells: then they give way in the next.
   */
  #fed(step: StepPlan): void {
    if (step.slices.length === 0) return;
    const oldest = Math.min(...[...this.started.keys()].filter((key) => !this.ends.has(key)));
    const fed = step.slices.some((slice) => slice.request === oldest);
    this.#unfed = fed ? 0 : this.#unfed + 1;
    // Without a target for steps its time may be saved up for a large chunk.
    const most = this.#options.stepTargetMs === null ? 1 + LARGE_STEPS_APART_MAX : 1;
    assert(this.#unfed <= most, `drive: the oldest, ${oldest}, starves`);
  }

  /** Beside decoding, a step over its target has taken no more than the least of one prompt. */
  #withinTarget(step: StepPlan): void {
    const { stepTargetMs } = this.#options;
    if (stepTargetMs === null || !(step.predictedMs > stepTargetMs)) return;
    const catching = step.slices.filter(({ request, start }) => {
      const produced = defined(this.produced.get(request), 'request of a slice').length;
      const { prompt } = defined(this.#expected.get(request), 'request of a slice').request;
      return produced === 0 || start < prompt.length + produced - 1;
    });
    if (catching.length === step.slices.length) return;
    const tokens = catching.reduce((sum, slice) => sum + slice.tokens.length, 0);
    const least = catching.length <= 1 && tokens <= CHUNK_TOKENS_MIN;
    assert(least, `drive: ${step.predictedMs} ms for ${tokens} tokens beside decoding`);
  }

  #fits(step: StepPlan): boolean {
    const { cells, lostCells = 0 } = this.#options;
    return this.engine.distinctCells + step.shape.tokens <= cells - lostCells;
  }

  #settle(step: StepPlan, noCells: boolean): void {
    const computeMs = this.#options.computeMs?.(step.shape) ?? 1;
    const result = noCells ? ({ kind: 'no_cells' } as const) : this.engine.compute(step, computeMs);
    this.now += computeMs;
    if (!noCells) this.computedTokens += step.shape.tokens;
    const { produced, ends } = this.scheduler.settle(step, result, this.now);
    for (const { request, token } of produced) {
      const tokens = defined(this.produced.get(request), 'request of a sample');
      const expected = defined(this.#expected.get(request), 'request of a sample');
      assert(
        token === expected.tokens[tokens.length],
        `drive: token ${tokens.length} of ${request} is ${token}, alone it is ` +
          `${expected.tokens[tokens.length]}`,
      );
      if (tokens.length === 0) this.firstToken.set(request, this.now);
      tokens.push(token);
    }
    this.#end(ends);
    this.#check();
    if (!this.scheduler.idle || this.scheduler.snapshot().running > 0) return;
    this.#conserved();
  }

  #end(ends: readonly End[]): void {
    for (const end of ends) {
      assert(!this.ends.has(end.key), `drive: ${end.key} ended twice`);
      this.ends.set(end.key, end);
      this.engine.close(end.key);
      const { request, tokens, stopped } = defined(this.#expected.get(end.key), 'ended request');
      const produced = defined(this.produced.get(end.key), 'ended request');
      assert(end.generated === produced.length, `drive: ${end.key} counts ${end.generated}`);
      assert(end.promptTokens === request.prompt.length, 'drive: prompt tokens of an end');
      if (end.outcome.kind !== 'finished' || this.stopping.has(end.key)) continue;
      assert(produced.length === tokens.length, `drive: ${end.key} ended too early`);
      assert(end.outcome.reason === (stopped ? 'stop' : 'length'), 'drive: reason of an end');
    }
  }

  #check(): void {
    this.scheduler.check();
    const { running, cells } = this.scheduler.snapshot();
    assert(running <= this.#options.parallel, `drive: ${running} running`);
    assert(cells.free + cells.cached + cells.held === cells.total, 'drive: cells do not add up');
  }

  /** The ledger against the physical truth, at a moment when no operation is outstanding. */
  #conserved(): void {
    const { cells } = this.scheduler.snapshot();
    const used = this.engine.distinctCells;
    assert(used === cells.total - cells.free, `drive: ${used} in use, ${JSON.stringify(cells)}`);
  }
}
