/**
 * Checks of the graphics processor and of what it may use of unified memory. On macOS it asks
 * `sysctl`; the readings there follow the system's documentation and have not been run on a Mac.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import si from 'systeminformation';
import { formatBytes } from '../../base/units.ts';
import { type Check, check } from './check.ts';

const SYSCTL_TIMEOUT_MS = 5000;
const MIB = 1024 * 1024;

/** What of the total may be wired for the GPU before the system itself is short. */
const WIRED_FRACTION_MAX = 0.9;

const APPLE_KEYS = [
  'hw.memsize',
  'machdep.cpu.brand_string',
  'iogpu.wired_limit_mb',
  'iogpu.disable_wired_collector',
];

export async function checkGraphics(): Promise<Check> {
  if (process.platform === 'darwin') return appleCheck(await sysctl(APPLE_KEYS));
  const { controllers } = await si.graphics();
  return graphicsCheck(
    controllers.map(({ vendor, model }) => `${vendor} ${model}`.trim()).filter((n) => n !== ''),
  );
}

/** Linux: the packaged library computes on the CPU. */
export function graphicsCheck(names: readonly string[]): Check {
  const capable = names.filter((name) => /nvidia|geforce|radeon|amd|arc/i.test(name));
  return check('Graphics', capable.length === 0 ? 'ok' : 'warn', {
    found: names.length === 0 ? 'none found; the CPU computes' : names.join(', '),
    advice:
      capable.length === 0
        ? []
        : ['the packaged engine for Linux has no backend for it; the CPU computes'],
    facts: { controllers: names },
  });
}

/** From the values of `APPLE_KEYS`; a key that the system does not have is absent. */
export function appleCheck(values: ReadonlyMap<string, string>): Check {
  const chip = values.get('machdep.cpu.brand_string') ?? 'unknown chip';
  const totalBytes = Number(values.get('hw.memsize') ?? 0);
  const limitMb = Number(values.get('iogpu.wired_limit_mb') ?? 0);
  const keepsWired = values.get('iogpu.disable_wired_collector') === '1';
  const tooHigh = totalBytes > 0 && limitMb * MIB > totalBytes * WIRED_FRACTION_MAX;
  const limit =
    limitMb === 0
      ? 'GPU limit: the default of macOS (about 74 to 81 % of memory up to 64 GB)'
      : `GPU limit: ${formatBytes(limitMb * MIB)} (iogpu.wired_limit_mb)`;
  const advice = [
    'this check has not been run on a Mac yet; compare it with: sysctl iogpu hw.memsize',
    ...(tooHigh
      ? ['iogpu.wired_limit_mb is over 90 % of memory, which has made systems panic: lower it']
      : []),
    ...(keepsWired
      ? []
      : ['macOS unwires idle GPU memory after about a second; the next request pays for it']),
  ];
  return check('Graphics', tooHigh ? 'warn' : 'ok', {
    found: `${chip}, ${formatBytes(totalBytes)} of unified memory; ${limit}`,
    advice,
    facts: {
      chip,
      memory_bytes: totalBytes,
      wired_limit_bytes: limitMb === 0 ? null : limitMb * MIB,
      run_on_a_mac: false,
    },
  });
}

async function sysctl(keys: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const run = promisify(execFile);
  const values = new Map<string, string>();
  for (const key of keys) {
    try {
      const { stdout } = await run('sysctl', ['-n', key], { timeout: SYSCTL_TIMEOUT_MS });
      values.set(key, stdout.trim());
    } catch {
      // A system without the key: it stays absent.
    }
  }
  return values;
}
