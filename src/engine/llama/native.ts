/**
 * The library of this process: opened, proven, its log installed and its backends loaded, once. And
 * what it found to compute with, for `plenum doctor` and for an engine's facts.
 */
import os from 'node:os';
import { type Binding, DEVICE_TYPES, openBinding, type Pointer } from './binding.ts';
import { PINNED_RELEASE } from './library.ts';
import { installLog, NativeLog } from './log.ts';
import { runningCalls } from './memory.ts';
import { proveLibrary } from './proof.ts';

export interface NativeLibrary {
  readonly binding: Binding;
  readonly log: NativeLog;
}

let opened: NativeLibrary | null = null;

/** Throws PlenumError `library_missing` or `binding_mismatch`. */
export function openLibrary(): NativeLibrary {
  if (opened !== null) return opened;
  const binding = openBinding();
  proveLibrary(binding);
  const log = new NativeLog();
  installLog(binding, log);
  binding.backendInit();
  binding.loadBackends(binding.files.directory);
  process.once('exit', (code) => leave(binding, code));
  opened = { binding, log };
  return opened;
}

/**
 * From here on JavaScript can no longer be called, but the library still speaks while it is torn
 * down: its log goes nowhere. And a thread that waits for a callback (progress while a model loads)
 * would never return, while Node waits for its threads: then the process ends without waiting.
 */
function leave(binding: Binding, code: number): void {
  binding.logSet(binding.noop, null);
  if (runningCalls() > 0) binding.exitNow(code);
}

export interface DeviceInfo {
  readonly name: string;
  readonly description: string;
  readonly type: (typeof DEVICE_TYPES)[number];
  readonly backend: string;
  readonly memoryFreeBytes: number;
  readonly memoryTotalBytes: number;
}

export interface DeviceProbe {
  readonly release: string;
  readonly version: string;
  readonly packageName: string;
  readonly packageVersion: string;
  readonly directory: string;
  /** The CPU variant that ggml chose among those of the package: `sapphirerapids`, `apple_m4`. */
  readonly cpuVariant: string;
  readonly devices: readonly DeviceInfo[];
  readonly gpu: boolean;
  /** The library's own words about the features of each backend. */
  readonly systemInfo: string;
  readonly logicalCpus: number;
}

/** Opens the library without a model. Throws PlenumError `library_missing`, `binding_mismatch`. */
export function probeDevices(): DeviceProbe {
  const { binding, log } = openLibrary();
  const devices = listDevices(binding).map((device) => describe(binding, device));
  return {
    release: PINNED_RELEASE,
    version: binding.version(),
    packageName: binding.files.packageName,
    packageVersion: binding.files.packageVersion,
    directory: binding.files.directory,
    cpuVariant: log.cpuVariant ?? 'unknown',
    devices,
    gpu: devices.some(({ type }) => isGpu(type)),
    systemInfo: binding.systemInfo().trim(),
    logicalCpus: os.availableParallelism(),
  };
}

export const isGpu = (type: DeviceInfo['type']): boolean => type === 'gpu' || type === 'igpu';

function listDevices(binding: Binding): Pointer[] {
  return Array.from({ length: Number(binding.deviceCount()) }, (_, i) => binding.device(i));
}

function describe(binding: Binding, device: Pointer): DeviceInfo {
  const free: [number | bigint | null] = [null];
  const total: [number | bigint | null] = [null];
  binding.deviceMemory(device, free, total);
  return {
    name: binding.deviceName(device),
    description: binding.deviceDescription(device),
    type: DEVICE_TYPES[binding.deviceType(device)] ?? 'meta',
    backend: binding.backendName(binding.deviceBackend(device)),
    memoryFreeBytes: Number(free[0] ?? 0),
    memoryTotalBytes: Number(total[0] ?? 0),
  };
}

/** The backend that computes on the CPU; null when none was loaded. */
export function cpuBackend(binding: Binding): Pointer | null {
  const cpu = listDevices(binding).find((d) => DEVICE_TYPES[binding.deviceType(d)] === 'cpu');
  return cpu === undefined ? null : binding.deviceBackend(cpu);
}
