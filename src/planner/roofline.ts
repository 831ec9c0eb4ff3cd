/**
 * Where a machine's roofs are and where the steps of a model lie under them: operations per byte
 * against operations per second. Pure; the sums are those of step-cost.ts.
 */
import type { ModelCost } from './model-cost.ts';
import { type Placement, placedStep, singleDevice } from './placement.ts';
import type { Device, StepShape } from './step-cost.ts';

export interface RoofPoint {
  /** Operations per byte moved. */
  readonly intensity: number;
  readonly opsPerSecond: number;
}

export interface Roof {
  /** Peak bandwidth. */
  readonly bytesPerSecond: number;
  /** Peak of the matrix units; null where it is not known. */
  readonly opsPerSecond: number | null;
}

/** Of the device that the first layers lie on. */
export function roofOf({ stages }: Placement): Roof | null {
  const device = stages[0]?.device;
  if (device === undefined) return null;
  const { peakBytesPerSecond, peakOpsPerSecond, matrixOpsPerSecond } = device;
  const opsPerSecond = peakOpsPerSecond ?? matrixOpsPerSecond;
  return { bytesPerSecond: peakBytesPerSecond, opsPerSecond };
}

/** The most that the roofs let through at an intensity. */
export const underRoof = ({ bytesPerSecond, opsPerSecond }: Roof, intensity: number): number =>
  Math.min(bytesPerSecond * intensity, opsPerSecond ?? Number.POSITIVE_INFINITY);

const UNIT = 1e12;

/** What a step does and how fast it is predicted to do it; null without a device. */
export function roofPoint(
  shape: StepShape,
  cost: ModelCost,
  placement: Placement,
): RoofPoint | null {
  const device = placement.stages[0]?.device;
  if (device === undefined) return null;
  const seconds = placedStep({ shape, cost, placement }).totalMs / 1e3;
  const bytes = limitOf(shape, cost, { ...device, ...BYTES_ONLY }) * UNIT;
  const ops = limitOf(shape, cost, { ...device, ...OPS_ONLY }) * UNIT;
  return { intensity: ops / bytes, opsPerSecond: ops / seconds };
}

/** Devices on which a step takes as many seconds as it moves, or does, 1e12 of. */
const BYTES_ONLY = { peakBytesPerSecond: UNIT, peakOpsPerSecond: null, matrixOpsPerSecond: null };
const OPS_ONLY = { peakBytesPerSecond: Number.POSITIVE_INFINITY, peakOpsPerSecond: UNIT };

const limitOf = (shape: StepShape, cost: ModelCost, device: Device): number =>
  placedStep({ shape, cost, placement: singleDevice(device) }).limitMs / 1e3;
