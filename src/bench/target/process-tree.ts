/**
 * Memory and processor time of a process and its descendants, as the system counts them: on Linux
 * from /proc (PSS: shared pages divided among those that share them), on macOS from `footprint` and
 * `ps`, elsewhere from `ps`. Reads off the event loop, since a large map takes the kernel its time.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Resources } from '../result.ts';

export interface TreeUse {
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly method: Resources['memoryMethod'];
  readonly processes: number;
}

const run = promisify(execFile);
const COMMAND_MS_MAX = 5000;

/** Null where none of the processes is there any more. */
export async function treeUse(root: number): Promise<TreeUse | null> {
  const uses = process.platform === 'linux' ? await linuxTree(root) : await otherTree(root);
  return uses.processes === 0 ? null : uses;
}

async function linuxTree(root: number): Promise<TreeUse> {
  const pids = await linuxDescendants(root);
  const uses = await Promise.all(pids.map(linuxUse));
  const alive = uses.filter((use) => use !== null);
  return {
    cpuMs: sum(alive.map(({ cpuMs }) => cpuMs)),
    memoryBytes: sum(alive.map(({ pssBytes }) => pssBytes)),
    method: 'pss',
    processes: alive.length,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0);

async function linuxDescendants(pid: number): Promise<number[]> {
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
  const children = await Promise.all(
    tasks.map(async (task) => {
      const text = await read(`/proc/${pid}/task/${task}/children`);
      return text.split(' ').filter(Boolean).map(Number);
    }),
  );
  const below = await Promise.all(children.flat().map(linuxDescendants));
  return [pid, ...below.flat()];
}

/** '' for a process that has ended meanwhile, or that may not be looked into. */
const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

interface LinuxUse {
  readonly cpuMs: number;
  readonly pssBytes: number;
}

async function linuxUse(pid: number): Promise<LinuxUse | null> {
  const [stat, smaps] = await Promise.all([
    read(`/proc/${pid}/stat`),
    read(`/proc/${pid}/smaps_rollup`),
  ]);
  const cpuMs = parseStatCpuMs(stat);
  return cpuMs === null ? null : { cpuMs, pssBytes: parsePssBytes(smaps) };
}

/** Linux counts processor time in hundredths of a second, whatever the kernel's own tick. */
const TICK_MS = 10;

/** Own time and that of children that have ended: fields 14 to 17, after the name in brackets. */
export function parseStatCpuMs(stat: string): number | null {
  const end = stat.lastIndexOf(')');
  if (end === -1) return null;
  const fields = stat.slice(end + 2).split(' ');
  return sum(fields.slice(11, 15).map(Number)) * TICK_MS;
}

export function parsePssBytes(smaps: string): number {
  const [, kilobytes] = /^Pss: +(\d+) kB$/m.exec(smaps) ?? [];
  return Number(kilobytes ?? 0) * 1024;
}

async function otherTree(root: number): Promise<TreeUse> {
  const columns = ['-A', '-o', 'pid=,ppid=,rss=,time='];
  const { stdout } = await run('ps', columns, { timeout: COMMAND_MS_MAX }).catch(() => ({
    stdout: '',
  }));
  const tree = parsePs(stdout, root);
  const footprint = process.platform === 'darwin' ? await footprintOf(tree) : null;
  return {
    cpuMs: sum(tree.map(({ cpuMs }) => cpuMs)),
    memoryBytes: footprint ?? sum(tree.map(({ rssBytes }) => rssBytes)),
    method: footprint === null ? 'rss' : 'footprint',
    processes: tree.length,
  };
}

interface PsRow {
  readonly pid: number;
  readonly rssBytes: number;
  readonly cpuMs: number;
}

/** The rows of a process and its descendants. */
export function parsePs(text: string, root: number): PsRow[] {
  const rows = text.split('\n').flatMap((line) => {
    const [pid, parent, rss, time] = line.trim().split(/\s+/);
    if (time === undefined) return [];
    const use = { rssBytes: Number(rss) * 1024, cpuMs: parseClockMs(time) };
    return [{ pid: Number(pid), parent: Number(parent), ...use }];
  });
  const below = (pid: number): PsRow[] =>
    rows.filter((row) => row.parent === pid).flatMap((row) => [row, ...below(row.pid)]);
  return [...rows.filter(({ pid }) => pid === root), ...below(root)];
}

/** `[days-][hours:]minutes:seconds[.hundredths]`. */
export function parseClockMs(text: string): number {
  const [days, clock] = text.includes('-') ? text.split('-') : ['0', text];
  const parts = (clock ?? '').split(':').map(Number);
  const seconds = parts.reduce((total, part) => total * 60 + part, 0);
  return (Number(days) * 86_400 + seconds) * 1000;
}

/** Physical footprint, which counts what the GPU has too; null where it cannot be had. */
async function footprintOf(tree: readonly PsRow[]): Promise<number | null> {
  if (tree.length === 0) return null;
  const pids = tree.flatMap(({ pid }) => ['-p', String(pid)]);
  const asked = run('footprint', [...pids, '-f', 'bytes'], { timeout: COMMAND_MS_MAX });
  const { stdout } = await asked.catch(() => ({ stdout: '' }));
  return parseFootprintBytes(stdout);
}

/** Sum of the `phys_footprint: 123 B` lines. */
export function parseFootprintBytes(text: string): number | null {
  const found = [...text.matchAll(/^\s*phys_footprint:\s+(\d+)\s*B/gm)].map(([, n]) => Number(n));
  return found.length === 0 ? null : sum(found);
}
