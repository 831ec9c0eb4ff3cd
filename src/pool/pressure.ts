/**
 * Whether the machine is short of memory, by its own account: pressure stall information on Linux
 * (of the machine and of the control group), the memorystatus level on macOS (not run on a Mac
 * yet). It decides when nothing more is loaded, and when loading goes on.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { unlessMissing } from './files.ts';

export type PressureReading =
  | {
      readonly kind: 'psi';
      /** Share of the last 10 s in which some, and in which all tasks waited for memory, in %. */
      readonly some: number;
      readonly full: number;
      readonly of: string;
    }
  /** kern.memorystatus_vm_pressure_level: 1 normal, 2 warning, 4 critical. */
  | { readonly kind: 'level'; readonly level: number };

/** null = this system says nothing of it. */
export type PressureSource = () => Promise<PressureReading | null>;

/**
 * In a tenth of the last 10 s something waited for memory: reclaim is no longer for free. A
 * machine that only caches files is near 0. Loading goes on at a quarter of it, so that it does not
 * flap.
 */
const SOME_PERCENT_MAX = 10;
const SOME_PERCENT_RESUME = 2.5;
const LEVEL_WARNING = 2;

/** Why nothing may be loaded, by the latest reading and whether it was so before; null = it may. */
export function pressureReason(reading: PressureReading | null, wasPaused: boolean): string | null {
  if (reading === null) return null;
  if (reading.kind === 'level') {
    if (reading.level < LEVEL_WARNING) return null;
    const name = reading.level === LEVEL_WARNING ? 'warning' : 'critical';
    return `the system is short of memory (memory pressure ${name})`;
  }
  const limit = wasPaused ? SOME_PERCENT_RESUME : SOME_PERCENT_MAX;
  if (reading.some < limit) return null;
  return (
    `${reading.of} is short of memory: processes waited for it ${reading.some} % of the last ` +
    `10 s, loading goes on below ${SOME_PERCENT_RESUME} %`
  );
}

/** Of the machine and of this process's control group the worse. `root` is `/` but in tests. */
export function linuxPressure(root: string): PressureSource {
  const read = (path: string): Promise<string | null> =>
    unlessMissing(readFile(`${root}${path}`, 'utf8'));
  return async () => {
    const group = groupOf((await read('proc/self/cgroup')) ?? '');
    const folders = group === null ? [] : HIERARCHIES.map((mount) => mount + group);
    const sources = [{ of: 'the machine', path: 'proc/pressure/memory' }];
    for (const folder of folders) {
      // Only the group of all processes has no such file, and its pressure is the machine's.
      if ((await read(`${folder}/cgroup.events`)) === null) continue;
      sources.push({ of: 'the control group', path: `${folder}/memory.pressure` });
    }
    let worst: PressureReading | null = null;
    for (const { of, path } of sources) {
      const text = await unsupported(read(path));
      const reading = text === null ? null : parsePsi(text, of);
      if (reading === null || (worst !== null && worst.some >= reading.some)) continue;
      worst = reading;
    }
    return worst;
  };
}

/** A kernel that has the file may be started without the account: reading it then fails. */
async function unsupported(reading: Promise<string | null>): Promise<string | null> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EOPNOTSUPP') return null;
    throw error;
  }
}

/** Where the unified hierarchy is: alone, or beside those of the first version. */
const HIERARCHIES = ['sys/fs/cgroup', 'sys/fs/cgroup/unified'] as const;

/**
 * The group in the unified hierarchy, `` for the topmost that this process sees: that of a
 * container, where it has a namespace of its own. null = there is none.
 */
export function groupOf(cgroups: string): string | null {
  const path = /^0::(\/.*)$/m.exec(cgroups)?.[1];
  if (path === undefined || path.includes('..')) return null;
  return path === '/' ? '' : path;
}

/** `some avg10=0.12 avg60=…` and the line `full`; null when it is something else. */
export function parsePsi(
  text: string,
  of: string,
): Extract<PressureReading, { kind: 'psi' }> | null {
  const some = /^some avg10=([\d.]+)/m.exec(text)?.[1];
  const full = /^full avg10=([\d.]+)/m.exec(text)?.[1];
  if (some === undefined) return null;
  return { kind: 'psi', some: Number(some), full: Number(full ?? 0), of };
}

const run = promisify(execFile);

const macPressure: PressureSource = async () => {
  const { stdout } = await run('sysctl', ['-n', 'kern.memorystatus_vm_pressure_level'], {
    timeout: 5000,
  });
  const level = Number(stdout.trim());
  return Number.isInteger(level) && level > 0 ? { kind: 'level', level } : null;
};

export const systemPressure: PressureSource =
  process.platform === 'darwin' ? macPressure : linuxPressure('/');
