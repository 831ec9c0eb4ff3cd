/**
 * Fits the step-cost model to steps measured on one machine: the same terms and parameters that
 * published speeds are fitted with, for the kinds of weights that were measured. Pure; it is given
 * times and knows nothing of how they were taken.
 */
import { PlenumError } from '../base/errors.ts';
import { BLOCK_CELLS } from './engine-shape.ts';
import { fitParameters } from './fit.ts';
import { type ModelCost, WEIGHT_KINDS, type WeightGroup, type WeightKind } from './model-cost.ts';
import type { SpeedParams } from './speed-params.ts';
import { type Device, type StepShape, stepTerms } from './step-cost.ts';

export interface MeasuredStep {
  readonly cost: ModelCost;
  readonly shape: StepShape;
  readonly measuredMs: number;
}

export interface ProfileFit {
  /** Operations per second of the best step, to which shares relate. */
  readonly opsPerSecond: number;
  readonly params: SpeedParams;
  /** In the order of the steps. */
  readonly predictedMs: readonly number[];
  /** Kinds of weights that some step computed with; the others are taken from their nearest. */
  readonly kinds: readonly WeightKind[];
  readonly expertKinds: readonly WeightKind[];
}

/** Where the search begins, and how far it may go; shares are of the measured rates. */
const FREE = {
  read: [0.9, 0.2, 3],
  vector: [0.7, 0.02, 20],
  matrix: [0.9, 0.02, 20],
  padding: [2, 0.05, 64],
  kernelMicros: [2, 0.01, 200],
  cache: [0.5, 0.05, 2],
  tiles: [0.4, 0.005, 4],
  rows: [0.1, 0.002, 4],
  experts: [0.6, 0.02, 20],
  expertPadding: [0.3, 0.01, 8],
  routingMicros: [20, 0.1, 2000],
  elementNanos: [3, 0.05, 50],
  paged: [1.1, 1, 3],
} as const;

/** Measured steps change from one term to the other abruptly: a processor overlaps the two. */
const SOFTNESS = 4;
/** A kind of less than this share of a model says little of its kernels. */
const KIND_SHARE_MIN = 0.15;
const STEPS_MIN = 8;

/** What takes the place of a kind that was not measured, the nearest in work per weight first. */
const NEAREST: Readonly<Record<WeightKind, readonly WeightKind[]>> = {
  float: ['q8', 'q4', 'k', 'k6', 'mx'],
  q8: ['q4', 'k', 'k6', 'mx', 'float'],
  q4: ['k', 'q8', 'k6', 'mx', 'float'],
  k: ['q4', 'k6', 'q8', 'mx', 'float'],
  k6: ['k', 'q4', 'q8', 'mx', 'float'],
  mx: ['q4', 'k', 'q8', 'k6', 'float'],
};

/** How the engine attended and what it computed at once, which the steps' times belong to. */
export interface MeasuredKernels {
  readonly attention: 'plain' | 'flash';
  readonly ubatchTokens: number;
}

export interface MeasuredMachine {
  readonly compute: 'cpu' | 'gpu';
  readonly bandwidthBytesPerSecond: number;
  readonly kernels: MeasuredKernels;
}

/** Throws `usage` for too few steps. */
export function fitProfile(
  steps: readonly MeasuredStep[],
  { compute, bandwidthBytesPerSecond, kernels }: MeasuredMachine,
): ProfileFit {
  if (steps.length < STEPS_MIN) {
    const message = `${steps.length} measured steps are too few to fit a machine: ${STEPS_MIN}`;
    throw new PlenumError('usage', message);
  }
  const opsPerSecond = Math.max(...steps.map(rateOf));
  const known = { ...knownOf(steps), kernels, compute };
  const free = layout(known);
  const deviceAt = (values: readonly number[]): Device =>
    measuredDevice({ bandwidthBytesPerSecond, opsPerSecond, params: paramsOf(known, values) });
  const predict = (values: readonly number[]): number[] => {
    const device = deviceAt(values);
    return steps.map(({ cost, shape }) => stepTerms(shape, cost, device).totalMs);
  };
  const values = fitParameters({
    start: free.map(([start]) => start),
    lower: free.map(([, lower]) => lower),
    upper: free.map(([, , upper]) => upper),
    residuals: (at) =>
      predict(at).map((ms, i) => Math.log(ms / (steps[i]?.measuredMs ?? Number.NaN))),
  });
  const params = paramsOf(known, values);
  const { kinds, expertKinds } = known;
  return { opsPerSecond, params, predictedMs: predict(values), kinds, expertKinds };
}

export interface MeasuredRates {
  readonly bandwidthBytesPerSecond: number;
  readonly opsPerSecond: number;
  readonly params: SpeedParams;
}

