/**
 * Starts this server and llama.cpp's on a free port, waits until each can answer, and ends them.
 * Every process started here is ended with the benchmark, however it ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runStream } from './load.ts';
import type { BenchOptions } from './options.ts';
import { loadedKernels, peerEnvironment } from './peer-libraries.ts';
import { descendants } from './processes.ts';
import { promptTokens } from './prompts.ts';
import { temporaryFolder } from './temporary.ts';

export type ServerKind = 'plenum' | 'llama-server';

export interface Shape {
  /** Longest sequence, for both: the peer is given this times `parallel`. */
  readonly contextTokens: number;
  readonly parallel: number;
  /** Served instead of the model file: `sim:…`. */
  readonly reference?: string;
  /** Further flags of this server, such as `--step-target-ms`. */
  readonly plenumFlags?: readonly string[];
}

export interface RunningServer {
  readonly kind: ServerKind;
  readonly url: string;
  readonly pid: number;
  /** Engine libraries in use, by file. */
  readonly kernels: readonly string[];
  stop(): Promise<void>;
}

const ROOT = join(import.meta.dirname, '../..');
const START_MS_MAX = 180_000;
const STOP_MS_MAX = 15_000;
const LOG_CHARS_MAX = 8_000;

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
process.once('SIGINT', () => process.exit(130));

/** Starts a server, waits for it and runs one short completion, so that nothing is cold. */
export async function startServer(
  kind: ServerKind,
  options: BenchOptions,
  shape: Shape,
): Promise<RunningServer> {
  const port = await freePort();
  const command =
    kind === 'plenum' ? plenumCommand(options, shape, port) : peerCommand(options, shape, port);
  const server = await launch(command, `http://127.0.0.1:${port}`, kind);
  const prompt = await promptTokens(server.url, 32, 0);
  await runStream(server.url, { prompt, maxTokens: 8 });
  return { ...server, kernels: loadedKernels([server.pid, ...descendants(server.pid)]) };
}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/** An empty folder and no PLENUM_* of the user: what is measured are the defaults. */
export function plenumEnvironment(): { readonly cwd: string; readonly env: NodeJS.ProcessEnv } {
  const home = temporaryFolder();
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('PLENUM_'));
  return { cwd: home, env: { ...Object.fromEntries(own), PLENUM_HOME: home } };
}

function plenumCommand(options: BenchOptions, shape: Shape, port: number): Command {
  const flags = {
    '--port': port,
    '--threads': options.threads,
    '--parallel': shape.parallel,
    '--context': shape.contextTokens,
  };
  const main = join(ROOT, 'src/cli/main.ts');
  const reference = shape.reference ?? options.model;
  // As `npm start` runs it.
  const node = ['--max-semi-space-size=4'];
  const args = [...node, main, 'serve', reference, ...flat(flags), ...(shape.plenumFlags ?? [])];
  return { file: process.execPath, args, ...plenumEnvironment() };
}

function peerCommand(options: BenchOptions, shape: Shape, port: number): Command {
  if (options.llamaServer === null) throw new Error('--llama-server is missing');
  const flags = {
    '-m': options.model,
    '--port': port,
    '--threads': options.threads,
    '--threads-batch': options.threads,
    '-np': shape.parallel,
    '-c': shape.contextTokens * shape.parallel,
  };
  const { cwd, env } = peerEnvironment(options.peerKernels);
  return { file: options.llamaServer, args: flat(flags), cwd, env: { ...process.env, ...env } };
}

const flat = (flags: Readonly<Record<string, string | number>>): string[] =>
  Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)]);

/** Runs a command until its server is ready. Throws with the end of its log when it is not. */
export async function launch(
  command: Command,
  url: string,
  kind: ServerKind,
): Promise<Omit<RunningServer, 'kernels'>> {
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: command.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let log = '';
  const keep = (text: string): void => {
    log = (log + text).slice(-LOG_CHARS_MAX);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  child.once('error', (error) => keep(error.message));
  child.once('exit', () => running.delete(child));
  const path = kind === 'plenum' ? '/ready' : '/health';
  const isReady = await waitUntilReady(new URL(path, url), () => running.has(child));
  if (!isReady) {
    child.kill('SIGKILL');
    throw new Error(`${kind} did not become ready; the end of its log:\n${log}`);
  }
  return { kind, url, pid: child.pid ?? 0, stop: () => end(child) };
}

async function waitUntilReady(url: URL, isAlive: () => boolean): Promise<boolean> {
  const deadline = performance.now() + START_MS_MAX;
  while (isAlive() && performance.now() < deadline) {
    // Nobody listens yet: the same as a server that says that it is not ready.
    const status = await fetch(url).then(
      async (response) => {
        await response.body?.cancel();
        return response.status;
      },
      () => 0,
    );
    if (status === 200) return true;
    await delay(100);
  }
  return false;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  await exited;
  clearTimeout(killer);
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
