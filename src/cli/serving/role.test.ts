/** What a model is served as, by its file alone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeTinyBert, writeTinyJudge } from '../../engine/llama/encoder-fixture.ts';
import { geometryOf } from '../../model/geometry.ts';
import { inspectGguf } from '../../model/gguf.ts';
import { ensureSynthetic } from '../../model/synth.ts';
import { type Purpose, purposeAs, purposeOf } from './role.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plenum-role-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function purposeOfFile(path: string): Promise<Purpose> {
  const header = await inspectGguf(path);
  return purposeOf(geometryOf(header), header);
}

it('is chat for a decoder that does not pool', async () => {
  const file = await ensureSynthetic('tiny', dir);
  expect(await purposeOfFile(file)).toMatchObject({ class: 'chat', role: 'generate' });
});

it('is embedding for an encoder', async () => {
  const purpose = await purposeOfFile(await ensureSynthetic('tiny-bert', dir));
  expect(purpose).toEqual({ class: 'embed', role: 'encode', contextTokensDefault: 512 });
});

it('is ranking for a head of one number and for a judge, guarding for a classifier', async () => {
  const file = join(dir, 'model.gguf');
  await writeTinyBert(file, []);
  expect(await purposeOfFile(file)).toMatchObject({ class: 'rerank', role: 'encode' });
  await writeTinyJudge(file);
  expect(await purposeOfFile(file)).toMatchObject({ class: 'rerank', role: 'encode' });
  await writeTinyBert(file, ['safe', 'unsafe']);
  expect(await purposeOfFile(file)).toMatchObject({ class: 'guard', role: 'encode' });
});

it('does not let the default context of a large vocabulary take gigabytes', async () => {
  const header = await inspectGguf(await ensureSynthetic('tiny-bert', dir));
  const large = { ...geometryOf(header), vocab: 250_002, contextTokens: 8192 };
  expect(purposeOf(large, header).contextTokensDefault).toBe(512);
});

const purpose = (modelClass: Purpose['class'], role: Purpose['role']): Purpose => ({
  class: modelClass,
  role,
  contextTokensDefault: 512,
});

it('may be said otherwise where the model can do it', () => {
  const chat = purpose('chat', 'generate');
  expect(purposeAs(null, chat, 'm')).toBe(chat);
  expect(purposeAs('guard', chat, 'm')).toMatchObject({ class: 'guard', role: 'generate' });
  expect(purposeAs('embed', chat, 'm')).toMatchObject({ class: 'embed', role: 'encode' });
  const guard = purpose('guard', 'encode');
  expect(purposeAs('rerank', guard, 'm')).toMatchObject({ class: 'rerank', role: 'encode' });
});

it.each([
  ['rerank', purpose('chat', 'generate'), /m generates text and cannot serve as class rerank/],
  ['chat', purpose('embed', 'encode'), /m gives vectors for class embed/],
  ['guard', purpose('embed', 'encode'), /cannot serve as class guard/],
  ['embed', purpose('rerank', 'encode'), /cannot serve as class embed/],
] as const)('is not %s where the model cannot', (asked, found, words) => {
  expect(() => purposeAs(asked, found, 'm')).toThrow(words);
});
