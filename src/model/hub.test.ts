import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RETRY_POLICY } from './download-retry.ts';
import { type FakeHub, sha256, startFakeHub } from './hub.fixture.ts';
import { hubFiles, hubFileUrl, hubModel, hubSettings } from './hub.ts';
import { type HubFile, modelsOf, pickModel, quantOf } from './hub-quant.ts';

const at = { repo: 'org/repo', revision: 'main' };
let hub: FakeHub;
let folder: string;

beforeEach(async () => {
  hub = await startFakeHub();
  folder = await mkdtemp(join(tmpdir(), 'plenum-hub-'));
});

afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

async function options(more: Record<string, string> = {}) {
  const env = { HF_ENDPOINT: hub.endpoint, HOME: folder, ...more };
  const retry = { ...RETRY_POLICY, sleep: async () => undefined };
  return { settings: await hubSettings(env), env, retry };
}

const file = (path: string): HubFile => ({ path, bytes: 1, sha256: null });
const models = (...paths: readonly string[]) => modelsOf(paths.map(file));
const pick = (quant: string | null, ...paths: readonly string[]) =>
  pickModel('org/repo', models(...paths), quant).files.map((part) => part.path);

test.each([
  ['SmolLM2-135M-Instruct.Q4_1.gguf', 'Q4_1'],
  ['model-q4_k_m.gguf', 'Q4_K_M'],
  ['Model-UD-Q4_K_XL.gguf', 'UD-Q4_K_XL'],
  ['m-IQ3_XXS.gguf', 'IQ3_XXS'],
  ['m-Q6_K.gguf', 'Q6_K'],
  ['m-Q4_0_4_4.gguf', 'Q4_0_4_4'],
  ['gpt-oss-20b-mxfp4.gguf', 'MXFP4'],
  ['m.fp16.gguf', 'F16'],
  ['m-BF16-00001-of-00002.gguf', 'BF16'],
  ['Q8_0/m-00001-of-00002.gguf', 'Q8_0'],
  ['BF16/m.gguf', 'BF16'],
  ['m.gguf', null],
  ['Llama-3-8B.gguf', null],
])('the quantisation of %s is %s', (path, expected) => {
  expect(quantOf(path)).toBe(expected);
});

test('a quantisation is matched whatever its case, and never in part', () => {
  const files = ['m-Q4_K_S.gguf', 'm-q4_k_m.gguf', 'm-Q4_0.gguf'];
  expect(pick('Q4_K_M', ...files)).toEqual(['m-q4_k_m.gguf']);
  expect(pick('FP16', 'm-F16.gguf', 'm-BF16.gguf')).toEqual(['m-F16.gguf']);
  expect(() => pick('Q4_K', ...files)).toThrow(/org\/repo has no Q4_K; it has: Q4_0, Q4_K_M/);
});

test('without one, Q4_K_M is taken, then its neighbours, then what there is', () => {
  expect(pick(null, 'm-Q8_0.gguf', 'm-Q4_K_M.gguf')).toEqual(['m-Q4_K_M.gguf']);
  expect(pick(null, 'm-F16.gguf', 'm-Q5_K_M.gguf', 'm-Q2_K.gguf')).toEqual(['m-Q5_K_M.gguf']);
  expect(pick(null, 'odd-name.gguf', 'mmproj-model-f16.gguf')).toEqual(['odd-name.gguf']);
  expect(() => pick(null, 'odd.gguf', 'odder.gguf')).toThrow(/it has: odd.gguf, odder.gguf/);
});

test('a set is taken whole and in order, and not at all when a part is missing', () => {
  const parts = ['m-Q8_0-00002-of-00002.gguf', 'm-Q8_0-00001-of-00002.gguf'];
  expect(pick('Q8_0', ...parts)).toEqual([...parts].reverse());
  expect(() => pick('Q8_0', 'm-Q8_0-00001-of-00002.gguf')).toThrow(/no complete GGUF model/);
});

test('two models of one quantisation are both named', () => {
  expect(() => pick('Q8_0', 'a-Q8_0.gguf', 'b-Q8_0.gguf')).toThrow(
    /name one:\n {2}org\/repo\/a-Q8_0.gguf\n {2}org\/repo\/b-Q8_0.gguf/,
  );
});

test('a variant with a prefix is taken when there is no plain one', () => {
  expect(pick('Q4_K_XL', 'm-UD-Q4_K_XL.gguf')).toEqual(['m-UD-Q4_K_XL.gguf']);
  expect(pick('Q4_K_M', 'm-UD-Q4_K_M.gguf', 'm-Q4_K_M.gguf')).toEqual(['m-Q4_K_M.gguf']);
});

