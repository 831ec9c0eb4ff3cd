/**
 * The real `plenum` command as a process of its own, for tests that look at it from outside. It
 * listens on a port that the system chooses, keeps everything it said, and is ended whatever
 * happens to the test. Its home is a folder of the test's own, with the starter in it where the
 * test asks for that.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import OpenAI from 'openai';
import { z } from 'zod';
import { type ReadyBody, readySchema } from '../../src/wire/readiness.ts';
import { starterPath } from '../starter.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
/** A cold start on a busy machine with two cores takes a few seconds. */
const START_MS_MAX = 60_000;
const POLL_MS = 20;

export interface LaunchOptions {
  readonly home?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const logLineSchema = z.looseObject({
  msg: z.string(),
  model: z.string().optional(),
  pid: z.int().optional(),
});
type LogLine = z.infer<typeof logLineSchema>;

const live = new Set<Launched>();
const folders: string[] = [];
process.once('exit', () => {
  for (const launched of live) launched.kill('SIGKILL');
});

/** Ends everything that this file's tests started and removes their folders. For `afterAll`. */
export async function stopAll(): Promise<void> {
  await Promise.all([...live].map((launched) => launched.stop()));
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'plenum-e2e-'));
  folders.push(folder);
  return folder;
}

/** A home that has the starter already; null where it cannot be had (which was said aloud). */
export async function homeWithStarter(): Promise<string | null> {
  const blob = await starterPath();
  if (blob === null) return null;
  const home = await temporaryFolder();
  await mkdir(join(home, 'blobs'));
  await symlink(blob, join(home, 'blobs', basename(blob)));
  await cp(join(dirname(dirname(blob)), 'refs'), join(home, 'refs'), { recursive: true });
  return home;
}

/** The environment of a shell in which no test runs. */
export function cleanEnvironment(): Record<string, string> {
  const foreign = /^(PLENUM_|VITEST|TEST$|NODE_OPTIONS$|NODE_ENV$)/;
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined || foreign.test(name) ? [] : [[name, value]],
    ),
  );
}

/** Starts `plenum …` and waits for nothing. */
export function launch(args: readonly string[], options: LaunchOptions = {}): Launched {
  const home = options.home === undefined ? {} : { PLENUM_HOME: options.home };
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { ...cleanEnvironment(), ...home, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new Launched(child);
}

export class Launched {
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  #output = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    live.add(this);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
      });
    }
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        live.delete(this);
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Everything that it wrote to stdout and stderr. */
  get output(): string {
    return this.#output;
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The JSON lines of its log. */
  log(message: string): LogLine[] {
    const lines = this.#output.split('\n').filter((line) => line.startsWith('{'));
    return lines.flatMap((line) => {
      const parsed = logLineSchema.safeParse(parseOrNull(line));
      return parsed.success && parsed.data.msg === message ? [parsed.data] : [];
    });
  }

  /** The processes of its models, oldest first, the dead ones too. */
  hostPids(model?: string): number[] {
    const ready = this.log('model ready');
    return ready.flatMap((line) =>
      line.pid !== undefined && (model === undefined || line.model === model) ? [line.pid] : [],
    );
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it and its hosts, a stopped one too, at once. */
  async stop(): Promise<void> {
    const hosts = this.hostPids().filter(isAlive);
    this.kill('SIGKILL');
    await this.exited;
    for (const pid of hosts) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
}

export class TestServer {
  readonly launched: Launched;
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly port: number;

  constructor(launched: Launched, port: number) {
    this.launched = launched;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** The official client, which tries once. */
  client(apiKey = 'none'): OpenAI {
    return new OpenAI({ apiKey, baseURL: `${this.url}/v1`, maxRetries: 0 });
  }

  async ready(): Promise<ReadyBody> {
    const reply = await fetch(`${this.url}/ready`);
    return readySchema.parse(await reply.json());
  }

  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      ...init,
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** The sum of a metric's samples that carry these labels; NaN where there are none. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const page = await (await fetch(`${this.url}/metrics`)).text();
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    const values = page.split('\n').flatMap((line) => {
      const [, sample = '', value = ''] = /^(\S+(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
      const matches =
        sample.replace(/\{.*/, '') === name && wanted.every((w) => sample.includes(w));
      return matches ? [Number(value)] : [];
    });
    return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0);
  }

  /** What the hosts hold, summed over the models, as their latest reports have it. */
  async load(): Promise<{ held: number; running: number; waiting: number }> {
    const [held, running, waiting] = await Promise.all([
      this.metric('plenum_kv_cells', { state: 'held' }),
      this.metric('plenum_requests_running'),
      this.metric('plenum_requests_waiting'),
    ]);
    return { held, running, waiting };
  }

  stop(): Promise<void> {
    return this.launched.stop();
  }
}

/** Starts `plenum serve …` on a free port and waits until it says that it listens. */
export async function startServer(
  args: readonly string[],
  options: LaunchOptions = {},
): Promise<TestServer> {
  const launched = launch(['serve', ...args, '--port', '0'], options);
  const port = await listeningPort(launched);
  return new TestServer(launched, port);
}

/** The port in the line that the server greets with, once its models are up. */
export async function listeningPort(launched: Launched): Promise<number> {
  let port = Number.NaN;
  await until('the server listens', launched, () => {
    port = Number(/listens on http:\/\/\S+?:(\d+)\/v1/.exec(launched.output)?.[1]);
    return !Number.isNaN(port);
  });
  return port;
}

/** Waits for a condition; rejects with the process's own words when it exits or takes too long. */
export async function until(
  what: string,
  launched: Launched,
  condition: () => boolean | Promise<boolean>,
  limitMs = START_MS_MAX,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (launched.hasExited || performance.now() > deadline) {
      const why = launched.hasExited ? 'the process has exited' : `not within ${limitMs} ms`;
      throw new Error(`${what}: ${why}\n${launched.output.slice(-4000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Longer than the heartbeat with which hosts report, with room for a busy machine. */
const REPORT_MS_MAX = 1500;

/**
 * Waits until nothing is held, running or waiting in reports that are surely younger than this
 * call: the condition has to hold for longer than a report's interval.
 */
export async function untilIdle(server: TestServer): Promise<void> {
  let since = Number.POSITIVE_INFINITY;
  await until('no request is left', server.launched, async () => {
    const { held, running, waiting } = await server.load();
    const idle = held === 0 && running === 0 && waiting === 0;
    since = idle ? Math.min(since, performance.now()) : Number.POSITIVE_INFINITY;
    return performance.now() - since > REPORT_MS_MAX;
  });
}

/** False also for a dead process that nobody has waited for (a container may have no reaper). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const status = `/proc/${pid}/stat`;
  if (!existsSync(status)) return process.platform !== 'linux';
  // The name in parentheses may hold anything; the state is the letter after it.
  return !/\) [ZX] /.test(readFileSync(status, 'utf8'));
}

/** Writes `plenum.yaml` into a folder of its own; returns the arguments that choose it. */
export async function configuration(text: string): Promise<string[]> {
  const file = join(await temporaryFolder(), 'plenum.yaml');
  await writeFile(file, text);
  return ['--config', file];
}

function parseOrNull(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
