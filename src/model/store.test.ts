import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ModelStore } from './store.ts';
import { DISK_RESERVE_BYTES, freeBytes, plenumHome, requireSpace } from './store-home.ts';
import { withLock } from './store-lock.ts';

let home: string;
let store: ModelStore;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'plenum-store-'));
  store = new ModelStore(home);
});

afterEach(async () => {
  await rm(home, { recursive: true });
});

async function arrival(name: string, content: Buffer) {
  const path = join(home, `arriving-${name}`);
  await writeFile(path, content);
  const sha256 = createHash('sha256').update(content).digest('hex');
  return { name, sha256, bytes: content.length, path };
}

const about = (reference: string) => ({
  reference,
  id: reference.replace(/\W/g, '-'),
  source: 'a test',
  pulledAt: '2020-01-01T00:00:00.000Z',
  description: 'llama 1M F32',
});

async function put(reference: string, ...contents: readonly Buffer[]) {
  const arrivals = [];
  for (const [i, content] of contents.entries()) {
    const of = String(contents.length).padStart(5, '0');
    arrivals.push(await arrival(`m-${String(i + 1).padStart(5, '0')}-of-${of}.gguf`, content));
  }
  expect(await store.commit(about(reference), arrivals)).toBe(true);
}

test('what was filed is found, listed and whole', async () => {
  const content = randomBytes(1000);
  await put('org/repo:Q4_0', content);
  const record = await store.find('org/repo:Q4_0');
  expect(record).toMatchObject({ reference: 'org/repo:Q4_0', files: [{ bytes: 1000 }] });
  expect((await store.list()).records).toEqual([record]);
  const [path = ''] = record === null ? [] : await store.paths(record);
  expect(await readFile(path)).toEqual(content);
});

test('references that a file system may merge stay apart', async () => {
  await put('https://h.example/Model.gguf', randomBytes(10));
  expect(await store.find('https://h.example/model.gguf')).toBeNull();
  expect(await store.find('https://h.example/Model?gguf')).toBeNull();
  await put(`https://h.example/${'x'.repeat(1000)}.gguf`, randomBytes(10));
  expect((await store.list()).records).toHaveLength(2);
});

test('a model whose blob is missing or shortened is not found', async () => {
  await put('a', randomBytes(1000));
  const [file] = (await store.find('a'))?.files ?? [];
  await writeFile(store.blobPath(file?.sha256 ?? ''), 'short');
  expect(await store.find('a')).toBeNull();
  await rm(store.blobPath(file?.sha256 ?? ''));
  expect(await store.find('a')).toBeNull();
});

test('a set is opened by its true names, and its links go with it', async () => {
  const parts = [randomBytes(100), randomBytes(200)];
  await put('set', ...parts);
  const record = await store.find('set');
  const paths = record === null ? [] : await store.paths(record);
  expect(paths.map((path) => path.split('/').at(-1))).toEqual([
    'm-00001-of-00002.gguf',
    'm-00002-of-00002.gguf',
  ]);
  for (const [i, path] of paths.entries()) expect(await readFile(path)).toEqual(parts[i]);
  await store.remove(['set']);
  expect(await readdir(join(home, 'sets'))).toEqual([]);
  expect(await readdir(join(home, 'blobs'))).toEqual([]);
});

test('a blob goes when the last reference to it goes', async () => {
  const shared = randomBytes(1000);
  await put('a', shared);
  await put('b', shared);
  expect(await readdir(join(home, 'blobs'))).toHaveLength(1);
  expect(await store.remove(['a'])).toMatchObject({ freedBytes: 0, records: [{ reference: 'a' }] });
  expect(await store.find('b')).not.toBeNull();
  expect(await store.remove(['b'])).toMatchObject({ freedBytes: 1000 });
  expect(await readdir(join(home, 'blobs'))).toEqual([]);
  expect(await store.remove(['b'])).toMatchObject({ freedBytes: 0, records: [] });
});

test('blobs are those that records name, whatever is put and removed', async () => {
  const contents = [0, 1, 2, 3].map((n) => Buffer.alloc(10 + n, n));
  const step = fc.record({
    reference: fc.constantFrom('a', 'b', 'c'),
    content: fc.option(fc.nat({ max: 3 }), { nil: null }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
      await store.remove(['a', 'b', 'c']);
      const expected = new Map<string, number>();
      for (const { reference, content } of steps) {
        if (content === null) {
          await store.remove([reference]);
          expected.delete(reference);
        } else {
          await put(reference, contents[content] ?? Buffer.alloc(0));
          expected.set(reference, content);
        }
      }
      const found = (await store.list()).records.map((record) => record.reference);
      expect(found).toEqual([...expected.keys()].sort());
      const blobs = await readdir(join(home, 'blobs')).catch(() => []);
      expect(blobs).toHaveLength(new Set(expected.values()).size);
    }),
    { numRuns: 25 },
  );
});

