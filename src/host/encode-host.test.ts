/** The loop of a host that encodes, batch by batch, on the simulated encoder. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import { openSimEncoder } from '../engine/sim/encoder.ts';
import type { EncodeRequest } from '../wire/encode.ts';
import { EncodeBench, SIZES, SPEC, WAIT_MS_MAX } from './encode-fixture.ts';

const opened: EncodeBench[] = [];
const open = async (...options: Parameters<typeof EncodeBench.open>): Promise<EncodeBench> => {
  const bench = await EncodeBench.open(...options);
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

describe('a wait', () => {
  it('is predicted by the clock: what passes between batches is in it', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(40) });
    await bench.calm();
    const before = bench.host.report().predictedWaitMs;
    bench.clock.advance(5000);
    await bench.batch();
    expect(bench.host.report().predictedWaitMs).toBeGreaterThan(10 * before);
  });

  it('that would be too long at the pace so far is refused at once', async () => {
    const bench = await open();
    bench.send(1, { inputs: many(1) });
    await bench.calm();
    bench.send(2, { inputs: many(24) });
    await bench.calm();
    bench.clock.advance(9000);
    await bench.batch();
    bench.send(3, { inputs: many(1) });
    await bench.calm();
    expect(bench.done.get(3)).toMatchObject({
      code: 'queue_full',
      message: expect.stringMatching(/taken up to 7000 ms, so that none waits for 10000$/),
      retryAfterMs: expect.closeTo(9000, -2),
    });
    await bench.all();
    expect(bench.reply(2).tokenCounts).toHaveLength(24);
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
