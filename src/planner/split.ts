/**
 * How many layers of a model lie in a device's own memory when it does not hold them all, as
 * llama.cpp's --n-gpu-layers does: whole layers, the rest in system memory. Pure.
 */

import type { Placement, Stage } from './placement.ts';
import type { Device } from './step-cost.ts';

export interface SplitAsk {
  readonly layers: number;
  /** Weights and cache of all layers. */
  readonly layerBytes: number;
  /** What the device gives to layers: its memory less buffers and reserve. */
  readonly deviceBytes: number;
}

/** Whole layers that fit, from none to all. */
export function layersOnDevice({ layers, layerBytes, deviceBytes }: SplitAsk): number {
  const perLayer = layerBytes / layers;
  return Math.max(0, Math.min(layers, Math.floor(deviceBytes / perLayer)));
}

export interface HostSplit {
  readonly device: Device;
  readonly system: Device;
  readonly deviceShare: number;
  readonly linkBytesPerSecond: number;
}

/** The device's layers first, the others where the processor reads them from system memory. */
export function hostSplit(split: HostSplit): Placement {
  const { device, system, deviceShare, linkBytesPerSecond } = split;
  const stages: Stage[] = [];
  if (deviceShare > 0) stages.push({ device, share: deviceShare, memory: 'device' });
  if (deviceShare < 1) stages.push({ device: system, share: 1 - deviceShare, memory: 'system' });
  return { stages, linkBytesPerSecond };
}

/** A processor that reads layers from system memory; its arithmetic is not what limits it. */
export function systemDevice(params: Device['params'], bandwidthBytesPerSecond: number): Device {
  return {
    peakBytesPerSecond: bandwidthBytesPerSecond,
    bandwidthBytesPerSecond,
    peakOpsPerSecond: null,
    matrixOpsPerSecond: null,
    vectorOpsPerSecond: null,
    params,
    attention: params.attention.flash,
  };
}
