import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type DownloadOptions, downloadFile } from './download.ts';
import type { PullEvent } from './download-events.ts';
import { retryAfterMs } from './download-http.ts';
import { RETRY_POLICY } from './download-retry.ts';
import { type FakeHub, sha256, startFakeHub } from './hub.fixture.ts';

let hub: FakeHub;
let folder: string;
let waits: number[];
let options: DownloadOptions;
const content = randomBytes(300_000);

beforeEach(async () => {
  hub = await startFakeHub();
  folder = await mkdtemp(join(tmpdir(), 'plenum-download-'));
  hub.files.set('org/repo/x.gguf', content);
  waits = [];
  options = {
    env: {},
    retry: {
      ...RETRY_POLICY,
      random: () => 0.5,
      sleep: async (ms) => {
        waits.push(ms);
      },
    },
  };
});

afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

const promised = { sha256: sha256(content), bytes: content.length };
const nothing = { sha256: null, bytes: null };
const task = (promise: { sha256: string | null; bytes: number | null }) => ({
  url: `${hub.cdn}/${encodeURIComponent('org/repo/x.gguf')}`,
  file: 'x.gguf',
  path: join(folder, 'x'),
  credential: null,
  ...promise,
});
/** Cuts the connection when exactly so many bytes are in the file. */
const cutAt =
  (...marks: readonly number[]) =>
  (event: PullEvent): void => {
    if (event.kind === 'transfer' && marks.includes(event.bytes)) hub.cut();
  };
const ranges = () => hub.seen.map((seen) => seen.range);

test('a file arrives whole, with its checksum and its progress', async () => {
  const events: PullEvent[] = [];
  const got = await downloadFile(task(nothing), { ...options, onProgress: (e) => events.push(e) });
  expect(got).toEqual(promised);
  expect(sha256(await readFile(task(nothing).path))).toBe(promised.sha256);
  expect(events.at(-1)).toEqual({ kind: 'checking', file: 'x.gguf' });
  expect(events.at(-2)).toMatchObject({ kind: 'transfer', totalBytes: content.length });
});

test('a cut connection is gone on from where it was cut', async () => {
  hub.faults.cdn.push({ kind: 'stall', bytes: 100_000 }, { kind: 'stall', bytes: 50_000 });
  const onProgress = cutAt(100_000, 150_000);
  expect(await downloadFile(task(promised), { ...options, onProgress })).toEqual(promised);
  expect(ranges()).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
});

test('an interrupted run is gone on from by the next one', async () => {
  const path = task(promised).path;
  await writeFile(path, content.subarray(0, 200_000));
  const events: PullEvent[] = [];
  const onProgress = (event: PullEvent) => events.push(event);
  expect(await downloadFile(task(promised), { ...options, onProgress })).toEqual(promised);
  expect(ranges()).toEqual(['bytes=200000-']);
  expect(events[0]).toMatchObject({ resumedBytes: 200_000 });
});

test('bytes of other content from an earlier run are found out and fetched again', async () => {
  await writeFile(task(promised).path, randomBytes(200_000));
  expect(await downloadFile(task(promised), options)).toEqual(promised);
  expect(ranges()).toEqual(['bytes=200000-', undefined]);
});

test('a partial file that is longer than the promise is begun anew', async () => {
  await writeFile(task(promised).path, randomBytes(400_000));
  expect(await downloadFile(task(promised), options)).toEqual(promised);
  expect(ranges()).toEqual([undefined]);
});

test('a complete partial file needs no request', async () => {
  await writeFile(task(promised).path, content);
  expect(await downloadFile(task(promised), options)).toEqual(promised);
  expect(hub.seen).toEqual([]);
});

test('a server that ignores the range is taken from the start', async () => {
  await writeFile(task(promised).path, content.subarray(0, 1000));
  hub.faults.cdn.push({ kind: 'whole' });
  expect(await downloadFile(task(promised), options)).toEqual(promised);
  expect(hub.seen).toHaveLength(1);
});

