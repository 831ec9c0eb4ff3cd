/**
 * Where Plenum keeps its data, by the customs of the system, and how much room is left there. It
 * creates nothing.
 */
import { statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { PlenumError } from '../base/errors.ts';
import { formatBytes } from '../base/units.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export function userHome(env: Env): string {
  return env.HOME ?? homedir();
}

/**
 * `PLENUM_HOME`, or the user's data directory: `~/Library/Application Support/plenum` on macOS,
 * `$XDG_DATA_HOME/plenum` or `~/.local/share/plenum` elsewhere. A relative `XDG_DATA_HOME` does not
 * count (XDG base directory specification); a relative `PLENUM_HOME` is taken from here.
 */
export function plenumHome(env: Env, platform: NodeJS.Platform = process.platform): string {
  if (env.PLENUM_HOME !== undefined && env.PLENUM_HOME !== '') return resolve(env.PLENUM_HOME);
  if (platform === 'darwin') return join(userHome(env), 'Library', 'Application Support', 'plenum');
  const data = env.XDG_DATA_HOME;
  if (data !== undefined && isAbsolute(data)) return join(data, 'plenum');
  return join(userHome(env), '.local', 'share', 'plenum');
}

export type FreeBytes = (path: string) => Promise<number>;

/** Bytes that a user may still write below `path`, which need not exist yet. */
export async function freeBytes(path: string): Promise<number> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    try {
      const stat = await statfs(folder);
      return stat.bavail * stat.bsize;
    } catch (error) {
      const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      if (!missing || folder === dirname(folder)) throw error;
    }
  }
}

/** Left free on the disk in any case: a full system disk stops more than this program. */
export const DISK_RESERVE_BYTES = 256 * 1024 * 1024;

/** @throws PlenumError disk_full when `neededBytes` and the reserve do not fit. */
export async function requireSpace(
  path: string,
  neededBytes: number,
  free: FreeBytes = freeBytes,
): Promise<void> {
  const available = await free(path);
  if (neededBytes + DISK_RESERVE_BYTES <= available || neededBytes <= 0) return;
  throw diskFull(path, neededBytes, available);
}

export function diskFull(path: string, neededBytes: number, available: number): PlenumError {
  return new PlenumError(
    'disk_full',
    `not enough space in ${path}: ${formatBytes(neededBytes)} are needed and ` +
      `${formatBytes(DISK_RESERVE_BYTES)} are kept in reserve, but ${formatBytes(available)} are ` +
      'free. Remove models with plenum rm, or point PLENUM_HOME at another disk',
    { details: { neededBytes, freeBytes: available, reserveBytes: DISK_RESERVE_BYTES } },
  );
}
