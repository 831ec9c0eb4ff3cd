/**
 * Memory and children of processes, as the operating system counts them. Linux gives everything
 * (PSS: shared pages counted by halves, thirds …); elsewhere only what `ps` says.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

export interface MemoryUse {
  /** Shared pages divided among those that share them; RSS where the system has no PSS. */
  readonly pssBytes: number;
  readonly rssBytes: number;
  /** Part of pssBytes: pages of files, by path. */
  readonly fileBytes: ReadonlyMap<string, number>;
  /** Part of pssBytes: memory of no file. */
  readonly anonymousBytes: number;
}

export function memoryUse(pid: number): MemoryUse {
  const smaps = `/proc/${pid}/smaps`;
  if (!existsSync(smaps)) {
    const rssBytes = psNumber(pid, 'rss') * 1024;
    return { pssBytes: rssBytes, rssBytes, fileBytes: new Map(), anonymousBytes: Number.NaN };
  }
  return parseSmaps(readFileSync(smaps, 'utf8'));
}

/** Sums of /proc/PID/smaps: a header per mapping, then `Pss: 12 kB` and the like. */
export function parseSmaps(text: string): MemoryUse {
  const fileBytes = new Map<string, number>();
  let [pssBytes, rssBytes, anonymousBytes] = [0, 0, 0];
  let path = '';
  for (const line of text.split('\n')) {
    const header = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+) *(.*)$/.exec(line);
    if (header) path = header[1] === '0' ? '' : (header[2] ?? '');
    const [, name, size] = /^(Rss|Pss): +(\d+) kB$/.exec(line) ?? [];
    const found = Number(size ?? 0) * 1024;
    if (name === 'Rss') rssBytes += found;
    if (name !== 'Pss') continue;
    pssBytes += found;
    if (path === '') anonymousBytes += found;
    else fileBytes.set(path, (fileBytes.get(path) ?? 0) + found);
  }
  return { pssBytes, rssBytes, fileBytes, anonymousBytes };
}

/** Children and their children, in no order. */
export function descendants(pid: number): number[] {
  const children = childrenOf(pid);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function childrenOf(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) {
    const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
    const rows = table
      .trim()
      .split('\n')
      .map((row) => row.trim().split(/\s+/).map(Number));
    return rows.flatMap(([child = 0, parent]) => (parent === pid ? [child] : []));
  }
  return readdirSync(tasks).flatMap((task) =>
    readFileSync(`${tasks}/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  );
}

function psNumber(pid: number, column: string): number {
  return Number(execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' }));
}
