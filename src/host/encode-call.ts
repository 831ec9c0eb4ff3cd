/**
 * One request of an encoder while it is here: its vectors as they come, its times, and the promise
 * that it settles exactly once.
 */
import { assert } from '../base/assert.ts';
import { PlenumError } from '../base/errors.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';

export class EncodeCall {
  readonly request: EncodeRequest;
  readonly arrivedAt: number;
  readonly reply: Promise<EncodeReply>;
  #resolve: (reply: EncodeReply) => void = () => undefined;
  #reject: (error: PlenumError) => void = () => undefined;
  #settled = false;
  #startedAt: number | null = null;
  #computeMs = 0;
  #values = new Float32Array(0);
  #width = 0;
  #missing: number;
  #tokenCounts: readonly number[] = [];

  constructor(request: EncodeRequest, arrivedAt: number) {
    this.request = request;
    this.arrivedAt = arrivedAt;
    this.#missing = request.inputs.length;
    this.reply = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get settled(): boolean {
    return this.#settled;
  }

  tokenised(tokenCounts: readonly number[]): void {
    this.#tokenCounts = tokenCounts;
  }

  /** A batch with an input of it begins. */
  started(now: number): void {
    this.#startedAt ??= now;
  }

  /** The row of one input. The last one settles the request. */
  take(index: number, row: Float32Array, computeMs: number): void {
    if (this.#settled) return;
    if (this.#width === 0) {
      this.#width = row.length;
      this.#values = new Float32Array(row.length * this.request.inputs.length);
    }
    assert(row.length === this.#width, `a row of ${row.length} after rows of ${this.#width}`);
    this.#values.set(row, index * this.#width);
    this.#computeMs += computeMs;
    this.#missing -= 1;
    if (this.#missing > 0) return;
    this.#settled = true;
    this.#resolve({
      values: this.#values,
      width: this.#width,
      tokenCounts: this.#tokenCounts,
      queueMs: (this.#startedAt ?? this.arrivedAt) - this.arrivedAt,
      computeMs: this.#computeMs,
    });
  }

  fail(error: PlenumError): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#reject(error);
  }

  /** Why it may not go on at `now`; null when it may. */
  expiry(now: number, waitMsMax: number): PlenumError | null {
    const hereMs = now - this.arrivedAt;
    const { deadlineMs, inputs } = this.request;
    if (deadlineMs !== null && hereMs >= deadlineMs) {
      const done = `${inputs.length - this.#missing} of ${inputs.length} inputs were computed`;
      const message = `the deadline of ${Math.round(deadlineMs)} ms passed; ${done}`;
      return new PlenumError('deadline_exceeded', message);
    }
    if (this.#startedAt !== null || hereMs < waitMsMax) return null;
    const message = `the request waited ${Math.round(hereMs)} ms; ${waitMsMax} are allowed`;
    return new PlenumError('wait_expired', message);
  }
}