test('without a known checksum it goes on only from the same entity', async () => {
  hub.cdnHeaders = { etag: '"one"' };
  hub.faults.cdn.push({ kind: 'stall', bytes: 100_000 });
  await downloadFile(task(nothing), { ...options, onProgress: cutAt(100_000) });
  expect(hub.seen[1]).toMatchObject({ ifRange: '"one"', range: 'bytes=100000-' });
});

test('content that changed under an unknown checksum is fetched from the start', async () => {
  hub.cdnHeaders = { etag: '"one"' };
  hub.faults.cdn.push({ kind: 'stall', bytes: 100_000 }, { kind: 'status', status: 404 });
  const cut = { ...options, onProgress: cutAt(100_000) };
  await expect(downloadFile(task(nothing), cut)).rejects.toThrow('HTTP 404');
  expect((await stat(task(nothing).path)).size).toBeGreaterThan(0);
  const other = randomBytes(150_000);
  hub.files.set('org/repo/x.gguf', other);
  hub.cdnHeaders = { etag: '"two"' };
  expect(await downloadFile(task(nothing), options)).toMatchObject({ sha256: sha256(other) });
});

test('without any validator it never goes on', async () => {
  hub.faults.cdn.push({ kind: 'stall', bytes: 100_000 }, { kind: 'status', status: 404 });
  const cut = { ...options, onProgress: cutAt(100_000) };
  await expect(downloadFile(task(nothing), cut)).rejects.toThrow('HTTP 404');
  const got = await downloadFile(task(nothing), options);
  expect(got).toEqual(promised);
  expect(ranges().at(-1)).toBeUndefined();
});

test('wrong bytes are refused and not kept', async () => {
  hub.faults.cdn.push({ kind: 'content', content: randomBytes(content.length) });
  await expect(downloadFile(task(promised), options)).rejects.toMatchObject({
    code: 'checksum_mismatch',
    message: expect.stringContaining(promised.sha256),
  });
  await expect(stat(task(promised).path)).rejects.toThrow('ENOENT');
});

test('another size than promised is refused before it is received', async () => {
  const wrong = { ...promised, bytes: 5 };
  await expect(downloadFile(task(wrong), options)).rejects.toMatchObject({
    code: 'checksum_mismatch',
    message: 'x.gguf has 300000 bytes there, but 5 were promised',
  });
});

test('a checksum that the hub itself names differently is refused without a download', async () => {
  const wrong = { sha256: sha256(Buffer.from('other')), bytes: content.length };
  const url = `${hub.endpoint}/org/repo/resolve/main/x.gguf`;
  await expect(downloadFile({ ...task(wrong), url }, options)).rejects.toMatchObject({
    code: 'checksum_mismatch',
  });
  expect(hub.seen.map((seen) => seen.server)).toEqual(['hub']);
});

test('busy and failing servers are asked again, as late as they ask, and not for ever', async () => {
  hub.faults.cdn.push(
    { kind: 'status', status: 429, retryAfter: '7' },
    { kind: 'status', status: 500 },
    { kind: 'status', status: 503 },
  );
  expect(await downloadFile(task(promised), options)).toEqual(promised);
  expect(waits).toEqual([7000, 1000, 2000]);
  for (let i = 0; i < 9; i++) hub.faults.cdn.push({ kind: 'status', status: 500 });
  hub.seen.length = 0;
  await rm(task(promised).path);
  await expect(downloadFile(task(promised), options)).rejects.toThrow('HTTP 500');
  expect(hub.seen).toHaveLength(RETRY_POLICY.failuresMax);
});

test('a server that asks for a longer wait than is allowed ends the attempt', async () => {
  hub.faults.cdn.push({ kind: 'status', status: 429, retryAfter: '86400' });
  await expect(downloadFile(task(promised), options)).rejects.toThrow('HTTP 429');
  expect(waits).toEqual([]);
});

test('a silent server is given up after the stall limit and asked again', async () => {
  hub.faults.cdn.push({ kind: 'stall', bytes: 1000 });
  const limits = { connectMs: 5000, stallMs: 50 };
  expect(await downloadFile(task(promised), { ...options, limits })).toEqual(promised);
  expect(hub.seen).toHaveLength(2);
});

