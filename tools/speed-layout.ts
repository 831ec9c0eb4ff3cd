/**
 * The free parameters of the speed model, by backend, and how the families share them. What is not
 * listed here is not fitted. Each backend is fitted alone: they have no parameter in common.
 */
import type { SpeedParams } from '../src/planner/speed-params.ts';

export interface FreeParameter {
  readonly name: string;
  readonly start: number;
  readonly lower: number;
  readonly upper: number;
  readonly meaning: string;
}

export type Values = Readonly<Record<string, number>>;

export interface Backend {
  readonly name: string;
  readonly families: readonly string[];
  readonly free: readonly FreeParameter[];
  /** `family` with the free parameters at `values`. */
  readonly paramsOf: (family: string, values: Values) => SpeedParams;
}

const free = (
  name: string,
  [start, lower, upper]: readonly [number, number, number],
  meaning: string,
): FreeParameter => ({ name, start, lower, upper, meaning });

const kinds = (float: number, q8: number, low: number, mx: number) => ({
  float,
  q8,
  q4: low,
  k: low,
  k6: low,
  mx,
});

/** Kernels that separate attention launches beyond the fused one: QK, mask, softmax, copy, QKV. */
const PLAIN_KERNELS = 4;

const ATTENTION_FREE = [
  free('flashCache', [0.5, 0.02, 1], 'share of bandwidth, reading the cache, fused attention'),
  free('flashAttention', [0.4, 0.01, 1.5], 'share of the matrix rate in fused attention'),
  free('plainCache', [0.2, 0.01, 1], 'share of bandwidth, reading the cache, separate kernels'),
  free('plainAttention', [0.1, 0.005, 1.5], 'share of the matrix rate in separate kernels'),
];

function attentionOf(values: Values): SpeedParams['attention'] {
  const value = (name: string): number => values[name] ?? 0;
  return {
    flash: {
      cacheShare: value('flashCache'),
      attentionShare: value('flashAttention'),
      extraKernels: 0,
    },
    plain: {
      cacheShare: value('plainCache'),
      attentionShare: value('plainAttention'),
      extraKernels: PLAIN_KERNELS,
    },
  };
}

/** M4, FP32 rate per core (hmc-tech.com, see machine-figures.csv): that of M5 is not published. */
const M4_VECTOR_PER_CORE = 0.4295e12;

const METAL: Backend = {
  name: 'metal',
  families: ['metal-m1', 'metal-m2', 'metal-m3', 'metal-m4', 'metal-m5', 'metal-m6'],
  free: [
    free('bandwidth', [0.85, 0.3, 1], 'share of peak bandwidth, reading weights'),
    free('secondDie', [0.85, 0.4, 1], 'bandwidth that a second die adds'),
    free('softness', [2, 1, 4], 'exponent of the knee'),
    free('tilePadding', [16, 1, 128], 'idle rows of the last tile'),
    free('vectorFloat', [0.4, 0.01, 3], 'share of the FP32 rate for one row, F16 weights'),
    free('vectorQ8', [0.3, 0.01, 3], '… 8-bit weights'),
    free('vectorLow', [0.2, 0.01, 3], '… weights of fewer bits'),
    free('vectorMx', [0.1, 0.01, 3], '… MXFP4 weights'),
    free('matrixFloat', [0.75, 0.05, 1], 'share of the FP16 rate for many rows, F16 weights'),
    free('matrixQuant12', [0.7, 0.05, 1], '… quantised weights, M1 and M2'),
    free('matrixQuant34', [0.75, 0.05, 1], '… quantised weights, M3 and later'),
    free('kernelMicros', [6, 0.05, 60], 'time per kernel, in µs'),
    free('m5PerCore', [1, 0.2, 5], 'matrix rate of an M5 core, in TFLOPS'),
    ...ATTENTION_FREE,
  ],
  paramsOf: (family, values) => {
    const value = (name: string): number => values[name] ?? 0;
    const quant = /m[12]$/.test(family) ? value('matrixQuant12') : value('matrixQuant34');
    const isUnpublished = family === 'metal-m5' || family === 'metal-m6';
    return {
      bandwidthShare: value('bandwidth'),
      secondDieShare: value('secondDie'),
      vectorShare: kinds(
        value('vectorFloat'),
        value('vectorQ8'),
        value('vectorLow'),
        value('vectorMx'),
      ),
      matrixShare: kinds(value('matrixFloat'), quant, quant, quant),
      opsPerJoule: null,
      peakOpsShare: 1,
      ratesPerCore: isUnpublished
        ? { matrix: value('m5PerCore') * 1e12, vector: M4_VECTOR_PER_CORE }
        : null,
      attention: attentionOf(values),
      softness: value('softness'),
      tilePadding: value('tilePadding'),
      kernelMicros: value('kernelMicros'),
    };
  },
};

const JOULES = new Map([
  ['cuda-ampere', 'ampereOpsPerJoule'],
  ['cuda-ada', 'adaOpsPerJoule'],
  ['cuda-blackwell', 'blackwellOpsPerJoule'],
]);
const PEAKS = new Map([
  ['cuda-a100', 'a100Matrix'],
  ['cuda-hopper', 'hopperMatrix'],
  ['cuda-gb10', 'gb10Matrix'],
]);

