import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { type ErrorRecord, PlenumError } from '../base/errors.ts';
import type { Encoder } from '../engine/encoder.ts';
import { openSimEncoder } from '../engine/sim/encoder.ts';
import { OnlineStepTime } from '../planner/step-time.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';
import type { EncodeLimits, SimSpec } from '../wire/host.ts';
import { EncodeHost } from './encode-host.ts';
import { TurnGate } from './turn-gate.ts';

const SPEC: SimSpec = {
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
const SIZES = {
  contextTokens: 32,
  batchTokensMax: 64,
  batchInputsMax: 8,
  onProgress: () => undefined,
};
const WAIT_MS_MAX = 10_000;

/** A host whose batches end when the test says so; each takes as long as its model says. */
class Bench {
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
  ): Promise<Bench> {
    const spec = { ...SPEC, faults: { ...SPEC.faults, ...options.faults } };
    let sleep = async (_ms: number): Promise<void> => undefined;
    const effects = { sleep: (ms: number) => sleep(ms), abort: () => undefined };
    const bench = new Bench(await openSimEncoder(spec, SIZES, effects), {
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

const opened: Bench[] = [];
const open = async (...options: Parameters<typeof Bench.open>): Promise<Bench> => {
  const bench = await Bench.open(...options);
  opened.push(bench);
  return bench;
};
afterEach(() => Promise.all(opened.splice(0).map((bench) => bench.close())));

const tokens = (length: number, from = 300): EncodeRequest['inputs'][number] => ({
  kind: 'tokens',
  tokens: Int32Array.from({ length }, (_, i) => from + i),
});
const many = (count: number, length = 4): EncodeRequest['inputs'] =>
  Array.from({ length: count }, (_, i) => tokens(length, 300 + i));

describe('requests', () => {
  it('get a row per input, in order, as the encoder gives it', async () => {
    const bench = await open();
    const inputs = many(20);
    bench.send(1, { inputs });
    await bench.all();
    const reply = bench.reply(1);
    expect(reply.tokenCounts).toEqual(inputs.map(() => 4));
    const lone = await openSimEncoder({ ...SPEC, fixedMs: 0, perTokenMs: 0 }, SIZES);
    for (const [i, input] of inputs.entries()) {
      const { values } = await lone.encode('embed', [await lone.tokenize(input)]);
      expect(reply.values.slice(i * reply.width, (i + 1) * reply.width)).toEqual(values);
    }
  });

  it('share batches, and pay for their part of them', async () => {
    const bench = await open();
    bench.send(1, { inputs: [tokens(10)] });
    await bench.calm();
    bench.send(2, { inputs: [tokens(6)] });
    bench.send(3, { inputs: [tokens(2)] });
    await bench.all();
    expect(bench.batches).toEqual([1, 2]);
    expect(bench.reply(1)).toMatchObject({ queueMs: 0, computeMs: 11 });
    expect(bench.reply(2)).toMatchObject({ queueMs: 11, computeMs: (9 * 6) / 8 });
    expect(bench.reply(3)).toMatchObject({ queueMs: 11, computeMs: (9 * 2) / 8 });
  });

  it('are tokenised while a batch computes', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(1) });
    await bench.calm();
    bench.send(2, { inputs: many(3) });
    await bench.calm();
    expect(bench.host.report()).toMatchObject({ running: 1, waiting: 3 });
    await bench.all();
  });

  it('of one input do not wait for all of a large one', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(40, 8) });
    await bench.calm();
    bench.host.report();
    bench.send(2, { task: 'rank', inputs: [{ kind: 'pair', query: 'a', document: 'b' }] });
    bench.send(3, { inputs: [] });
    await bench.batch();
    await bench.batch();
    await bench.batch();
    expect([...bench.done.keys()].sort()).toEqual([2, 3]);
    await bench.all();
    expect(bench.reply(1).tokenCounts).toHaveLength(40);
  });

  it('of all tasks are served where the model has them', async () => {
    const bench = await open();
    bench.send(1, { inputs: [{ kind: 'text', text: ' time' }] });
    bench.send(2, { task: 'classify', inputs: [{ kind: 'text', text: ' time' }] });
    const pair = { kind: 'pair', query: ' time', document: ' time' } as const;
    bench.send(3, { task: 'rank', inputs: [pair, { ...pair, document: ' water' }] });
    await bench.all();
    expect([1, 2, 3].map((key) => bench.reply(key).width)).toEqual([64, 2, 1]);
    const [same = 0, other = 0] = bench.reply(3).values;
    expect(same).toBeGreaterThan(other);
  });
});

