/** For tests: a machine whose times follow the step-cost model exactly, and its profile. */
import type { MachineProfile } from '../wire/profile.ts';

const all = (value: number) => ({
  float: value,
  q8: value,
  q4: value,
  k: value,
  k6: value,
  mx: value,
});

/** As an x86 core of 2021 measures: 12 GB/s, 60 GFLOP/s. */
export const PROFILE: MachineProfile = {
  schema: 4,
  machine: {
    platform: 'linux',
    arch: 'x64',
    cpu: 'Test Processor',
    cores: 2,
    ramBytes: 16 * 2 ** 30,
  },
  engine: 'llama v0.4.0',
  device: 'cpu (haswell), 1 thread',
  compute: 'cpu',
  threads: 1,
  kernels: { library: 'haswell', layout: 'split', attention: 'plain', ubatchTokens: 128 },
  measuredAt: '2026-11-27T12:00:00.000Z',
  bandwidth: { bytesPerSecond: 12e9, spreadPct: 3 },
  opsPerSecond: 60e9,
  params: {
    readShare: { ...all(0.9), float: 0.8 },
    kernelMicros: 4,
    elementNanos: 3,
    softness: 4,
    oneRowKernels: true,
    vectorShare: { ...all(0.6), float: 0.3, q8: 0.4 },
    matrixShare: { ...all(1), float: 0.45, k6: 0.65 },
    paddingByKind: { ...all(2), q8: 3, k6: 1 },
    pagedFactor: 1.2,
    expertShare: { ...all(0.6), q8: 0.4 },
    expertPadding: 0.4,
    routingMicros: 30,
    attention: { cacheShare: 0.9, attentionShare: 0.3, rowShare: 0.15, blockCells: 256 },
  },
  kinds: ['float', 'q8', 'q4', 'k', 'k6'],
  expertKinds: ['q8', 'q4', 'k'],
  errorPct: { decode: 6, prefill: 7 },
  steps: [
    {
      model: 'a',
      sequences: 1,
      tokensEach: 1,
      depth: 0,
      outputs: 1,
      measuredMs: 8,
      spreadPct: 5,
      repetitions: 6,
      predictedMs: 8.1,
    },
  ],
};
