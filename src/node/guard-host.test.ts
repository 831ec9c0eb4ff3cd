/** A guard on a real host process with the simulated engine: what the watched tokens come back as. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { ENCODE_LIMITS } from '../wire/host.ts';
import { NO_PREFIXES } from '../wire/model-info.ts';
import { Node, type ServedModel } from './node.ts';

const model: ServedModel = {
  id: 'judge',
  aliases: [],
  description: 'simulated',
  class: 'guard',
  synthetic: true,
  inputPrefixes: NO_PREFIXES,
  samplingDefaults: {},
  guard: null,
  judging: { activation: 'auto', safeLabels: null, threshold: 0.5 },
  chatTemplate: null,
  specials: [],
  spec: {
    modelId: 'judge',
    role: 'generate',
    engine: {
      kind: 'sim',
      sim: {
        seed: 1,
        vocabSize: 4096,
        fixedMs: 0,
        perTokenMs: 0,
        perAttendedMs: 0,
        noise: 0,
        stepTokensMax: 512,
        faults: { crashAtStep: null, failAtStep: null, hangAtStep: null, failLoad: null },
      },
    },
    contextTokens: 2048,
    parallel: 4,
    cells: 8192,
    queueMax: 16,
    waitMsMax: 60_000,
    stepTargetMs: null,
    prefixCache: true,
    heartbeatMs: 1000,
    encode: ENCODE_LIMITS,
  },
};

let node: Node;
beforeAll(async () => {
  await new Promise<void>((resolve, reject) => {
    node = new Node({
      models: [model],
      clock: systemClock,
      onChange: (_, change) => {
        if (change.kind === 'ready') resolve();
        if (change.kind === 'died') reject(new Error(change.error.message));
      },
    });
    node.start();
  });
}, 30_000);
afterAll(() => node.drain(1000));

const judge = (content: string, signal = new AbortController().signal) =>
  node.judge({
    requestId: 'r',
    model: 'judge',
    subject: { kind: 'input', messages: [{ role: 'user', content }] },
    detail: true,
    deadlineMs: null,
    signal,
  });

test('a verdict is a probability, the same each time, of one generated token', async () => {
  const first = await judge('is this fine?');
  expect(first.score).toBeGreaterThan(0);
  expect(first.score).toBeLessThan(1);
  expect(first.promptTokens).toBeGreaterThan(20);
  expect(await judge('is this fine?')).toEqual(first);
  expect(node.status()[0]?.model).toMatchObject({ class: 'guard', encoder: null });
});

test('a text that is far too long is judged in parts', async () => {
  const verdict = await judge('some words '.repeat(2000));
  expect(verdict.promptTokens).toBeGreaterThan(4000);
});

test('an aborted judgement is rejected', async () => {
  const aborter = new AbortController();
  aborter.abort();
  await expect(judge('x', aborter.signal)).rejects.toThrow();
});

test('a model that generates has no vectors', async () => {
  const { signal } = new AbortController();
  const encoded = node.encode({
    requestId: 'r',
    model: 'judge',
    task: 'embed',
    inputs: [{ kind: 'text', text: 'x' }],
    deadlineMs: null,
    signal,
  });
  await expect(encoded).rejects.toMatchObject({ code: 'wrong_endpoint' });
});