describe('what cannot be computed', () => {
  const refused = async (request: Partial<EncodeRequest>): Promise<PlenumError> => {
    const bench = await open();
    bench.send(1, request);
    await bench.calm();
    expect(bench.batches).toEqual([]);
    const how = bench.done.get(1);
    if (how instanceof PlenumError) return how;
    throw new Error('it was not refused');
  };
  const text = (value: string) => ({ kind: 'text', text: value }) as const;

  it('is refused when an input is too long, with the numbers', async () => {
    expect(await refused({ inputs: [tokens(3), tokens(40)] })).toMatchObject({
      code: 'context_length_exceeded',
      message: 'input 1 is 40 tokens long; the model takes 32 at most (8 fewer are needed)',
      param: 'input[1]',
      details: { contextTokens: 32, promptTokens: 40, input: 1 },
    });
    const pair = { kind: 'pair', query: 'q', document: 'd'.repeat(40) } as const;
    expect(await refused({ task: 'rank', inputs: [pair] })).toMatchObject({
      code: 'context_length_exceeded',
      param: 'documents[0]',
    });
  });

  it('is refused when there is nothing to compute', async () => {
    const invalid = { code: 'invalid_request' };
    expect(await refused({ inputs: [] })).toMatchObject(invalid);
    expect(await refused({ inputs: [text('')] })).toMatchObject({ ...invalid, param: 'input[0]' });
    expect(await refused({ inputs: [tokens(0)] })).toMatchObject(invalid);
    const pair = { kind: 'pair', query: '', document: 'd' } as const;
    expect(await refused({ task: 'rank', inputs: [pair] })).toMatchObject(invalid);
  });

  it('is refused when an input does not suit the task or the vocabulary', async () => {
    const pair = { kind: 'pair', query: 'q', document: 'd' } as const;
    expect((await refused({ inputs: [pair] })).message).toMatch(/is a pair/);
    expect((await refused({ task: 'rank', inputs: [text('q')] })).message).toMatch(/no query/);
    expect((await refused({ inputs: [tokens(1, 1000)] })).message).toMatch(/token 1000/);
    expect((await refused({ inputs: many(41) })).message).toMatch(/41 inputs; one may have 40/);
  });

  it('is refused when too much waits, with when to try again', async () => {
    const bench = await open({ limits: { waitingTokensMax: 100 } });
    bench.send(1, { inputs: many(1) });
    await bench.calm();
    bench.send(2, { inputs: many(20, 8) });
    await bench.calm();
    bench.send(3, { inputs: many(1) });
    bench.send(4, { inputs: many(21) });
    await bench.calm();
    expect(bench.done.get(3)).toMatchObject({
      code: 'queue_full',
      message: '160 tokens wait and 4 more would come; 100 may wait',
      retryAfterMs: 1000,
    });
    expect(bench.done.get(4)).toMatchObject({
      code: 'queue_full',
      message: '21 inputs wait and 21 more would come; 40 may wait',
    });
    await bench.all();
    expect(bench.reply(2).tokenCounts).toHaveLength(20);
  });
});

