/**
 * A server that the bench starts itself: a command line with {port} in it, run by the shell in a
 * process group of its own, waited for, and ended with everything that it started. However the
 * bench ends, its servers end with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { PlenumError } from '../../base/errors.ts';
import { waitFor } from '../load/wait.ts';
import { ask } from './api.ts';

export interface SpawnOptions {
  readonly name: string;
  /** With {port}, which every place of is replaced. */
  readonly command: string;
  readonly apiKey: string | null;
  /** Path that answers 200 when it is ready; null: found out, see `isReady`. */
  readonly readyPath: string | null;
  readonly startMsMax: number;
  readonly signal: AbortSignal;
}

export interface SpawnedServer {
  readonly url: string;
  readonly pid: number;
  /** From starting it until it was ready. */
  readonly readyMs: number;
  /** The end of what it printed. */
  log(): string;
  hasExited(): boolean;
  stop(): Promise<void>;
}

const POLL_MS = 50;
const STOP_MS_MAX = 15_000;
/** What is left of a group whose first process has ended: dead ones that nobody has collected. */
const ORPHANS_MS_MAX = 1000;
const LOG_CHARS_MAX = 4000;
const LOG_LINES_SHOWN = 12;

const groups = new Set<ChildProcess>();
function killAll(): void {
  for (const child of groups) killGroup(child, 'SIGKILL');
}
process.once('exit', killAll);
// A terminal that is closed: Node would end without its exit handlers.
process.once('SIGHUP', () => process.exit(129));

/** Throws `usage` where the command has no {port}, `load_failed` where it does not become ready. */
export async function spawnServer(options: SpawnOptions): Promise<SpawnedServer> {
  const { name, command, signal } = options;
  const port = await freePort();
  const startedAt = performance.now();
  const child = spawn('/bin/sh', ['-c', withPort(command, port, name)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  groups.add(child);
  let log = '';
  const keep = (text: string): void => {
    log = (log + text).slice(-LOG_CHARS_MAX);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  child.once('error', (error) => keep(error.message));
  const hasExited = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const server = {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    log: () => log,
    hasExited,
    stop: () => stopGroup(child),
  };
  try {
    await untilReady(server.url, options, () => child.pid === undefined || hasExited());
  } catch (thrown) {
    await server.stop();
    signal.throwIfAborted();
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const end = log.trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n  ');
    throw new PlenumError('load_failed', `${name}: ${why}; it printed last:\n  ${end}`);
  }
  return { ...server, readyMs: performance.now() - startedAt };
}

export function withPort(command: string, port: number, name: string): string {
  if (command.includes('{port}')) return command.replaceAll('{port}', String(port));
  const example = "'llama-server -m model.gguf --port {port}'";
  throw new PlenumError('usage', `--spawn ${name}: the command lacks {port}; one is ${example}`);
}

async function untilReady(
  url: string,
  options: SpawnOptions,
  isGone: () => boolean,
): Promise<void> {
  const { apiKey, readyPath, startMsMax, signal } = options;
  const deadline = performance.now() + startMsMax;
  while (performance.now() < deadline) {
    if (isGone()) throw new Error('it ended before it was ready');
    if (await isReady({ url, apiKey, signal }, readyPath)) return;
    if (!(await waitFor(POLL_MS, signal))) throw new Error('interrupted');
  }
  throw new Error(`it was not ready in ${startMsMax} ms`);
}

/**
 * It lists its models, and neither /ready nor /health says otherwise. A server that has no such
 * path answers 404 or the like; one that is loading 503.
 */
async function isReady(api: Parameters<typeof ask>[0], path: string | null): Promise<boolean> {
  if (path !== null) return (await ask(api, path)).status === 200;
  const models = await ask(api, '/v1/models');
  if (models.status !== 200) return false;
  for (const also of ['/ready', '/health']) {
    const { status } = await ask(api, also);
    if (status === 0 || (status >= 500 && status !== 501)) return false;
  }
  return true;
}

/** Ends the group: asks first, then does not ask. */
async function stopGroup(child: ChildProcess): Promise<void> {
  const forever = new AbortController().signal;
  killGroup(child, 'SIGTERM');
  let deadline = performance.now() + STOP_MS_MAX;
  let exitedAt: number | null = null;
  while (killGroup(child, 0) && performance.now() < deadline) {
    await waitFor(POLL_MS, forever);
    if (exitedAt === null && (child.exitCode !== null || child.signalCode !== null)) {
      exitedAt = performance.now();
      deadline = Math.min(deadline, exitedAt + ORPHANS_MS_MAX);
    }
  }
  killGroup(child, 'SIGKILL');
  groups.delete(child);
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  if (child.pid === undefined) return false;
  try {
    return process.kill(-child.pid, signal);
  } catch {
    // None of the group is left.
    return false;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') {
    throw new PlenumError('internal', 'the system gave no port');
  }
  return address.port;
}
