/**
 * A lock file between processes: whoever creates it holds it; it says who that is. A lock whose
 * holder is gone is taken over. It orders writers of one user's store on one machine; it is no lock
 * for threads, and none across machines that share a disk beyond the heartbeat.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** The holder touches its lock this often. */
const HEARTBEAT_MS = 5_000;
/** Untouched for this long, a lock of another machine, or of a reused process id, is stale. */
const STALE_MS = 10 * 60_000;
/** Time for which a lock may be empty: between its creation and its content. */
const EMPTY_MS = 5_000;
const POLL_MS = 150;

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly token: string;
}

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once, when another process holds the lock and this one begins to wait. */
  readonly onWait?: ((holderPid: number) => void) | undefined;
  /** Whether a process id of this machine is alive. */
  readonly isAlive?: ((pid: number) => boolean) | undefined;
}

/**
 * Runs `work` while holding the lock file at `path`; waits for another holder until `signal`.
 * Not re-entrant.
 */
export async function withLock<T>(
  path: string,
  options: LockOptions,
  work: () => Promise<T>,
): Promise<T> {
  const token = await acquire(path, options);
  const heartbeat = setInterval(() => {
    const now = new Date();
    // A lock that cannot be touched is noticed when it is released.
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    await release(path, token);
  }
}

async function acquire(path: string, options: LockOptions): Promise<string> {
  const token = randomUUID();
  await mkdir(dirname(path), { recursive: true });
  let told = false;
  for (;;) {
    options.signal?.throwIfAborted();
    if (await create(path, token)) return token;
    const holder = await readHolder(path);
    if (await isStale(path, holder, options)) {
      await breakLock(path, holder, options);
      continue;
    }
    if (!told && holder !== null) {
      told = true;
      options.onWait?.(holder.pid);
    }
    await wait(POLL_MS, undefined, { signal: options.signal });
  }
}

async function create(path: string, token: string): Promise<boolean> {
  const holder: Holder = { pid: process.pid, host: hostname(), token };
  try {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(JSON.stringify(holder));
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Null when the file is gone, empty or not a lock. */
async function readHolder(path: string): Promise<Holder | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof value !== 'object' || value === null) return null;
    if (!('pid' in value && 'host' in value && 'token' in value)) return null;
    const { pid, host, token } = value;
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof token !== 'string') {
      return null;
    }
    return { pid, host, token };
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function isStale(
  path: string,
  holder: Holder | null,
  options: LockOptions,
): Promise<boolean> {
  const ageMs = await age(path);
  if (ageMs === null) return false;
  if (holder === null) return ageMs > EMPTY_MS;
  if (ageMs > STALE_MS) return true;
  return holder.host === hostname() && !(options.isAlive ?? isAlive)(holder.pid);
}

async function age(path: string): Promise<number | null> {
  try {
    return Date.now() - (await stat(path)).mtimeMs;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/**
 * Removes a stale lock. Two processes may find the same lock stale: the second must not remove the
 * lock that the first has made since, so both look again under a lock of their own.
 */
async function breakLock(path: string, stale: Holder | null, options: LockOptions): Promise<void> {
  const breaker = `${path}.breaking`;
  if (!(await create(breaker, randomUUID()))) {
    // Held for a few system calls only, so an old one was left by a crash.
    const ageMs = await age(breaker);
    if (ageMs !== null && ageMs > EMPTY_MS) await rm(breaker, { force: true });
    await wait(POLL_MS, undefined, { signal: options.signal });
    return;
  }
  try {
    const now = await readHolder(path);
    if (now?.token === stale?.token && (await isStale(path, now, options))) {
      await rm(path, { force: true });
    }
  } finally {
    await rm(breaker, { force: true });
  }
}

async function release(path: string, token: string): Promise<void> {
  const holder = await readHolder(path);
  // Another process may have judged this one dead while the machine slept.
  if (holder?.token === token) await rm(path, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}

/** Whether `error` is of the system and carries this code, such as `ENOENT`. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Whether someone who is alive holds the lock now: advice for a listing, never for a decision. */
export async function isLocked(path: string): Promise<boolean> {
  const holder = await readHolder(path);
  if (holder === null) return false;
  return !(await isStale(path, holder, {}));
}
