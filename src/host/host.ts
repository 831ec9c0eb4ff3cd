/**
 * The one loop that joins scheduler and engine, and the single owner of both. While step N+1
 * computes, step N's tokens become text and leave; nothing between two steps waits for another
 * process.
 *
 *   plan ─► engine.step(N+1) starts ─► deliver(N) ─► … computing … ─► settle(N+1) ─► plan
 *
 * Promises: every submitted request gets exactly one `end`; after an engine error or a failed
 * assertion every open request ends as failed, and `failed` is called once.
 */
import type { Clock } from '../base/clock.ts';
import { type ErrorRecord, fromErrorRecord, toErrorRecord } from '../base/errors.ts';
import type { Engine } from '../engine/port.ts';
import type { RequestKey, StepPlan, StepResult } from '../scheduler/plan.ts';
import type { Planned, Scheduler, Settled } from '../scheduler/scheduler.ts';
import {
  type GenerateEvent,
  type GenerateRequest,
  NO_TIMINGS,
  NO_USAGE,
} from '../wire/generation.ts';
import type { Outcome } from '../wire/outcome.ts';
import type { LoadReport } from '../wire/report.ts';
import { promptTokens, refusalOf } from './admit.ts';
import { StepMeter } from './meter.ts';
import { HostRequest } from './request.ts';
import type { TurnGate } from './turn-gate.ts';

export interface HostEvent {
  readonly id: string;
  readonly event: GenerateEvent;
}

export interface HostOptions {
  readonly engine: Engine;
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly parallel: number;
  readonly queueMax: number;
  /** Whether a step may begin, where models share the machine's time. */
  readonly gate: TurnGate;
  /** Receives events in order, batched per turn of the loop. */
  readonly send: (events: readonly HostEvent[]) => void;
  /** The loop has stopped for good. Every request has had its end. */
  readonly failed: (error: ErrorRecord) => void;
}

/** Prompts being tokenised at the same time, beyond what may wait and run. */
const ARRIVING_EXTRA = 16;
const EXPIRY_POLL_MS = 100;

export class Host {
  readonly #options: HostOptions;
  readonly #requests = new Map<RequestKey, HostRequest>();
  readonly #keys = new Map<string, RequestKey>();
  /** Being tokenised; the value is how a cancel before acceptance ends it. */
  readonly #arriving = new Map<string, Outcome | null>();
  readonly #meter = new StepMeter();
  #outbox: HostEvent[] = [];
  /** What the last step produced, not delivered yet. */
  #undelivered: { settled: Settled; result: StepResult; at: number } | null = null;
  #nextKey = 1;
  #wake: (() => void) | null = null;
  #draining = false;
  #stopped = false;
  #idleWaiters: (() => void)[] = [];
  /** When the step in flight began; null between steps. */
  #steppingSince: number | null = null;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  /** Milliseconds that the step in flight has been computing; 0 between steps. */
  get stepAgeMs(): number {
    return this.#steppingSince === null ? 0 : this.#options.clock.now() - this.#steppingSince;
  }

  /** Runs until `close`; never rejects. */
  async run(): Promise<void> {
    try {
      while (!this.#stopped) await this.#turn();
    } catch (thrown) {
      const error = toErrorRecord(thrown);
      this.#failAll(error);
      this.#options.failed(error);
    }
  }

  async submit(id: string, request: GenerateRequest): Promise<void> {
    const arrivedAt = this.#options.clock.now();
    const refuse = (error: ErrorRecord): void => {
      this.#emit(id, endedEarly({ kind: 'refused', code: error.code }, error));
      this.#flush();
    };
    if (this.#stopped || this.#draining) {
      return refuse({ code: 'draining', message: 'the model is being unloaded' });
    }
    if (this.#arriving.size >= this.#options.parallel + this.#options.queueMax + ARRIVING_EXTRA) {
      const waiting = this.#arriving.size;
      const predictedWaitMs = this.#options.scheduler.predictWaitMs();
      const full = { kind: 'queue_full', waiting, predictedWaitMs } as const;
      return refuse(refusalOf(full, { promptTokens: 0, maxTokens: request.maxTokens }));
    }
    this.#arriving.set(id, null);
    try {
      const prompt = await promptTokens(this.#options.engine, request);
      const cancelled = this.#arriving.get(id) ?? null;
      this.#arriving.delete(id);
      if (cancelled !== null) this.#emit(id, endedEarly(cancelled, null));
      else this.#admit({ id, request, prompt, arrivedAt });
      this.#flush();
    } catch (thrown) {
      this.#arriving.delete(id);
      refuse(toErrorRecord(thrown));
    }
  }

  /** Ends a request as cancelled. Its end event is sent at once; unknown ids are ignored. */
  cancel(id: string, code: 'client_closed' | 'slow_reader'): void {
    const outcome: Outcome = { kind: 'cancelled', code };
    if (this.#arriving.has(id)) this.#arriving.set(id, outcome);
    const key = this.#keys.get(id);
    if (key === undefined) return;
    this.#requests.get(key)?.end(outcome, null);
    this.#options.scheduler.end(key, outcome);
    this.#flush();
    this.#wakeUp();
  }

  /** Takes nothing new; resolves when everything accepted has ended. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#requests.size + this.#arriving.size === 0) return;
    await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Stops the loop after the step in flight; open requests end as failed. */
  close(): void {
    this.#stopped = true;
    this.#failAll({ code: 'draining', message: 'the model was unloaded' });
    this.#options.gate.close();
    this.#wakeUp();
  }

  report(): LoadReport {
    const { scheduler, parallel, queueMax } = this.#options;
    const { waiting, running, cells, preemptions, ...tokens } = scheduler.snapshot();
    return {
      waiting: waiting + this.#arriving.size,
      running,
      runningMax: parallel,
      queueMax,
      predictedWaitMs: scheduler.predictWaitMs(),
      cells,
      steps: this.#meter.snapshot(),
      tokens,
      preemptions,
      memory: { rssBytes: process.memoryUsage.rss() },
    };
  }

  async #turn(): Promise<void> {
    const { scheduler, engine, clock, gate } = this.#options;
    const now = clock.now();
    const planned = scheduler.plan(now);
    for (const { key, cachedTokens } of planned.started) this.#start(key, cachedTokens, now);
    if (planned.step === null) {
      this.#deliver(planned);
      scheduler.check();
      this.#meter.idle();
      gate.idle();
      await this.#sleep();
      return;
    }
    const turn = this.#askFor(planned.step);
    if (turn !== undefined) {
      // The last step's text does not wait for a turn.
      this.#deliver(planned);
      await turn;
      this.#meter.idle();
      if (this.#stopped) return;
    }
    this.#steppingSince = clock.now();
    const computing = engine.step(planned.step);
    if (turn === undefined) this.#deliver(planned);
    const result = await computing;
    this.#steppingSince = null;
    gate.leave(result.kind === 'done' ? result.computeMs : 0);
    this.#settle(planned.step, result);
  }

  /** Cache operations alone take no time that is worth a turn. */
  #askFor({ slices, predictedMs }: StepPlan): Promise<void> | undefined {
    if (slices.length === 0) return undefined;
    return this.#options.gate.enter({ stepMs: predictedMs, leastMs: predictedMs });
  }

  #settle(step: StepPlan, result: StepResult): void {
    const at = this.#options.clock.now();
    const settled = this.#options.scheduler.settle(step, result, at);
    this.#undelivered = { settled, result, at };
    if (result.kind === 'done') this.#meter.step(step, result.computeMs, at);
  }

  #start(key: RequestKey, cachedTokens: number, now: number): void {
    const request = this.#requests.get(key);
    if (request === undefined) return;
    this.#options.engine.open(key, { sampling: request.sampling, prompt: request.prompt });
    request.started(now, cachedTokens);
  }