test('a listing of many pages gives names, sizes and checksums', async () => {
  const content = Buffer.from('content');
  for (let i = 0; i < 7; i++) hub.files.set(`org/repo/other-${i}.txt`, content);
  hub.files.set('org/repo/m-Q4_K_M.gguf', content);
  hub.pageSize = 3;
  const model = await hubModel(at, null, await options());
  const expected = { path: 'm-Q4_K_M.gguf', bytes: 7, sha256: sha256(content) };
  expect(model.files).toEqual([expected]);
  expect(hub.seen).toHaveLength(3);
});

test('a file is looked up with its set; an unknown one lists what there is', async () => {
  hub.files.set('org/repo/m-00001-of-00002.gguf', Buffer.from('a'));
  hub.files.set('org/repo/m-00002-of-00002.gguf', Buffer.from('b'));
  const files = await hubFiles(at, 'm-00002-of-00002.gguf', await options());
  expect(files.map(({ path }) => path)).toEqual(['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf']);
  await expect(hubFiles(at, 'x.gguf', await options())).rejects.toMatchObject({
    code: 'file_not_found',
    message: expect.stringMatching(/has no file x.gguf; it has these models: m-00001-of-00002/),
  });
});

test('refusals say what to do, with and without a token', async () => {
  hub.files.set('org/repo/m.gguf', Buffer.from('a'));
  hub.guarded.set('org/repo', { token: 'right', status: 401 });
  const refusal = (message: RegExp) => ({
    code: 'hub_refused',
    message: expect.stringMatching(message),
  });
  await expect(hubModel(at, null, await options())).rejects.toMatchObject(
    refusal(/name may be wrong.*Set HF_TOKEN/),
  );
  await expect(hubModel(at, null, await options({ HF_TOKEN: 'wrong' }))).rejects.toMatchObject(
    refusal(/does not accept the token/),
  );
  hub.guarded.set('org/repo', { token: 'right', status: 403 });
  await expect(hubModel(at, null, await options({ HF_TOKEN: 'wrong' }))).rejects.toMatchObject(
    refusal(/accept its licence at .*org\/repo/),
  );
  expect((await hubModel(at, null, await options({ HF_TOKEN: 'right' }))).files).toHaveLength(1);
});

test('an unknown repository is a clear error', async () => {
  await expect(hubModel(at, null, await options())).rejects.toMatchObject({
    code: 'file_not_found',
    message: expect.stringContaining('has no org/repo; check its spelling'),
  });
});

test('a busy hub is asked again, a hub that is none is not', async () => {
  hub.files.set('org/repo/m.gguf', Buffer.from('a'));
  hub.faults.hub.push({ kind: 'status', status: 429 }, { kind: 'status', status: 502 });
  expect((await hubModel(at, null, await options())).files).toHaveLength(1);
  const gone = await options({ HF_ENDPOINT: `${hub.cdn}/` });
  await expect(hubModel(at, null, gone)).rejects.toMatchObject({ code: 'file_not_found' });
});

test('HF_HUB_OFFLINE makes no request', async () => {
  const offline = await options({ HF_HUB_OFFLINE: '1' });
  await expect(hubModel(at, null, offline)).rejects.toThrow('HF_HUB_OFFLINE is set');
  expect(hub.seen).toEqual([]);
});

test('the token is found where the hub’s own clients leave it', async () => {
  const tokenOf = async (env: Record<string, string>) =>
    (await hubSettings({ HOME: folder, ...env })).credential?.authorization ?? null;
  expect(await tokenOf({})).toBeNull();
  await mkdir(join(folder, '.cache', 'huggingface'), { recursive: true });
  await writeFile(join(folder, '.cache', 'huggingface', 'token'), 'from-login\n');
  await writeFile(join(folder, 'elsewhere'), 'from-path');
  expect(await tokenOf({})).toBe('Bearer from-login');
  expect(await tokenOf({ HF_TOKEN_PATH: join(folder, 'elsewhere') })).toBe('Bearer from-path');
  expect(await tokenOf({ HF_HOME: join(folder, 'none') })).toBeNull();
  expect(await tokenOf({ HF_TOKEN: ' given ' })).toBe('Bearer given');
  await expect(tokenOf({ HF_TOKEN: 'two words' })).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.not.stringContaining('two words'),
  });
});

test('HF_ENDPOINT is used, and has to be an address', async () => {
  const settings = await hubSettings({ HF_ENDPOINT: 'https://mirror.example/', HOME: folder });
  expect(hubFileUrl(settings, at, 'a b/m.gguf')).toBe(
    'https://mirror.example/org/repo/resolve/main/a%20b/m.gguf',
  );
  await expect(hubSettings({ HF_ENDPOINT: 'mirror' })).rejects.toMatchObject({
    code: 'config_invalid',
  });
});