const CUDA: Backend = {
  name: 'cuda',
  families: [...JOULES.keys(), ...PEAKS.keys()],
  free: [
    free('bandwidth', [0.9, 0.3, 1], 'share of peak bandwidth, reading weights: GDDR and LPDDR'),
    free('bandwidthHbm', [0.7, 0.3, 1], '… HBM'),
    free('tilePadding', [32, 1, 256], 'idle rows of the last tile'),
    free('vectorFloat', [0.3, 0.01, 5], 'share of the FP32 rate for one row, F16 weights'),
    free('vectorQuant', [0.5, 0.01, 5], '… quantised weights'),
    free('floatRatio', [1.2, 0.5, 4], 'matrix rate with F16 weights against quantised ones'),
    free('ampereOpsPerJoule', [0.17, 0.02, 2], 'matrix rate per watt of board power, Ampere (T)'),
    free('adaOpsPerJoule', [0.28, 0.02, 2], '… Ada'),
    free('blackwellOpsPerJoule', [0.3, 0.02, 2], '… Blackwell'),
    free('peakShare', [0.45, 0.1, 1], 'share of the FP16 peak where power is no limit'),
    free('a100Matrix', [0.3, 0.02, 1], 'share of the FP16 rate for many rows, A100'),
    free('hopperMatrix', [0.2, 0.02, 1], '… H100 and H200'),
    free('gb10Matrix', [0.4, 0.02, 1], '… GB10'),
    free('kernelMicros', [3, 0.05, 60], 'time per kernel, in µs'),
    free('kernelMicrosBlackwell', [3, 0.05, 60], '… Blackwell'),
    ...ATTENTION_FREE,
  ],
  paramsOf: (family, values) => {
    const value = (name: string): number => values[name] ?? 0;
    const joules = JOULES.get(family);
    const matrix = joules === undefined ? value(PEAKS.get(family) ?? '') : 1;
    const isHbm = family === 'cuda-a100' || family === 'cuda-hopper';
    const quant = value('vectorQuant');
    return {
      bandwidthShare: isHbm ? value('bandwidthHbm') : value('bandwidth'),
      secondDieShare: 1,
      vectorShare: kinds(value('vectorFloat'), quant, quant, quant),
      matrixShare: kinds(matrix * value('floatRatio'), matrix, matrix, matrix),
      opsPerJoule: joules === undefined ? null : value(joules) * 1e12,
      peakOpsShare: joules === undefined ? 1 : value('peakShare'),
      ratesPerCore: null,
      attention: attentionOf(values),
      softness: 1,
      tilePadding: value('tilePadding'),
      kernelMicros: value(family === 'cuda-blackwell' ? 'kernelMicrosBlackwell' : 'kernelMicros'),
    };
  },
};

/** What a backend with few rows borrows: neither its knee nor its attention was measured. */
const BORROWED = {
  secondDieShare: 0.9,
  peakOpsShare: 1,
  ratesPerCore: null,
  attention: {
    flash: { cacheShare: 0.5, attentionShare: 0.4, extraKernels: 0 },
    plain: { cacheShare: 0.2, attentionShare: 0.1, extraKernels: PLAIN_KERNELS },
  },
  softness: 1,
  tilePadding: 32,
} as const;

const VULKAN: Backend = {
  name: 'vulkan',
  families: ['vulkan-rdna3', 'vulkan-rdna4'],
  free: [
    free('bandwidth', [0.85, 0.3, 1], 'share of peak bandwidth, reading weights'),
    free('kernelMicros', [2, 0.05, 60], 'time per kernel, in µs'),
    free('rdna3OpsPerJoule', [0.1, 0.01, 2], 'matrix rate per watt, RDNA 3 (T)'),
    free('rdna4OpsPerJoule', [0.2, 0.01, 2], '… RDNA 4'),
  ],
  paramsOf: (family, values) => ({
    ...BORROWED,
    bandwidthShare: values.bandwidth ?? 0,
    vectorShare: kinds(0.2, 0.2, 0.2, 0.2),
    matrixShare: kinds(1, 1, 1, 1),
    opsPerJoule: (values[`${family.replace('vulkan-', '')}OpsPerJoule`] ?? 0) * 1e12,
    kernelMicros: values.kernelMicros ?? 0,
  }),
};

const MLX: Backend = {
  name: 'mlx',
  families: ['mlx'],
  free: [
    free('bandwidth', [0.8, 0.3, 1], 'share of peak bandwidth, reading weights'),
    free('kernelMicros', [3, 0.05, 60], 'time per kernel, in µs'),
    free('matrix', [0.7, 0.05, 1.5], 'share of the FP16 rate for many rows'),
    free('tilePadding', [16, 1, 256], 'idle rows of the last tile'),
  ],
  paramsOf: (_family, values) => ({
    ...BORROWED,
    bandwidthShare: values.bandwidth ?? 0,
    vectorShare: kinds(0.4, 0.4, 0.4, 0.4),
    matrixShare: kinds(
      values.matrix ?? 0,
      values.matrix ?? 0,
      values.matrix ?? 0,
      values.matrix ?? 0,
    ),
    opsPerJoule: null,
    softness: 2,
    tilePadding: values.tilePadding ?? 0,
    kernelMicros: values.kernelMicros ?? 0,
  }),
};

const CPU: Backend = {
  name: 'cpu',
  families: ['cpu'],
  free: [free('bandwidth', [0.75, 0.3, 1], 'share of the peak of the memory modules')],
  paramsOf: (_family, values) => ({
    ...BORROWED,
    bandwidthShare: values.bandwidth ?? 0,
    vectorShare: kinds(1, 1, 1, 1),
    matrixShare: kinds(1, 1, 1, 1),
    opsPerJoule: null,
    kernelMicros: 2,
  }),
};

export const BACKENDS: readonly Backend[] = [METAL, CUDA, VULKAN, MLX, CPU];
