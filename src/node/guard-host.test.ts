/**
 * Guards on real host processes: watched tokens of the simulated engine, labels of a classifier.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { writeTinyBert } from '../engine/llama/encoder-fixture.ts';
import { footprintOf } from '../pool/footprint.ts';
import { NO_FLOORS } from '../pool/ledger.ts';
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
  keeping: { pinned: false, preload: 'must', priority: 0, ttlMs: null },
  items: [{ name: 'host process', bytes: 1, source: 'test' }],
  wish: null,
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

/** A classifier of random weights. */
function classifier(path: string): ServedModel {
  const engine = { kind: 'llama', path, threads: 1, gpuLayers: 0 } as const;
  return {
    ...model,
    id: 'labels',
    spec: {
      ...model.spec,
      modelId: 'labels',
      role: 'encode',
      contextTokens: 128,
      engine: { ...engine, cacheType: 'f16', stepTokensMax: 128 },
    },
  };
}

let node: Node;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-guard-'));
  const path = join(folder, 'labels.gguf');
  await writeTinyBert(path, ['safe', 'toxic', 'spam']);
  await new Promise<void>((resolve, reject) => {
    let waiting = 2;
    node = new Node({
      models: [model, classifier(path)],
      clock: systemClock,
      memory: {
        availableBytes: 2,
        availableSource: 'test',
        floors: NO_FLOORS,
        footprintOf,
        pressure: () => Promise.resolve(null),
      },
      onEvent: () => undefined,
      onChange: (_, change) => {
        if (change.kind === 'ready') waiting -= 1;
        if (waiting === 0) resolve();
        if (change.kind === 'died') reject(new Error(change.error.message));
      },
    });
    node.start();
  });
}, 60_000);
afterAll(async () => {
  await node.drain(1000);
  await rm(folder, { recursive: true, force: true });
});

const judge = (content: string, signal = new AbortController().signal, name = 'judge') =>
  node.judge({
    requestId: 'r',
    model: name,
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

test('a classifier’s labels are its categories, harmless ones left out', async () => {
  const { signal } = new AbortController();
  const verdict = await judge('what a lovely day', signal, 'labels');
  expect(verdict.categories.map(({ name }) => name)).toEqual(['toxic', 'spam']);
  const sum = verdict.categories.reduce((total, { score }) => total + score, 0);
  expect(verdict.score).toBeCloseTo(sum, 6);
  expect(verdict.score).toBeGreaterThan(0);
  expect(verdict.score).toBeLessThan(1);
  expect(verdict.promptTokens).toBeGreaterThan(3);
  const long = await judge('several lovely days '.repeat(300), signal, 'labels');
  expect(long.promptTokens).toBeGreaterThan(500);
  expect(node.status()[1]?.model.encoder?.labels).toEqual(['safe', 'toxic', 'spam']);
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
