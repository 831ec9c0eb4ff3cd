/** The machine that a bench runs on, for its report. */
import { arch, cpus, release, totalmem, type } from 'node:os';
import type { Machine } from '../../bench/result.ts';

export function benchMachine(): Machine {
  const processors = cpus();
  return {
    os: `${type()} ${release()}`,
    arch: arch(),
    cpu: processors[0]?.model.trim() || 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    gpu: null,
  };
}
