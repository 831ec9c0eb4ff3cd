/**
 * A host that encodes on the simulated engine, whose batches end when a test says so: no time
 * passes but the simulated one.
 */
import { ManualClock } from '../base/clock.ts';
import { type ErrorRecord, PlenumError } from '../base/errors.ts';
import type { Encoder } from '../engine/encoder.ts';
import { openSimEncoder } from '../engine/sim/encoder.ts';
import { OnlineStepTime } from '../planner/step-time.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';
import type { EncodeLimits, SimSpec } from '../wire/host.ts';
import { EncodeHost } from './encode-host.ts';
import { TurnGate } from './turn-gate.ts';

export const SPEC: SimSpec = {
  seed: 7,
  vocabSize: 1000,
  fixedMs: 1,
  perTokenMs: 1,
  perAttendedMs: 0,
  noise: 0,
  stepTokensMax: 64,
  faults: { crashAtStep: null, failAtStep: null, hangAtStep: null, failLoad: null },
};
const LIMITS: EncodeLimits = {
  batchTokensMax: 64,
  batchInputsMax: 8,
  inputsMax: 40,
  waitingTokensMax: 500,
};
export const SIZES = {
  contextTokens: 32,
  batchTokensMax: 64,
  batchInputsMax: 8,
  onProgress: () => undefined,
};
export const WAIT_MS_MAX = 10_000;

/** A host whose batches end when the test says so; each takes as long as its model says. */
export class EncodeBench {
  readonly clock = new ManualClock();
  readonly errors: ErrorRecord[] = [];
  /** Settled requests by key. */
  readonly done = new Map<number, EncodeReply | PlenumError>();
  readonly gate: TurnGate;
  readonly encoder: Encoder;
  readonly host: EncodeHost;
  /** Batches by the number of their inputs, as they begin. */
  readonly batches: number[] = [];
  #finish: (() => void)[] = [];
  #running: Promise<void>;

  static async open(
    options: { faults?: Partial<SimSpec['faults']>; limits?: Partial<EncodeLimits> } = {},
  ): Promise<EncodeBench> {
    const spec = { ...SPEC, faults: { ...SPEC.faults, ...options.faults } };
    let sleep = async (_ms: number): Promise<void> => undefined;
    const effects = { sleep: (ms: number) => sleep(ms), abort: () => undefined };
    const bench = new EncodeBench(await openSimEncoder(spec, SIZES, effects), {
      ...LIMITS,
      ...options.limits,
    });
    sleep = (ms) => bench.#sleep(ms);
    return bench;
  }

  constructor(encoder: Encoder, limits: EncodeLimits) {
    this.encoder = {
      facts: encoder.facts,
      tokenize: (input) => encoder.tokenize(input),
      encode: (task, batch) => {
        this.batches.push(batch.length);
        return encoder.encode(task, batch);
      },
      stats: () => encoder.stats(),
      shutdown: () => encoder.shutdown(),
    };
    this.gate = new TurnGate(() => undefined);
    this.host = new EncodeHost({
      encoder: this.encoder,
      time: new OnlineStepTime(encoder.facts.guess),
      clock: this.clock,
      gate: this.gate,
      limits,
      waitMsMax: WAIT_MS_MAX,
      failed: (error) => this.errors.push(error),
    });
    this.#running = this.host.run();
  }

  send(key: number, request: Partial<EncodeRequest>): void {
    const full: EncodeRequest = { task: 'embed', inputs: [], deadlineMs: null, ...request };
    const settle = (how: EncodeReply | PlenumError): void => {
      if (this.done.has(key)) throw new Error(`request ${key} settled twice`);
      this.done.set(key, how);
    };
    this.host.encode(key, full).then(settle, settle);
  }

  /** Lets everything happen that needs no time. */
  async calm(): Promise<void> {
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Ends the batch in flight. False when there is none. */
  async batch(): Promise<boolean> {
    await this.calm();
    const finish = this.#finish.shift();
    finish?.();
    await this.calm();
    return finish !== undefined;
  }

  async all(): Promise<void> {
    while (await this.batch());
  }

  reply(key: number): EncodeReply {
    const how = this.done.get(key);
    if (how === undefined || how instanceof PlenumError) throw new Error(`${key}: ${how?.message}`);
    return how;
  }

  code(key: number): string | null {
    const how = this.done.get(key);
    return how instanceof PlenumError ? how.code : null;
  }

  async close(): Promise<void> {
    this.host.close();
    for (const finish of this.#finish) finish();
    await this.#running;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#finish.push(() => {
        this.clock.advance(ms);
        resolve();
      });
    });
  }
}