/** The device that `params` relate to: what was measured stands for the peak. */
export function measuredDevice(rates: MeasuredRates): Device {
  const { bandwidthBytesPerSecond, opsPerSecond, params } = rates;
  return {
    peakBytesPerSecond: bandwidthBytesPerSecond,
    bandwidthBytesPerSecond,
    peakOpsPerSecond: opsPerSecond,
    matrixOpsPerSecond: opsPerSecond,
    vectorOpsPerSecond: opsPerSecond,
    params,
    attention: params.attention.flash,
  };
}

type Free = readonly [start: number, lower: number, upper: number];

/** Which kinds the steps say something of. */
interface Known {
  readonly kinds: readonly WeightKind[];
  readonly expertKinds: readonly WeightKind[];
}

function knownOf(steps: readonly MeasuredStep[]): Known {
  return {
    kinds: WEIGHT_KINDS.filter((kind) => steps.some(({ cost }) => has(cost.dense, kind))),
    expertKinds: WEIGHT_KINDS.filter((kind) => steps.some(({ cost }) => has(cost.experts, kind))),
  };
}

const has = (group: WeightGroup | null, kind: WeightKind): boolean =>
  group !== null && group.kinds[kind] >= KIND_SHARE_MIN;

function layout({ kinds, expertKinds }: Known): readonly Free[] {
  const { read, cache, kernelMicros, tiles, rows, vector, matrix, padding } = FREE;
  const { experts, expertPadding, routingMicros, elementNanos, paged } = FREE;
  const all = (free: Free, of: readonly WeightKind[]): Free[] => of.map(() => free);
  return [
    ...[kernelMicros, elementNanos, cache, tiles, rows, paged],
    ...[...all(read, kinds), ...all(vector, kinds), ...all(matrix, kinds)],
    ...all(padding, kinds),
    ...all(experts, expertKinds),
    expertPadding,
    routingMicros,
  ];
}

function paramsOf(
  { kinds, expertKinds, kernels, compute }: Known & Pick<MeasuredMachine, 'kernels' | 'compute'>,
  values: readonly number[],
): SpeedParams {
  const [kernelMicros = 0, elementNanos = 0, ...others] = values;
  const [cacheShare = 1, tiles = 1, rows = 1, pagedFactor = 1, ...shares] = others;
  const next = (known: readonly WeightKind[]) => byKind(known, shares.splice(0, known.length));
  const readShare = next(kinds);
  const vectorShare = next(kinds);
  const matrixShare = next(kinds);
  const paddingByKind = next(kinds);
  const attention = { cacheShare, attentionShare: tiles, extraKernels: 0 };
  const blocks = kernels.attention === 'plain' ? { blockCells: BLOCK_CELLS } : {};
  const byRow = { ...attention, rowShare: rows, ...blocks };
  return {
    bandwidthShare: 1,
    readShare,
    secondDieShare: 1,
    vectorShare,
    matrixShare,
    opsPerJoule: null,
    peakOpsShare: 1,
    ratesPerCore: null,
    attention: { flash: byRow, plain: byRow },
    softness: SOFTNESS,
    ...(compute === 'cpu' ? { oneRowKernels: true, pagedFactor } : {}),
    tilePadding: 0,
    paddingByKind,
    ...(expertKinds.length === 0 ? {} : expertParams(next(expertKinds), shares)),
    kernelMicros,
    elementNanos,
    ubatchTokens: kernels.ubatchTokens,
  };
}

function expertParams(
  expertShare: Readonly<Record<WeightKind, number>>,
  [expertPadding = 0, routingMicros = 0]: readonly number[],
): Pick<SpeedParams, 'expertShare' | 'expertPadding' | 'routingMicros'> {
  return { expertShare, expertPadding, routingMicros };
}

/** A value for every kind: its own, or that of the nearest kind that has one. */
function byKind(
  known: readonly WeightKind[],
  values: readonly number[],
): Record<WeightKind, number> {
  const of = (kind: WeightKind): number => {
    const nearest = [kind, ...NEAREST[kind]].find((one) => known.includes(one)) ?? kind;
    return values[known.indexOf(nearest)] ?? 1;
  };
  const [float, q8, q4] = [of('float'), of('q8'), of('q4')];
  return { float, q8, q4, k: of('k'), k6: of('k6'), mx: of('mx') };
}

function rateOf({ cost, shape, measuredMs }: MeasuredStep): number {
  const { dense, experts, head } = cost;
  const used = experts === null ? 0 : (experts.parameters * experts.used) / experts.count;
  const each = dense.parameters + used;
  return (2e3 * (each * shape.tokens + head.parameters * shape.outputs)) / measuredMs;
}
