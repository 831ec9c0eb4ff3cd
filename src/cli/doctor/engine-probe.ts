/**
 * The check of the engine: its library, its backends, its devices. The library is opened in a
 * child process (probe-child.ts), which may crash or hang without taking the doctor with it.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ErrorRecord } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import type { DeviceProbe } from '../../engine/llama/native.ts';
import { type Check, check } from './check.ts';

const PROBE_TIMEOUT_MS = 30_000;
const STDERR_CHARS_MAX = 4096;

export type ProbeReply =
  | { readonly kind: 'found'; readonly probe: DeviceProbe }
  | { readonly kind: 'refused'; readonly error: ErrorRecord };

export type ProbeResult =
  | ProbeReply
  /** The child ended without a reply. */
  | { readonly kind: 'crashed'; readonly how: string; readonly lastWords: string }
  | { readonly kind: 'hung'; readonly afterMs: number };

const CHILD = fileURLToPath(new URL('./probe-child.ts', import.meta.url));

/** Runs the probe in a child; `script` and `timeoutMs` are for tests. */
export function probeEngine(script = CHILD, timeoutMs = PROBE_TIMEOUT_MS): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const child = fork(script, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let lastWords = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = (lastWords + chunk.toString('utf8')).slice(-STDERR_CHARS_MAX);
    });
    const timer = setTimeout(() => {
      resolve({ kind: 'hung', afterMs: timeoutMs });
      child.kill('SIGKILL');
    }, timeoutMs);
    child.once('message', (reply: ProbeReply) => resolve(reply));
    child.once('error', (error) => {
      clearTimeout(timer);
      resolve({ kind: 'crashed', how: error.message, lastWords });
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      const how = signal === null ? `exit code ${code}` : signal;
      resolve({ kind: 'crashed', how, lastWords });
    });
  });
}

export function engineCheck(result: ProbeResult): Check {
  switch (result.kind) {
    case 'found':
      return foundCheck(result.probe);
    case 'refused': {
      const { code, message } = result.error;
      return check('Engine', 'fail', { found: message, facts: { code } });
    }
    case 'crashed': {
      const last = result.lastWords.trim().split('\n').at(-1) ?? '';
      return check('Engine', 'fail', {
        found: `the engine’s library crashed while it was opened (${result.how})`,
        advice: [
          ...(last === '' ? [] : [`its last words: ${last.slice(0, 200)}`]),
          'reinstall it with npm ci; if that does not help, this machine cannot run it',
        ],
        facts: { code: 'engine_failed', how: result.how },
      });
    }
    case 'hung':
      return check('Engine', 'fail', {
        found: `the engine’s library did not open within ${result.afterMs} ms`,
        advice: ['a driver may hang; restart the machine'],
        facts: { code: 'engine_failed', how: 'hung' },
      });
  }
}

function foundCheck(probe: DeviceProbe): Check {
  const devices = probe.devices.map(({ name, description, type, backend, memoryTotalBytes }) => {
    const memory = memoryTotalBytes > 0 ? `, ${formatBytes(memoryTotalBytes)}` : '';
    const owner = backend === name ? '' : `, ${backend}`;
    return `${name} (${type}${owner}): ${description}${memory}`;
  });
  const none = devices.length === 0;
  // Every Apple chip has Metal: without it the wrong package is installed.
  const noMetal = process.platform === 'darwin' && !probe.gpu;
  const compute = probe.gpu ? 'GPU' : `CPU (${probe.cpuVariant}), ${probe.logicalCpus} threads`;
  return check('Engine', none ? 'fail' : noMetal ? 'warn' : 'ok', {
    found: `llama ${probe.version} of ${probe.packageName}@${probe.packageVersion}; ${compute}`,
    advice: [
      ...devices,
      ...(probe.systemInfo === '' ? [] : [probe.systemInfo]),
      ...(none ? ['it found nothing to compute with; reinstall it with npm ci'] : []),
      ...(noMetal ? ['Metal was not found, so the CPU computes; reinstall with npm ci'] : []),
    ],
    facts: {
      version: probe.version,
      package: `${probe.packageName}@${probe.packageVersion}`,
      directory: probe.directory,
      cpu_variant: probe.cpuVariant,
      gpu: probe.gpu,
      devices,
      system_info: probe.systemInfo,
    },
  });
}
