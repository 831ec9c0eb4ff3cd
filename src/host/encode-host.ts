/**
 * The loop of a host that encodes, and the single owner of its encoder. Requests are tokenised and
 * checked as they arrive, also while a batch computes; batches are formed across requests.
 *
 *   encode() ─► tokenise ─► check ─► queue ─► batch ─► encoder ─► rows to their requests
 *
 * Promises: the promise of every request settles exactly once; after an engine error or a failed
 * assertion every open request fails, and `failed` is called once.
 */
import { assert } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import {
  type ErrorRecord,
  fromErrorRecord,
  PlenumError,
  toErrorRecord,
  toPlenumError,
} from '../base/errors.ts';
import type { EncodedBatch, Encoder } from '../engine/encoder.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';
import type { EncodeLimits } from '../wire/host.ts';
import type { LoadReport } from '../wire/report.ts';
import type { TurnNeed } from '../wire/turn.ts';
import { EncodeCall } from './encode-call.ts';
import { checkLength, checkRequest } from './encode-check.ts';
import { Pace } from './encode-pace.ts';
import { type BatchShape, type EncodeBatch, type EncodeKey, EncodeQueue } from './encode-queue.ts';
import { StepMeter } from './meter.ts';
import type { TurnGate } from './turn-gate.ts';

/** Learns how long a batch takes; planner/step-time.ts. */
export interface BatchTime {
  predictMs(shape: BatchShape): number;
  observe(shape: BatchShape, measuredMs: number): void;
}

export interface EncodeHostOptions {
  readonly encoder: Encoder;
  readonly time: BatchTime;
  readonly clock: Clock;
  /** Whether a batch may begin and how long it may take, where models share the machine's time. */
  readonly gate: TurnGate;
  readonly limits: EncodeLimits;
  /** Longest wait before the first batch. */
  readonly waitMsMax: number;
  /** The loop has stopped for good. Every request has been settled. */
  readonly failed: (error: ErrorRecord) => void;
}

/**
 * Of the longest wait, the part up to which a predicted one is let in: when a stream of a chat
 * model begins beside a flood, the flood goes on at 0.7 of its speed, and what had been let in
 * before must not expire.
 */
const TAKEN_PART = 0.7;
/** Texts of one request in the tokeniser at the same time. */
const TOKENISING_MAX = 8;