  /** Text of the last step's tokens, then the ends: of that step, and of the plan after it. */
  #deliver(planned: Planned): void {
    const last = this.#undelivered;
    this.#undelivered = null;
    if (last !== null && last.result.kind === 'done') {
      for (const score of last.result.scores) this.#requests.get(score.request)?.scored(score);
      for (const sample of last.settled.produced) {
        const stopped = this.#requests.get(sample.request)?.take(sample, last.at) ?? false;
        if (stopped) {
          this.#options.scheduler.end(sample.request, { kind: 'finished', reason: 'stop' });
        }
      }
    }
    for (const end of [...(last?.settled.ends ?? []), ...planned.ends]) {
      this.#close(end.key, end.outcome);
    }
    this.#flush();
  }

  #admit(arrival: {
    id: string;
    request: GenerateRequest;
    prompt: Int32Array;
    arrivedAt: number;
  }): void {
    const { id, request, prompt, arrivedAt } = arrival;
    const key = this.#nextKey;
    this.#nextKey += 1;
    const { maxTokens, deadlineMs } = request;
    // Made first: it refuses what is wrong with the request before the scheduler knows of it.
    const record = new HostRequest({
      id,
      key,
      request,
      prompt,
      arrivedAt,
      tokenBytes: (token) => this.#options.engine.tokenBytes(token),
      emit: (event) => this.#emit(id, event),
    });
    const admission = this.#options.scheduler.submit(
      { key, prompt, maxTokens, scorePrompt: request.promptLogprobs !== null, deadlineMs },
      arrivedAt,
    );
    if (admission.kind !== 'accepted') {
      const error = refusalOf(admission, { promptTokens: prompt.length, maxTokens });
      throw fromErrorRecord(error);
    }
    this.#requests.set(key, record);
    this.#keys.set(id, key);
    const { predictedWaitMs } = admission;
    this.#emit(id, { kind: 'accepted', promptTokens: prompt.length, predictedWaitMs });
    this.#wakeUp();
  }

  #close(key: RequestKey, outcome: Outcome): void {
    const request = this.#requests.get(key);
    if (request === undefined) return;
    request.end(outcome, null);
    this.#options.engine.close(key);
    this.#requests.delete(key);
    this.#keys.delete(request.id);
    if (this.#requests.size + this.#arriving.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #failAll(error: ErrorRecord): void {
    const outcome: Outcome = { kind: 'failed', code: error.code };
    for (const request of this.#requests.values()) request.end(outcome, error);
    for (const id of this.#arriving.keys()) this.#arriving.set(id, outcome);
    this.#flush();
  }

  #emit(id: string, event: GenerateEvent): void {
    this.#outbox.push({ id, event });
  }

  #flush(): void {
    if (this.#outbox.length === 0) return;
    const events = this.#outbox;
    this.#outbox = [];
    this.#options.send(events);
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
      // What waits expires by the clock, also when nothing else moves.
      const timer = this.#options.scheduler.idle ? undefined : setTimeout(wake, EXPIRY_POLL_MS);
      this.#wake = wake;
    });
  }

  #wakeUp(): void {
    this.#wake?.();
  }
}

function endedEarly(outcome: Outcome, error: ErrorRecord | null): GenerateEvent {
  return {
    kind: 'end',
    outcome,
    error,
    usage: NO_USAGE,
    timings: NO_TIMINGS,
    stopString: null,
  };
}
