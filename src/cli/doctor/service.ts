/** Checks of what `serve` needs besides the machine: configuration, models' folder, port. */
import { access, constants } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { formatBytes } from '../../base/units.ts';
import type { Config } from '../../config/config.ts';
import type { ConfigFlags, Environment } from '../../config/layers.ts';
import { loadConfig } from '../../config/load.ts';
import { ModelStore } from '../../model/store.ts';
import { DISK_RESERVE_BYTES, freeBytes, plenumHome } from '../../model/store-home.ts';
import { type Check, check } from './check.ts';

/** Room for one small model and its download. */
const FREE_BYTES_COMFORT = 5e9;
const ANSWER_TIMEOUT_MS = 2000;

/** The configuration, if it is valid, and what to say of it. */
export function checkConfig(input: {
  readonly flags: ConfigFlags;
  readonly env: Environment;
  readonly cwd: string;
}): { readonly check: Check; readonly config: Config | null } {
  try {
    const { config } = loadConfig(input);
    const models = config.models.map(({ id, model }) => id ?? model);
    const from = config.file === null ? 'no file, the defaults' : config.file;
    const found = `${from}; serves ${models.join(', ')}`;
    const facts = { file: config.file, models };
    return { check: check('Configuration', 'ok', { found, facts }), config };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    const [found = '', ...advice] = message.split('\n').map((line) => line.trim());
    return { check: check('Configuration', 'fail', { found, advice }), config: null };
  }
}

export async function checkStorage(config: Config | null, env: Environment): Promise<Check> {
  const home = config?.home ?? plenumHome(env);
  const free = await freeBytes(home);
  const writable = await isWritable(home);
  const { records, broken } = await new ModelStore(home).list();
  const bytes = records.flatMap(({ files }) => files).reduce((sum, file) => sum + file.bytes, 0);
  const impossible = !writable || free < DISK_RESERVE_BYTES;
  const doubtful = free < FREE_BYTES_COMFORT || broken.length > 0;
  const status = impossible ? 'fail' : doubtful ? 'warn' : 'ok';
  return check('Models', status, {
    found:
      `${home}: ${records.length} models, ${formatBytes(bytes)}; ` +
      `${formatBytes(free)} of disk free`,
    advice: [
      ...(writable ? [] : ['it cannot be written; set PLENUM_HOME to a folder of yours']),
      ...(free < FREE_BYTES_COMFORT
        ? ['plenum rm frees space; PLENUM_HOME names another disk']
        : []),
      ...broken.map(({ path, reason }) => `${path} cannot be read: ${reason}`),
    ],
    facts: {
      home,
      writable,
      free_bytes: free,
      models: records.map(({ reference }) => reference),
      model_bytes: bytes,
      broken: broken.map(({ path }) => path),
    },
  });
}

/** Whether the folder, or the nearest one above it that exists, can be written. */
async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch (thrown) {
    const missing = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
    return missing && dirname(path) !== path ? isWritable(dirname(path)) : false;
  }
}

/** Whether `serve` could listen where it is told to. */
export async function checkPort(host: string, port: number): Promise<Check> {
  const address = `${host}:${port}`;
  const code = await listenError(host, port);
  const facts = { host, port, free: code === null };
  if (code === null) return check('Port', 'ok', { found: `${address} is free`, facts });
  if (code !== 'EADDRINUSE') {
    return check('Port', 'fail', {
      found: `cannot listen on ${address}: ${code}`,
      advice: [
        code === 'EACCES' ? 'ports below 1024 need rights' : 'server.host must be of this machine',
      ],
      facts,
    });
  }
  const answers = await answersHealth(host, port);
  return check('Port', answers ? 'ok' : 'warn', {
    found: answers
      ? `${address} is taken by a server that is healthy`
      : `${address} is taken by another process`,
    advice: answers
      ? ['if it is this server, all is well: plenum chat talks to it']
      : ['choose another with --port, or stop that process'],
    facts: { ...facts, healthy: answers },
  });
}

function listenError(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

async function answersHealth(host: string, port: number): Promise<boolean> {
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  const authority = name.includes(':') ? `[${name}]` : name;
  try {
    const response = await fetch(`http://${authority}:${port}/health`, {
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