export class EncodeHost {
  readonly #options: EncodeHostOptions;
  readonly #queue: EncodeQueue;
  readonly #calls = new Map<EncodeKey, EncodeCall>();
  readonly #meter = new StepMeter();
  readonly #pace = new Pace();
  /** When the last batch ended; null after a sleep. */
  #endedAt: number | null = null;
  /** Inputs of requests that are still being tokenised. */
  #arriving = 0;
  #computing: { batch: EncodeBatch; since: number; predictedMs: number } | null = null;
  #tokensComputed = 0;
  #wake: (() => void) | null = null;
  #draining = false;
  #stopped = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: EncodeHostOptions) {
    const { batchTokensMax, batchInputsMax } = options.encoder.facts;
    const limits = {
      ...options.limits,
      batchTokensMax: Math.min(options.limits.batchTokensMax, batchTokensMax),
      batchInputsMax: Math.min(options.limits.batchInputsMax, batchInputsMax),
    };
    this.#options = { ...options, limits };
    this.#queue = new EncodeQueue(limits);
  }

  /** Milliseconds that the batch in flight has been computing; 0 between batches. */
  get stepAgeMs(): number {
    return this.#computing === null ? 0 : this.#options.clock.now() - this.#computing.since;
  }

  /** Runs until `close`; never rejects. */
  async run(): Promise<void> {
    try {
      while (!this.#stopped) await this.#turn();
    } catch (thrown) {
      this.#stopped = true;
      const error = toErrorRecord(thrown);
      this.#failAll(error);
      this.#options.failed(error);
    }
  }

  /**
   * `key` names the request for `cancel`. Rejects with PlenumError: wrong_endpoint,
   * invalid_request, context_length_exceeded, queue_full, wait_expired, deadline_exceeded,
   * client_closed, draining, engine_failed.
   */
  encode(key: EncodeKey, request: EncodeRequest): Promise<EncodeReply> {
    assert(!this.#calls.has(key), `request ${key} came twice`);
    const call = new EncodeCall(request, this.#options.clock.now());
    try {
      this.#door(request);
      this.#calls.set(key, call);
      this.#arrive(key, call).catch((thrown) => this.#end(key, toPlenumError(thrown)));
    } catch (thrown) {
      call.fail(toPlenumError(thrown));
    }
    return call.reply;
  }

  /** Ends a request as cancelled; unknown ones are ignored. */
  cancel(key: EncodeKey): void {
    this.#end(key, new PlenumError('client_closed', 'the client went away'));
  }

  /** Takes nothing new; resolves when everything accepted is settled. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#calls.size === 0) return;
    await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Stops the loop after the batch in flight; open requests fail. */
  close(): void {
    this.#stopped = true;
    this.#failAll({ code: 'draining', message: 'the model was unloaded' });
    this.#options.gate.close();
    this.#wake?.();
  }

  report(): LoadReport {
    const { limits } = this.#options;
    return {
      waiting: this.#queue.inputs + this.#arriving,
      running: this.#computing?.batch.inputs.length ?? 0,
      runningMax: limits.batchInputsMax,
      queueMax: limits.inputsMax,
      predictedWaitMs: this.#predictWaitMs(),
      cells: { total: 0, free: 0, cached: 0, held: 0 },
      steps: this.#meter.snapshot(),
      tokens: { promptCached: 0, promptComputed: this.#tokensComputed, generated: 0 },
      preemptions: 0,
      memory: { rssBytes: process.memoryUsage.rss() },
    };
  }

  /** What can be said before a text is tokenised. */
  #door(request: EncodeRequest): void {
    if (this.#stopped || this.#draining) {
      throw new PlenumError('draining', 'the model is being unloaded');
    }
    checkRequest(this.#options.encoder.facts, request);
    const { inputsMax } = this.#options.limits;
    const { length } = request.inputs;
    if (length > inputsMax) {
      throw new PlenumError(
        'invalid_request',
        `the request has ${length} inputs; one may have ${inputsMax}: send several requests`,
        { details: { inputs: length, inputsMax } },
      );
    }
    const waiting = this.#queue.inputs + this.#arriving;
    if (waiting + length <= inputsMax) return;
    const sum = `${waiting} inputs wait and ${length} more would come`;
    throw this.#full(`${sum}; ${inputsMax} may wait`, { waiting, inputs: length, inputsMax });
  }

  async #arrive(key: EncodeKey, call: EncodeCall): Promise<void> {
    const { inputs, task } = call.request;
    this.#arriving += inputs.length;
    let tokens: Int32Array[];
    try {
      tokens = await this.#tokenise(call);
    } finally {
      this.#arriving -= inputs.length;
    }
    if (call.settled) return;
    const { clock, waitMsMax } = this.#options;
    const expired = call.expiry(clock.now(), waitMsMax);
    if (expired !== null) throw expired;
    this.#admit(tokens);
    call.tokenised(tokens.map(({ length }) => length));
    this.#queue.add(key, task, tokens);
    this.#wake?.();
  }

  /** All inputs, some at a time. Stops early when the request has ended meanwhile. */
  async #tokenise(call: EncodeCall): Promise<Int32Array[]> {
    const { encoder } = this.#options;
    const { inputs, task } = call.request;
    const tokens: Int32Array[] = [];
    for (let from = 0; from < inputs.length && !call.settled; from += TOKENISING_MAX) {
      const some = inputs.slice(from, from + TOKENISING_MAX);
      const found = await Promise.all(some.map((input) => encoder.tokenize(input)));
      for (const [i, own] of found.entries()) {
        checkLength(encoder.facts, { tokens: own, task, i: from + i });
        tokens.push(own);
      }
    }
    return tokens;
  }

  #admit(inputs: readonly Int32Array[]): void {
    const { limits, waitMsMax } = this.#options;
    const waiting = this.#queue.tokens;
    const tokens = inputs.reduce((sum, { length }) => sum + length, 0);
    if (waiting > 0 && waiting + tokens > limits.waitingTokensMax) {
      const sum = `${waiting} tokens wait and ${tokens} more would come`;
      const details = { waiting, tokens, waitingTokensMax: limits.waitingTokensMax };
      throw this.#full(`${sum}; ${limits.waitingTokensMax} may wait`, details);
    }
    const waitMs = this.#predictWaitMs();
    const takenMsMax = TAKEN_PART * waitMsMax;
    if (waitMs <= takenMsMax) return;
    const message =
      `the predicted wait is ${Math.ceil(waitMs)} ms; requests are taken up to ` +
      `${Math.round(takenMsMax)} ms, so that none waits for ${waitMsMax}`;
    throw this.#full(message, { predictedWaitMs: Math.round(waitMs), waitMsMax });
  }

  #full(message: string, details: Record<string, number>): PlenumError {
    const retryAfterMs = Math.max(1000, this.#predictWaitMs());
    return new PlenumError('queue_full', message, { details, retryAfterMs });
  }

  async #turn(): Promise<void> {
    const { clock, gate, time } = this.#options;
    this.#expire(clock.now());
    if (this.#queue.inputs === 0) {
      this.#meter.idle();
      gate.idle();
      this.#endedAt = null;
      await this.#sleep();
      return;
    }
    const from = this.#endedAt ?? clock.now();
    const turn = gate.enter(this.#need());
    if (turn !== undefined) {
      await turn;
      this.#meter.idle();
      if (this.#stopped) return;
      this.#expire(clock.now());
    }
    // Who waited for the turn may have gone meanwhile.
    const { roomMs } = gate;
    const batch = this.#queue.take((shape) => time.predictMs(shape) <= roomMs);
    const computeMs = batch === null ? 0 : await this.#compute(batch);
    gate.leave(computeMs);
    if (batch === null) return;
    this.#endedAt = clock.now();
    this.#pace.batch(this.#endedAt - from, time.predictMs(batch));
  }

  async #compute(batch: EncodeBatch): Promise<number> {
    const { clock, encoder, time } = this.#options;
    const since = clock.now();
    const predictedMs = time.predictMs(batch);
    for (const { key } of batch.inputs) this.#calls.get(key)?.started(since);
    this.#computing = { batch, since, predictedMs };
    const tokens = batch.inputs.map((input) => input.tokens);
    const result = await encoder.encode(batch.task, tokens);
    this.#computing = null;
    this.#settle(batch, result, predictedMs);
    return result.computeMs;
  }

  /** The batch that would be formed now, and the smallest that could be: one input. */
  #need(): TurnNeed {
    const { time, limits } = this.#options;
    const full = Math.min(this.#queue.tokens, limits.batchTokensMax);
    const one = this.#queue.headTokens;
    const predictMs = (tokens: number): number =>
      time.predictMs({ tokens, attended: one * tokens });
    return { stepMs: predictMs(Math.max(full, one)), leastMs: predictMs(one) };
  }

  #settle(batch: EncodeBatch, result: EncodedBatch, predictedMs: number): void {
    const { values, width, computeMs } = result;
    assert(values.length === width * batch.inputs.length, 'a row for every input of the batch');
    this.#options.time.observe(batch, computeMs);
    this.#tokensComputed += batch.tokens;
    this.#meter.step({ slices: batch.inputs, predictedMs }, computeMs, this.#options.clock.now());
    for (const [i, { key, index, tokens }] of batch.inputs.entries()) {
      const call = this.#calls.get(key);
      if (call === undefined) continue;
      const share = (computeMs * tokens.length) / batch.tokens;
      call.take(index, values.subarray(i * width, (i + 1) * width), share);
      if (call.settled) this.#forget(key);
    }
  }

  /** A request that arrives now is in the batch after those that wait have had one input each. */
  #predictWaitMs(): number {
    const { time, limits } = this.#options;
    const inFlight = this.#computing;
    const restMs = inFlight === null ? 0 : Math.max(0, inFlight.predictedMs - this.stepAgeMs);
    const { inputs, tokens, attended } = this.#queue.ahead();
    if (inputs === 0) return restMs;
    const batches = Math.ceil(
      Math.max(tokens / limits.batchTokensMax, inputs / limits.batchInputsMax),
    );
    const each = time.predictMs({ tokens: tokens / batches, attended: attended / batches });
    return restMs + batches * each * this.#pace.factor;
  }

  #expire(now: number): void {
    for (const [key, call] of this.#calls) {
      const error = call.expiry(now, this.#options.waitMsMax);
      if (error !== null) this.#end(key, error);
    }
  }

  #end(key: EncodeKey, error: PlenumError): void {
    this.#calls.get(key)?.fail(error);
    this.#queue.remove(key);
    this.#forget(key);
  }

  #forget(key: EncodeKey): void {
    this.#calls.delete(key);
    if (this.#calls.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #failAll(error: ErrorRecord): void {
    for (const key of [...this.#calls.keys()]) this.#end(key, fromErrorRecord(error));
  }

  /** Until a request is queued, or the loop is to stop. What is being tokenised looks to itself. */
  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = null;
        resolve();
      };
    });
  }
}
