/**
 * Checks of the machine: Node, system, processor, memory. It reads what the system says and
 * measures nothing.
 */
import { arch, release } from 'node:os';
import si from 'systeminformation';
import { formatBytes } from '../../base/units.ts';
import { type Check, check } from './check.ts';

const NODE_MAJOR = 24;

/** Below this much available memory not even a small model and its cache fit beside a system. */
const AVAILABLE_BYTES_MIN = 1e9;

/** Vector extensions that the engine has code for, as Linux and macOS name them. */
const FEATURES = [
  'avx',
  'avx2',
  'f16c',
  'fma',
  'avx_vnni',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'amx_int8',
  'asimd',
  'asimddp',
  'i8mm',
  'bf16',
  'sve',
  'sve2',
];

export function checkNode(version: string = process.versions.node): Check {
  const enough = Number.parseInt(version, 10) >= NODE_MAJOR;
  return check('Node', enough ? 'ok' : 'fail', {
    found: version,
    advice: enough ? [] : [`Plenum needs Node ${NODE_MAJOR}; npm ci installs one, use npm start`],
    facts: { version },
  });
}

export function checkPlatform(): Check {
  const { platform } = process;
  const system = { linux: 'Linux', darwin: 'macOS' }[platform as string] ?? platform;
  const known = platform === 'linux' || platform === 'darwin';
  return check('System', known ? 'ok' : 'warn', {
    found: `${system} ${release()}, ${arch()}`,
    advice: known ? [] : ['Plenum is made for Linux and macOS'],
    facts: { platform, release: release(), arch: arch() },
  });
}

export async function checkCpu(): Promise<Check> {
  const cpu = await si.cpu();
  const flags = new Set(cpu.flags.toLowerCase().split(/\s+/));
  const features = FEATURES.filter((feature) => flags.has(feature));
  const { performanceCores = 0, efficiencyCores = 0 } = cpu;
  const kinds =
    efficiencyCores > 0
      ? `${performanceCores} performance and ${efficiencyCores} efficiency cores`
      : `${cpu.physicalCores} cores, ${cpu.cores} threads`;
  const slow = arch() === 'x64' && cpu.flags !== '' && !flags.has('avx2');
  return check('Processor', slow ? 'warn' : 'ok', {
    found: [`${cpu.manufacturer} ${cpu.brand}`.trim(), kinds, features.join(' ')]
      .filter((part) => part !== '')
      .join(', '),
    advice: slow ? ['without AVX2 the engine computes several times slower'] : [],
    facts: {
      model: `${cpu.manufacturer} ${cpu.brand}`.trim(),
      cores: cpu.physicalCores,
      threads: cpu.cores,
      performance_cores: performanceCores,
      efficiency_cores: efficiencyCores,
      features,
    },
  });
}

export interface MemoryFacts {
  readonly totalBytes: number;
  readonly availableBytes: number;
  /** Of the control group (a container or service); null = none below the total. */
  readonly limitBytes: number | null;
  readonly swapBytes: number;
}

export async function checkMemory(): Promise<Check> {
  const memory = await si.mem();
  const limit = process.constrainedMemory();
  return memoryCheck({
    totalBytes: memory.total,
    availableBytes: Math.min(memory.available, process.availableMemory()),
    limitBytes: limit > 0 && limit < memory.total ? limit : null,
    swapBytes: memory.swaptotal,
  });
}

export function memoryCheck(memory: MemoryFacts): Check {
  const { totalBytes, availableBytes, limitBytes, swapBytes } = memory;
  const short = availableBytes < AVAILABLE_BYTES_MIN;
  const found = [
    `${formatBytes(totalBytes)} in all`,
    ...(limitBytes === null ? [] : [`limited to ${formatBytes(limitBytes)} by the control group`]),
    `${formatBytes(availableBytes)} available`,
  ];
  const advice = [
    ...(short ? ['close other programs, or serve a smaller model with less context'] : []),
    ...(limitBytes === null ? [] : ['a model that needs more than the limit is killed by it']),
  ];
  return check('Memory', short ? 'warn' : 'ok', {
    found: found.join(', '),
    advice,
    facts: {
      total_bytes: totalBytes,
      available_bytes: availableBytes,
      limit_bytes: limitBytes,
      swap_bytes: swapBytes,
    },
  });
}
