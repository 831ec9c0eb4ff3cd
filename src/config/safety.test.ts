/** Guards, judging, prefixes and sampling in plenum.yaml. */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConfigFolder } from './fixture.ts';
import { NO_FLAGS } from './layers.ts';
import { loadConfig } from './load.ts';

let folder: ConfigFolder;
beforeEach(() => {
  folder = new ConfigFolder();
});
afterEach(() => folder.remove());

const GUARDED = `
models:
  - model: starter
    id: chat
    sampling: {temperature: 0.7, top_k: 40}
    guard: {model: judge, action: annotate, threshold: 0.8}
  - model: 'sim:'
    id: judge
    class: guard
    moderation: {threshold: 0.6, activation: sigmoid, safe_labels: [ok]}
  - model: 'sim:seed=2'
    id: vectors
    class: embed
    embedding: {query_prefix: 'query: ', document_prefix: ''}
`;

test('what is said of a model reaches it, the rest is a default', () => {
  const { config } = folder.load({ yaml: GUARDED });
  expect(config.models).toMatchObject([
    {
      class: null,
      samplingDefaults: { temperature: 0.7, topK: 40 },
      guard: {
        model: 'judge',
        input: true,
        output: true,
        action: 'annotate',
        threshold: 0.8,
        windowTokens: 32,
        timeoutMs: 15_000,
      },
    },
    {
      class: 'guard',
      guard: null,
      judging: { threshold: 0.6, activation: 'sigmoid', safeLabels: ['ok'] },
    },
    {
      class: 'embed',
      inputPrefixes: { query: 'query: ', document: '' },
      judging: { threshold: 0.5, activation: 'auto', safeLabels: null },
    },
  ]);
});

test('defaults fill what a model leaves open, and say where they came from', () => {
  const yaml = `
defaults:
  sampling: {temperature: 0.2, min_p: 0.1}
  guard: {model: b}
models:
  - {model: 'sim:', id: a, sampling: {temperature: 0.9}}
  - {model: 'sim:', id: b}
`;
  const { config, entries } = folder.load({ yaml });
  expect(config.models[0]).toMatchObject({
    samplingDefaults: { temperature: 0.9, minP: 0.1 },
    guard: { model: 'b', action: 'block' },
  });
  const origin = (path: string) => entries.find((entry) => entry.path === path)?.origin;
  expect(origin('models[0].sampling.min_p')).toMatchObject({ kind: 'file', line: 3 });
  expect(origin('models[0].sampling.temperature')).toMatchObject({ kind: 'file', line: 6 });
  expect(origin('models[0].guard.model')).toMatchObject({ kind: 'file', line: 4 });
});

test('a key may have its own guard, or none', () => {
  const keys = `
server:
  api_keys:
    - {name: ann, key: sesame-one, guard: {model: judge, output: false}}
    - {name: bob, key: sesame-two, guard: off}
    - {name: eve, key: sesame-three}
`;
  const { config } = folder.load({ yaml: keys + GUARDED });
  const [ann, bob, eve] = config.server.apiKeys;
  expect(ann?.guard).toMatchObject({ model: 'judge', input: true, output: false });
  expect(bob?.guard).toBe('off');
  expect(eve).not.toHaveProperty('guard');
});

test.each([
  ['{model: nobody}', /"nobody" is not a model of this list \(a\)/],
  ['{model: a}', /would guard itself/],
  ['{model: a, input: false, output: false}', /judges neither/],
  ['{model: a, threshold: 2}', /threshold/],
  ['{model: a, window: 3}', /window_tokens/],
  ['{}', /model/],
])('guard %s is refused', (guard, words) => {
  const yaml = `models: [{model: 'sim:', id: a, guard: ${guard}}]`;
  expect(folder.complaints({ yaml }).join('\n')).toMatch(words);
});

test('examples/safety.yaml loads and guards its chat', () => {
  const file = join(import.meta.dirname, '../../examples/safety.yaml');
  const { config } = loadConfig({ flags: { ...NO_FLAGS, file }, env: {}, cwd: folder.cwd });
  expect(config.models).toMatchObject([
    { id: 'chat', guard: { model: 'judge', action: 'block' }, samplingDefaults: { topP: 0.9 } },
    { id: 'judge', class: 'guard', guard: null },
  ]);
});
