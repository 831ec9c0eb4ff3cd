/**
 * Asks the engine what a host would take, in a process of its own, and remembers the answer by file
 * and settings. It never fails a start: without an answer the planner's arithmetic stands, and says
 * so. It loads no model.
 */
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { HostSpec } from '../wire/host.ts';
import type { SimulatedAllocation, WeighReply } from '../wire/pool.ts';
import { unlessMissing } from './files.ts';
import { hostEnvironment } from './host-environment.ts';

export type Weighed =
  | { readonly allocation: SimulatedAllocation }
  /** Why there is none, for the log. */
  | { readonly reason: string };

export interface WeighOptions {
  /** Folder of remembered answers; null = nothing is remembered. */
  readonly memory: string | null;
  readonly signal?: AbortSignal;
}

const WEIGH_MAIN = new URL('../host/weigh.ts', import.meta.url);
/** Metadata of the largest vocabularies is read in about two seconds. */
const WEIGH_MS_MAX = 60_000;
const REMEMBERED_MAX = 256;
/** Changed whenever the way to the numbers changes. */
const FORMAT = 5;

const rememberedSchema = z.strictObject({
  onGpu: z.boolean(),
  repackedBytes: z.number().nonnegative().nullable(),
  cacheBytes: z.number().nonnegative().nullable(),
  computeBytes: z.number().nonnegative(),
});

/** Rejects only when `signal` is aborted. */
export async function weighHost(spec: HostSpec, options: WeighOptions): Promise<Weighed> {
  if (spec.engine.kind !== 'llama') return { reason: 'the simulated engine has no buffers' };
  options.signal?.throwIfAborted();
  const file = options.memory === null ? null : join(options.memory, await nameOf(spec));
  const known = file === null ? null : await remembered(file);
  if (known !== null) return { allocation: known };
  const reply = await ask(spec, options.signal);
  if (reply.kind === 'failed') return { reason: reply.error.message };
  if (file !== null && options.memory !== null) {
    await remember(options.memory, file, reply.allocation);
  }
  return { allocation: reply.allocation };
}

function ask(spec: HostSpec, signal: AbortSignal | undefined): Promise<WeighReply> {
  const failed = (message: string): WeighReply => ({
    kind: 'failed',
    error: { code: 'load_failed', message },
  });
  return new Promise((resolve) => {
    const child = fork(WEIGH_MAIN, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: hostEnvironment(),
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    const end = (): void => void child.kill('SIGKILL');
    const late = setTimeout(end, WEIGH_MS_MAX);
    signal?.addEventListener('abort', end, { once: true });
    child.once('message', (reply: WeighReply) => resolve(reply));
    child.once('error', (thrown) => resolve(failed(thrown.message)));
    child.once('exit', (code, by) => {
      clearTimeout(late);
      signal?.removeEventListener('abort', end);
      const how = by === null ? `with code ${code}` : `by ${by}`;
      resolve(failed(`the process that lays the model out was ended ${how}`));
    });
    child.send(spec, () => undefined);
  });
}

/** The same file, settings, library and processor give the same answer. */
async function nameOf(spec: HostSpec): Promise<string> {
  const { engine, role, contextTokens, parallel, cells, encode } = spec;
  const path = engine.kind === 'llama' ? engine.path : '';
  const { size, mtimeMs } = (await unlessMissing(stat(path))) ?? { size: 0, mtimeMs: 0 };
  const processor = [process.platform, process.arch, os.cpus()[0]?.model ?? ''];
  const key = { FORMAT, engine, role, contextTokens, parallel, cells, encode, size, mtimeMs };
  const text = JSON.stringify([key, processor]);
  return `${createHash('sha256').update(text).digest('hex').slice(0, 32)}.json`;
}

async function remembered(file: string): Promise<SimulatedAllocation | null> {
  const text = await unlessMissing(readFile(file, 'utf8'));
  if (text === null) return null;
  try {
    return rememberedSchema.parse(JSON.parse(text));
  } catch (error) {
    // A damaged file is asked for again and written anew.
    if (error instanceof Error) return null;
    throw error;
  }
}

async function remember(
  folder: string,
  file: string,
  allocation: SimulatedAllocation,
): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const names = await readdir(folder);
    if (names.length >= REMEMBERED_MAX) {
      await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
    }
    const draft = `${file}.${process.pid}`;
    await writeFile(draft, JSON.stringify(allocation));
    await rename(draft, file);
  } catch (error) {
    // A home that cannot be written costs the time of asking again.
    if (!(error instanceof Error)) throw error;
  }
}
