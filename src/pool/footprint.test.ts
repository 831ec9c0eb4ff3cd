/** What the system counts for a process: from files as they are, and for real ones. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { birthOf, countedOf, footprintOf, linuxFootprint, RUSAGE, rusageOf } from './footprint.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'plenum-proc-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const stat = (pid: number, state: string, born: number): string =>
  `${pid} (a) b (c) ${state} 1 1 1 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 11 0 ${born} 1 2 3\n`;

async function pretend(pid: number, state: string, born: number): Promise<void> {
  await mkdir(join(root, String(pid)), { recursive: true });
  await writeFile(join(root, String(pid), 'stat'), stat(pid, state, born));
  const rollup = '1-2 ---p 0 0 0 [rollup]\nRss:    500 kB\nPss:   300 kB\nPss_Anon:  200 kB\n';
  await writeFile(join(root, String(pid), 'smaps_rollup'), rollup);
}

it('is the proportional set size, and the resident one beside it', async () => {
  await pretend(7, 'S', 100);
  const counted = { bytes: 300 * 1024, wholeBytes: 500 * 1024 };
  expect(await linuxFootprint(7, root).look()).toEqual(counted);
  expect(countedOf('Rss: 1 kB\n')).toBeNull();
  expect(countedOf('Pss: 1 kB\n')).toEqual({ bytes: 1024, wholeBytes: null });
});

it('is gone with the process, also when another has its number, and for a dead one', async () => {
  await pretend(8, 'R', 100);
  const footprint = linuxFootprint(8, root);
  expect(await footprint.look()).not.toBeNull();
  await pretend(8, 'R', 999);
  expect(await footprint.look()).toBeNull();
  await pretend(9, 'Z', 100);
  expect(await linuxFootprint(9, root).look()).toBeNull();
  expect(await linuxFootprint(10, root).look()).toBeNull();
  expect(birthOf(stat(1, 'S', 123))).toBe('123');
});

it('is read of a real process until it ends', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)']);
  const footprint = footprintOf(child.pid ?? 0);
  await expect.poll(async () => (await footprint.look())?.bytes).toBeGreaterThan(1e6);
  const counted = await footprint.look();
  expect(counted?.wholeBytes).toBeGreaterThanOrEqual(counted?.bytes ?? 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await footprint.look()).toBeNull();
});

it('is the eighth counter behind the UUID of macOS’s rusage_info_v0', () => {
  const buffer = new Uint8Array(RUSAGE.bytes);
  const words = new DataView(buffer.buffer);
  for (let counter = 0; counter < 10; counter++) {
    words.setBigUint64(16 + 8 * counter, BigInt(1000 + counter), true);
  }
  expect(rusageOf(buffer)).toEqual({ bytes: 1007, born: 1008n });
});