test('a reference that gets new content gives up the old', async () => {
  await put('a', randomBytes(10));
  await put('a', randomBytes(20));
  expect(await readdir(join(home, 'blobs'))).toHaveLength(1);
});

test('a blob that a crash left without a record goes with the interrupted downloads', async () => {
  await put('a', randomBytes(10));
  await writeFile(store.blobPath('b'.repeat(64)), 'orphan');
  expect(await store.removePartials()).toBe(6);
  expect(await store.find('a')).not.toBeNull();
});

test('a blob that was counted on but is gone is not committed', async () => {
  const gone = { name: 'x.gguf', sha256: 'a'.repeat(64), bytes: 3, path: null };
  expect(await store.commit(about('a'), [gone])).toBe(false);
  expect(await store.find('a')).toBeNull();
});

test('a broken record is named, and nothing is removed while its blobs are unknown', async () => {
  await put('a', randomBytes(10));
  await writeFile(join(home, 'refs', 'broken.json'), '{"version":1}');
  const { records, broken } = await store.list();
  expect(records).toHaveLength(1);
  expect(broken).toMatchObject([{ path: join(home, 'refs', 'broken.json') }]);
  await expect(store.remove(['a'])).rejects.toMatchObject({ code: 'file_corrupt' });
  expect(await store.find('a')).not.toBeNull();
});

test('interrupted downloads are listed and removed, those under way are not', async () => {
  for (const key of ['left', 'active']) {
    await mkdir(store.partialPath(key), { recursive: true });
    await writeFile(join(store.partialPath(key), 'x.gguf'), 'some');
  }
  await withLock(store.partialLock('active'), {}, async () => {
    const found = await store.partials();
    expect(found.map(({ key, bytes, active }) => [key, bytes, active])).toEqual(
      expect.arrayContaining([
        ['active', 4, true],
        ['left', 4, false],
      ]),
    );
    expect(await store.removePartials()).toBe(4);
    expect((await store.partials()).map(({ key }) => key)).toEqual(['active']);
  });
});

test('a lock is held by one at a time and handed on', async () => {
  const path = join(home, 'x.lock');
  let inside = 0;
  const work = async () => {
    inside += 1;
    expect(inside).toBe(1);
    await stat(path);
    inside -= 1;
  };
  await Promise.all([1, 2, 3].map(() => withLock(path, {}, work)));
  await expect(stat(path)).rejects.toThrow('ENOENT');
});

test('the lock of a process that is gone is taken over, that of a living one is not', async () => {
  const path = join(home, 'x.lock');
  const holder = { pid: 4242, host: hostname(), token: 'other' };
  await writeFile(path, JSON.stringify(holder));
  const taken = await withLock(path, { isAlive: () => false }, async () => 'mine');
  expect(taken).toBe('mine');
  await writeFile(path, JSON.stringify(holder));
  const stop = new AbortController();
  const waiting: number[] = [];
  const onWait = (pid: number) => {
    waiting.push(pid);
    stop.abort();
  };
  const options = { isAlive: () => true, onWait, signal: stop.signal };
  await expect(withLock(path, options, async () => 'mine')).rejects.toThrow();
  expect(waiting).toEqual([4242]);
});

test('a lock that nobody has touched for long is taken over, whoever holds it', async () => {
  const path = join(home, 'x.lock');
  await writeFile(path, JSON.stringify({ pid: 1, host: 'elsewhere', token: 'other' }));
  const old = new Date(Date.now() - 3_600_000);
  await utimes(path, old, old);
  expect(await withLock(path, {}, async () => 'mine')).toBe('mine');
});

test('a lock is released when the work fails', async () => {
  const path = join(home, 'x.lock');
  const fail = withLock(path, {}, async () => {
    throw new Error('no');
  });
  await expect(fail).rejects.toThrow('no');
  await expect(stat(path)).rejects.toThrow('ENOENT');
});

test('data lies where the system has it', () => {
  expect(plenumHome({ PLENUM_HOME: '/p', HOME: '/h' }, 'linux')).toBe('/p');
  expect(plenumHome({ HOME: '/h' }, 'linux')).toBe('/h/.local/share/plenum');
  expect(plenumHome({ HOME: '/h', XDG_DATA_HOME: '/d' }, 'linux')).toBe('/d/plenum');
  expect(plenumHome({ HOME: '/h', XDG_DATA_HOME: 'rel' }, 'linux')).toBe('/h/.local/share/plenum');
  expect(plenumHome({ HOME: '/h' }, 'darwin')).toBe('/h/Library/Application Support/plenum');
});

test('free space is that of the nearest folder that exists', async () => {
  expect(await freeBytes(join(home, 'not', 'yet'))).toBeGreaterThan(0);
  await expect(requireSpace(home, 10, async () => DISK_RESERVE_BYTES + 9)).rejects.toMatchObject({
    code: 'disk_full',
    details: { neededBytes: 10, freeBytes: DISK_RESERVE_BYTES + 9 },
  });
  await requireSpace(home, 10, async () => DISK_RESERVE_BYTES + 10);
});
