/**
 * One or more machines of a kind, described as they stand: which size of memory, how many cards,
 * which system memory beside them, which backend runs. From it come the bytes that models may have
 * and the placement of a model. Pure.
 */
import { PlenumError } from '../base/errors.ts';
import type { CatalogueMachine } from '../model/catalogue-types.ts';
import {
  type Available,
  availableMemory,
  type MacGeneration,
  type MemoryFacts,
} from './available.ts';
import { deviceOf } from './device.ts';
import type { EngineDevice } from './engine-shape.ts';
import type { MemoryNeed } from './memory.ts';
import { layerSplit, type Placement } from './placement.ts';
import {
  type AttentionKind,
  type FamilyParams,
  familyParams,
  type SpeedTable,
} from './speed-params.ts';
import { hostSplit, layersOnDevice, systemDevice } from './split.ts';
import type { Device } from './step-cost.ts';

export interface MachineSetup {
  readonly machine: CatalogueMachine;
  /** One of the sizes that it is sold with, in GiB; the largest when none is given. */
  readonly memoryGib?: number;
  /** Cards of the kind, or 1. */
  readonly devices?: number;
  /** `mlx` on a Mac; otherwise the family's own llama.cpp backend. */
  readonly backend?: 'llama.cpp' | 'mlx';
  readonly attention?: AttentionKind;
  readonly macGeneration?: MacGeneration;
  readonly wiredLimitMib?: number;
  /** Memory of a discrete machine's host, for layers that its cards do not hold. */
  readonly system?: { readonly memoryGib: number; readonly bandwidthBytesPerSecond: number };
  readonly reserveBytes?: number;
  /** What the system says of it now, where it is the machine that asks: as the pool counts. */
  readonly facts?: MemoryFacts;
  /** Where its speeds are from, in words, when not from its family's. */
  readonly measured?: string;
  /** What computes. Left out: a GPU, where the machine's family is not of processors. */
  readonly device?: EngineDevice;
  /** Measured on this very machine, in the place of its family's. */
  readonly params?: FamilyParams;
}

const GIB = 2 ** 30;
/** PCIe 4.0 x16, where a card's own link is not in the catalogue. */
const LINK_BYTES_PER_SECOND = 32e9;

/** Throws `usage` when the size is unknown and none is given. */
export function setupMemory(setup: MachineSetup): Available {
  return availableMemory(memoryFacts(setup), setup.reserveBytes);
}

function memoryFacts(setup: MachineSetup): MemoryFacts {
  const { machine, devices = 1 } = setup;
  if (!Number.isInteger(devices) || devices < 1) {
    throw new PlenumError('usage', `${devices} devices: it must be a whole number from 1`);
  }
  if (setup.facts !== undefined) return setup.facts;
  const gib = setup.memoryGib ?? machine.memory.at(-1)?.value;
  if (gib === undefined) {
    throw new PlenumError('usage', `${machine.id}: its memory is not known; give a size in GiB`);
  }
  if (machine.kind === 'discrete') return { kind: 'discrete', vramBytes: gib * GIB, devices };
  if (devices > 1) {
    const why = 'models are not sharded over machines';
    throw new PlenumError('usage', `${machine.id} × ${devices}: ${why}`);
  }
  if (machine.vendor !== 'apple') return { kind: 'linux', ramBytes: gib * GIB };
  return {
    kind: 'mac',
    ramBytes: gib * GIB,
    generation: setup.macGeneration ?? 'macos-26',
    wiredLimitMib: setup.wiredLimitMib ?? null,
  };
}

/** What the engine keeps its cache by. */
export const setupDevice = ({ device, machine }: MachineSetup): EngineDevice =>
  device ?? (machine.family === 'cpu' ? 'processor' : 'gpu');

export interface SetupSpeed {
  readonly params: FamilyParams;
  readonly device: Device;
  readonly placement: Placement;
  /** Layers on devices, of all. */
  readonly deviceLayers: number;
}

export interface PlaceAsk {
  readonly setup: MachineSetup;
  readonly table: SpeedTable;
  readonly need: MemoryNeed;
  readonly layers: number;
}

/** Where the layers lie: on the devices, or shared with system memory where there is one. */
export function placeModel({ setup, table, need, layers }: PlaceAsk): SetupSpeed {
  const { machine, devices = 1 } = setup;
  const own = setup.params ?? familyParams(table, machine.family);
  const params = setup.backend === 'mlx' ? familyParams(table, 'mlx') : own;
  const attention = setup.attention ?? 'flash';
  const device = deviceOf({ machine, params, attention, ratesPerCore: own.ratesPerCore });
  const linkBytesPerSecond = (machine.pcie?.value ?? 0) * 1e9 || LINK_BYTES_PER_SECOND;
  const available = setupMemory(setup).availableBytes;
  const isWhole = machine.kind === 'unified' || need.deviceBytes <= available;
  if (isWhole || setup.system === undefined) {
    const placement = layerSplit(device, devices, linkBytesPerSecond);
    return { params, device, placement, deviceLayers: layers };
  }
  const fixed = bytesOf(need, ['compute buffers']);
  const deviceLayers = layersOnDevice({
    layers,
    layerBytes: need.deviceBytes - fixed,
    deviceBytes: available - fixed,
  });
  const { bandwidthBytesPerSecond } = setup.system;
  const system = systemDevice(familyParams(table, 'cpu'), bandwidthBytesPerSecond);
  const deviceShare = deviceLayers / layers;
  return {
    params,
    device,
    placement: hostSplit({ device, system, deviceShare, linkBytesPerSecond }),
    deviceLayers,
  };
}

function bytesOf(need: MemoryNeed, names: readonly string[]): number {
  return need.items.reduce((sum, { name, bytes }) => sum + (names.includes(name) ? bytes : 0), 0);
}

export interface FitVerdict {
  readonly fits: boolean;
  readonly availableBytes: number;
  readonly source: string;
  /** What is missing; 0 when it fits. */
  readonly shortBytes: number;
  /** It fits only because layers lie in system memory. */
  readonly isOffloaded: boolean;
}

/** Whether what `needs` sum to fits the setup's memory. */
export function fitOf(setup: MachineSetup, needs: readonly MemoryNeed[]): FitVerdict {
  const { availableBytes, source } = setupMemory(setup);
  const isDiscrete = setup.machine.kind === 'discrete';
  const sum = (of: 'neededBytes' | 'deviceBytes'): number =>
    needs.reduce((total, need) => total + need[of], 0);
  const needed = isDiscrete ? sum('deviceBytes') : sum('neededBytes');
  const missing = Math.max(0, needed - availableBytes);
  if (missing === 0 || setup.system === undefined || !isDiscrete) {
    const fits = missing === 0;
    return { fits, availableBytes, source, shortBytes: missing, isOffloaded: false };
  }
  const system = setup.system.memoryGib * GIB;
  const shortBytes = Math.max(0, sum('neededBytes') - availableBytes - system);
  return { fits: shortBytes === 0, availableBytes, source, shortBytes, isOffloaded: true };
}
