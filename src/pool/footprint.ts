/**
 * What the operating system counts for one process: proportional set size on Linux, phys_footprint
 * on macOS (by libproc; its layout is tested, the call has not been run on a Mac yet). It follows
 * one process, and says when that one is gone, even if its number is given to another.
 */
import { readFile } from 'node:fs/promises';
import { unlessMissing } from './files.ts';

export interface Counted {
  /** Bytes that count against the machine: pages of several processes are split among them. */
  readonly bytes: number;
  /** The same with shared pages counted whole; null = the system does not say. */
  readonly wholeBytes: number | null;
}

export interface Footprint {
  /** null = the process is gone. */
  look(): Promise<Counted | null>;
}

/** What is told of processes; a test gives its own. */
export type FootprintOf = (pid: number) => Footprint;

export const footprintOf: FootprintOf = (pid) =>
  process.platform === 'darwin' ? macFootprint(pid) : linuxFootprint(pid, '/proc');

/** `root` is where /proc is. */
export function linuxFootprint(pid: number, root: string): Footprint {
  const read = (name: string): Promise<string | null> =>
    unlessMissing(readFile(`${root}/${pid}/${name}`, 'utf8'));
  let born: string | null = null;
  return {
    async look() {
      const stat = await read('stat');
      const now = stat === null ? null : birthOf(stat);
      born ??= now;
      if (now === null || now !== born) return null;
      const rollup = await read('smaps_rollup');
      return rollup === null ? null : countedOf(rollup);
    },
  };
}

/**
 * When a process was started (field 22 of /proc/PID/stat; the name in brackets may hold anything);
 * null for one that is dead and only waited for.
 */
export function birthOf(stat: string): string | null {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}

/** `Pss:  12 kB` and `Rss:` of smaps_rollup; null where they are missing, as when one ends. */
export function countedOf(rollup: string): Counted | null {
  const bytesOf = (name: string): number | null => {
    const kib = new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(rollup)?.[1];
    return kib === undefined ? null : Number(kib) * 1024;
  };
  const bytes = bytesOf('Pss');
  return bytes === null ? null : { bytes, wholeBytes: bytesOf('Rss') };
}

/**
 * struct rusage_info_v0 of <sys/resource.h>: a UUID of 16 bytes, then eight 64-bit counters of
 * which ri_phys_footprint is the eighth, then ri_proc_start_abstime and ri_proc_exit_abstime.
 */
export const RUSAGE = { flavor: 0, bytes: 96, footprint: 72, born: 80 } as const;

export function rusageOf(buffer: Uint8Array): { bytes: number; born: bigint } {
  const words = new DataView(buffer.buffer, buffer.byteOffset, RUSAGE.bytes);
  return {
    bytes: Number(words.getBigUint64(RUSAGE.footprint, true)),
    born: words.getBigUint64(RUSAGE.born, true),
  };
}

type PidUsage = (pid: number, flavor: number, buffer: Uint8Array) => number;
let pidUsage: Promise<PidUsage> | null = null;

async function openLibproc(): Promise<PidUsage> {
  const { default: koffi } = await import('koffi');
  const library = koffi.load('/usr/lib/libproc.dylib');
  return library.func('int proc_pid_rusage(int, int, void *)') as PidUsage;
}

function macFootprint(pid: number): Footprint {
  let born: bigint | null = null;
  return {
    async look() {
      pidUsage ??= openLibproc();
      const usage = await pidUsage;
      const buffer = new Uint8Array(RUSAGE.bytes);
      if (usage(pid, RUSAGE.flavor, buffer) !== 0) return null;
      const now = rusageOf(buffer);
      born ??= now.born;
      // Pages of files are not in it, mapped weights among them.
      return now.born === born ? { bytes: now.bytes, wholeBytes: null } : null;
    },
  };
}