describe('ends', () => {
  it('come at once for who cancels, whatever state it is in', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(30) });
    bench.host.cancel(1);
    bench.send(2, { inputs: many(9) });
    await bench.calm();
    bench.send(3, { inputs: many(3) });
    await bench.calm();
    bench.host.cancel(2);
    bench.host.cancel(3);
    bench.host.cancel(77);
    await bench.calm();
    expect([1, 2, 3].map((key) => bench.code(key))).toEqual(Array(3).fill('client_closed'));
    expect(bench.host.report().waiting).toBe(0);
    bench.send(4, { inputs: many(1) });
    await bench.all();
    expect(bench.batches).toEqual([8, 1]);
    expect(bench.reply(4).tokenCounts).toEqual([4]);
  });

  it('come with the deadline, and when the wait was too long', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(9), deadlineMs: 20 });
    await bench.calm();
    bench.send(2, { inputs: many(1), deadlineMs: 1e6 });
    bench.clock.advance(WAIT_MS_MAX);
    await bench.batch();
    expect(bench.done.get(1)).toMatchObject({
      code: 'deadline_exceeded',
      message: 'the deadline of 20 ms passed; 8 of 9 inputs were computed',
    });
    expect(bench.code(2)).toBe('wait_expired');
  });

  it('come for all when the engine fails, and nothing is taken after', async () => {
    const bench = await open({ faults: { failAtStep: 2 } });
    bench.send(1, { inputs: many(9) });
    await bench.calm();
    bench.send(2, { inputs: many(1) });
    await bench.all();
    bench.send(3, { inputs: many(1) });
    await bench.calm();
    expect([1, 2, 3].map((key) => bench.code(key))).toEqual([
      'engine_failed',
      'engine_failed',
      'draining',
    ]);
    expect(bench.errors).toMatchObject([{ code: 'engine_failed' }]);
  });

  it('of a drain come when everything accepted is computed', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(9) });
    let drained = false;
    const draining = bench.host.drain().then(() => {
      drained = true;
    });
    bench.send(2, { inputs: many(1) });
    await bench.batch();
    expect([drained, bench.code(2)]).toEqual([false, 'draining']);
    await bench.all();
    await draining;
    expect(bench.reply(1).tokenCounts).toHaveLength(9);
    await bench.host.drain();
  });

  it('come once for each, whatever arrives, is cancelled, expires or fails', async () => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('send' as const),
        inputs: fc.integer({ min: 0, max: 12 }),
        length: fc.integer({ min: 0, max: 34 }),
        deadlineMs: fc.option(fc.integer({ max: 200, min: 1 })),
      }),
      fc.record({ kind: fc.constant('cancel' as const), of: fc.nat(20) }),
      fc.record({ kind: fc.constant('batch' as const) }),
    );
    const failAtStep = fc.option(fc.integer({ min: 1, max: 9 }));
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 25 }), failAtStep, async (actions, fail) => {
        const bench = await open({ faults: { failAtStep: fail } });
        let sent = 0;
        for (const act of actions) {
          if (act.kind === 'cancel') bench.host.cancel(act.of);
          else if (act.kind === 'batch') await bench.batch();
          else
            bench.send(sent++, {
              inputs: many(act.inputs, act.length),
              deadlineMs: act.deadlineMs,
            });
        }
        await bench.all();
        expect(bench.done.size).toBe(sent);
        const { waiting, running } = bench.host.report();
        expect([waiting, fail === null ? running : 0]).toEqual([0, 0]);
      }),
      { numRuns: 40 },
    );
  });
});

describe('a report', () => {
  it('counts inputs, batches and tokens, and says how long a wait would be', async () => {
    const bench = await open();
    expect(bench.host.report()).toMatchObject({ predictedWaitMs: 0, runningMax: 8, queueMax: 40 });
    bench.send(1, { inputs: many(10) });
    await bench.calm();
    bench.clock.advance(3);
    expect(bench.host.stepAgeMs).toBe(3);
    // 33 ms for the batch of 32 tokens, of which 3 are over; then 5 for one of 4.
    expect(bench.host.report().predictedWaitMs).toBeCloseTo(30 + 5);
    expect(bench.host.report()).toMatchObject({ waiting: 2, running: 8 });
    await bench.all();
    expect(bench.host.report()).toMatchObject({
      waiting: 0,
      running: 0,
      steps: { count: 2 },
      tokens: { promptComputed: 40, promptCached: 0, generated: 0 },
    });
    expect(bench.host.stepAgeMs).toBe(0);
  });
});

describe('where models share the time', () => {
  it('a batch waits for its turn, and shrinks to what the licence has left', async () => {
    const bench = await open();
    bench.gate.order({ type: 'turn', order: 'hold' });
    bench.send(1, { inputs: many(8) });
    await bench.calm();
    expect(bench.batches).toEqual([]);
    bench.gate.order({ type: 'turn', order: 'go', turn: 1, ms: 18 });
    await bench.batch();
    expect(bench.batches).toEqual([4]);
    bench.gate.order({ type: 'turn', order: 'go', turn: 2, ms: Infinity });
    await bench.all();
    expect(bench.batches).toEqual([4, 4]);
  });

  it('a turn of which nobody is left has no batch', async () => {
    const bench = await open();
    bench.gate.order({ type: 'turn', order: 'hold' });
    bench.send(1, { inputs: many(2) });
    await bench.calm();
    bench.host.cancel(1);
    bench.gate.order({ type: 'turn', order: 'go', turn: 1, ms: 10 });
    await bench.calm();
    expect([bench.code(1), bench.batches]).toEqual(['client_closed', []]);
  });
});
