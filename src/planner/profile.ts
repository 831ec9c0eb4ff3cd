/**
 * From a machine's profile to what the planner computes with: a device, a machine beside those of
 * the catalogue, the steps of a model. `plenum plan` and a host both come through here, so that
 * the milliseconds that are promised and those that the scheduler spends are the same. Pure.
 */
import type { CatalogueMachine, Figure } from '../model/catalogue-types.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import { type CacheType, cacheElementBytes } from '../model/geometry-cache.ts';
import type { MachineProfile } from '../wire/profile.ts';
import { deviceOf } from './device.ts';
import { modelCost } from './model-cost.ts';
import { singleDevice } from './placement.ts';
import type { MachineSetup } from './setup.ts';
import type { FamilyParams } from './speed-params.ts';
import type { PlannedSteps } from './step-guess.ts';

/** The id of the machine that a profile describes. */
export const THIS_MACHINE = 'this-machine';
const GIB = 2 ** 30;

/** The profile's parameters in the place of a family's. */
export function profileParams(profile: MachineProfile): FamilyParams {
  const { params, kernels, errorPct, steps } = profile;
  const { attention, expertShare, ...own } = params;
  const { blockCells, ...shares } = attention;
  const blocks = blockCells === null ? {} : { blockCells };
  const kinds = { ...shares, ...blocks, extraKernels: 0 };
  const decode = steps.filter(({ tokensEach }) => tokensEach === 1).length;
  return {
    ...own,
    bandwidthShare: 1,
    ...(expertShare === null ? {} : { expertShare }),
    secondDieShare: 1,
    opsPerJoule: null,
    peakOpsShare: 1,
    ratesPerCore: null,
    tilePadding: 0,
    ubatchTokens: kernels.ubatchTokens,
    // Which kernels ran is in the measurement already.
    attention: { flash: kinds, plain: kinds },
    errorPct,
    rows: { decode, prefill: steps.length - decode },
  };
}

/**
 * The machine of a profile as one of the catalogue. What it measured stands for its peaks; what it
 * draws and cost is not known.
 */
export function profileMachine(profile: MachineProfile): CatalogueMachine {
  const { machine, threads, measuredAt, bandwidth, opsPerSecond } = profile;
  const measured = (value: number, unit: string): Figure => {
    const day = measuredAt.slice(0, 10);
    const note = `plenum measure, ${threads} threads`;
    return { value, unit, source: 'profile', asOf: day, status: 'measured', note };
  };
  const rate = measured(opsPerSecond / 1e12, 'TFLOP/s');
  return {
    id: THIS_MACHINE,
    vendor: machine.platform === 'darwin' ? 'apple' : 'this machine',
    name: `${machine.cpu}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    kind: 'unified',
    family: 'cpu',
    dies: 1,
    bandwidth: measured(bandwidth.bytesPerSecond / 1e9, 'GB/s'),
    gpuCores: null,
    matrixTflops: rate,
    vectorTflops: rate,
    memory: [measured(machine.ramBytes / GIB, 'GiB')],
    pcie: null,
    boardWatts: null,
    loadWatts: null,
    idleWatts: null,
    priceUsd: null,
  };
}

/** What `plan` is asked about when it is asked about this machine. */
export function profileSetup(profile: MachineProfile): MachineSetup {
  const machine = profileMachine(profile);
  // As people write it; what the system keeps for itself is more than the rounding.
  const memoryGib = Math.floor((10 * profile.machine.ramBytes) / GIB) / 10;
  const device = profile.compute === 'gpu' ? 'gpu' : 'processor';
  return { machine, memoryGib, device, params: profileParams(profile) };
}

/** The steps of a model on the machine of a profile: what its host predicts before its first. */
export function profileSteps(
  profile: MachineProfile,
  geometry: ModelGeometry,
  cacheType: CacheType,
): PlannedSteps {
  const params = profileParams(profile);
  const device = deviceOf({ machine: profileMachine(profile), params, attention: 'flash' });
  return {
    cost: modelCost(geometry),
    placement: singleDevice(device),
    options: { cacheElementBytes: cacheElementBytes(cacheType) },
  };
}