test('a refused connection fails at once, without a retry', async () => {
  const { port } = await new Promise<net.AddressInfo>((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const address = server.address() as net.AddressInfo;
      server.close(() => resolve(address));
    });
  });
  const url = `http://127.0.0.1:${port}/x.gguf`;
  await expect(downloadFile({ ...task(promised), url }, options)).rejects.toMatchObject({
    kind: 'unreachable',
    message: `cannot connect to 127.0.0.1:${port}: the connection is refused`,
  });
  expect(waits).toEqual([]);
});

test('a host that accepts no connection is given up after the connect limit', async () => {
  // TLS to a server that never answers the handshake: connected, but of no use.
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const limits = { connectMs: 50, stallMs: 60_000 };
  const url = `https://127.0.0.1:${port}/x.gguf`;
  const attempt = downloadFile({ ...task(promised), url }, { ...options, limits });
  await expect(attempt).rejects.toMatchObject({ kind: 'unreachable' });
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

test('an abort leaves what has arrived, and its reason is thrown', async () => {
  hub.faults.cdn.push({ kind: 'stall', bytes: 100_000 });
  const stop = new AbortController();
  const onProgress = (event: PullEvent) => {
    if (event.kind === 'transfer') stop.abort(new Error('enough'));
  };
  const attempt = downloadFile(task(promised), { ...options, onProgress, signal: stop.signal });
  await expect(attempt).rejects.toThrow('enough');
  expect((await stat(task(promised).path)).size).toBeGreaterThan(0);
  expect(await downloadFile(task(promised), options)).toEqual(promised);
  expect(ranges()[1]).toMatch(/^bytes=[1-9]/);
});

test('a file that does not fit is refused before it is received, with the sum', async () => {
  const free = async () => 256 * 1024 * 1024 + 1000;
  await expect(downloadFile(task(promised), { ...options, free })).rejects.toMatchObject({
    code: 'disk_full',
    details: { neededBytes: 300_000, freeBytes: 256 * 1024 * 1024 + 1000 },
  });
});

test('a token goes to its own host only, also when that redirects', async () => {
  const credential = { origin: hub.endpoint, authorization: 'Bearer secret' };
  const url = `${hub.endpoint}/org/repo/resolve/main/x.gguf`;
  await downloadFile({ ...task(promised), url, credential }, options);
  expect(hub.seen.map(({ server, authorization }) => [server, authorization])).toEqual([
    ['hub', 'Bearer secret'],
    ['cdn', undefined],
  ]);
});

test('a user and password of the address are sent, but not forwarded', async () => {
  const url = `${hub.endpoint.replace('//', '//me:pw@')}/org/repo/resolve/main/x.gguf`;
  await downloadFile({ ...task(promised), url }, options);
  const basic = `Basic ${Buffer.from('me:pw').toString('base64')}`;
  expect(hub.seen.map((seen) => seen.authorization)).toEqual([basic, undefined]);
});

test('a proxy of the environment is used', async () => {
  const asked: string[] = [];
  const proxy = http.createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(content);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as net.AddressInfo;
  const url = 'http://models.example/x.gguf';
  const env = { http_proxy: `http://127.0.0.1:${port}` };
  expect(await downloadFile({ ...task(promised), url }, { ...options, env })).toEqual(promised);
  expect(asked).toEqual([url]);
  await new Promise((resolve) => proxy.close(resolve));
});

test('Retry-After is read as seconds and as a date', () => {
  expect(retryAfterMs({ 'retry-after': '3' }, 0)).toBe(3000);
  expect(retryAfterMs({ 'retry-after': 'Thu, 01 Jan 1970 00:00:05 GMT' }, 1000)).toBe(4000);
  expect(retryAfterMs({ 'retry-after': 'soon' }, 0)).toBeNull();
  expect(retryAfterMs({}, 0)).toBeNull();
});
