/**
 * From a machine's figures and its family's parameters to the effective device that steps run on.
 * Pure. A rate that nobody publishes stays null; what needs it is then not predicted.
 */
import { PlenumError } from '../base/errors.ts';
import type { CatalogueMachine } from '../model/catalogue-types.ts';
import type { AttentionKind, SpeedParams } from './speed-params.ts';
import type { Device } from './step-cost.ts';

export interface DeviceAsk {
  readonly machine: CatalogueMachine;
  readonly params: SpeedParams;
  readonly attention: AttentionKind;
  /** Per-core rates of the machine's own family, when `params` are another backend's. */
  readonly ratesPerCore?: SpeedParams['ratesPerCore'] | undefined;
}

/** Throws `usage` when the machine's bandwidth is not known: nothing can be said without it. */
export function deviceOf({ machine, params, attention, ratesPerCore }: DeviceAsk): Device {
  const peak = machine.bandwidth?.value;
  if (peak === undefined || !(peak > 0)) {
    throw new PlenumError('usage', `${machine.id}: its memory bandwidth is not known`);
  }
  const dies = 1 + (machine.dies - 1) * params.secondDieShare;
  const perCore = params.ratesPerCore ?? ratesPerCore ?? null;
  return {
    peakBytesPerSecond: peak * 1e9,
    bandwidthBytesPerSecond: (peak * 1e9 * dies) / machine.dies,
    peakOpsPerSecond: scaled(machine.matrixTflops?.value, 1e12),
    matrixOpsPerSecond: sustained(machine, params, perCore?.matrix ?? null),
    vectorOpsPerSecond:
      scaled(machine.vectorTflops?.value, 1e12) ?? perCoreRate(machine, perCore?.vector ?? null),
    params,
    attention: params.attention[attention],
  };
}

const scaled = (value: number | undefined, by: number): number | null =>
  value === undefined ? null : value * by;

function perCoreRate(machine: CatalogueMachine, rate: number | null): number | null {
  return machine.gpuCores === null || rate === null ? null : machine.gpuCores.value * rate;
}

/** The peak, or what the board's power sustains if that is less. */
function sustained(
  machine: CatalogueMachine,
  { opsPerJoule, peakOpsShare }: SpeedParams,
  perCore: number | null,
): number | null {
  const peak = scaled(machine.matrixTflops?.value, 1e12) ?? perCoreRate(machine, perCore);
  const most = peak === null ? null : peak * peakOpsShare;
  const watts = machine.boardWatts?.value;
  if (opsPerJoule === null || watts === undefined) return most;
  return Math.min(most ?? Number.POSITIVE_INFINITY, watts * opsPerJoule);
}
