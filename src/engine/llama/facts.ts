/** What a loaded model is, in the words and numbers that the engine port promises. */
import { SYNTHETIC_KEY } from '../../model/synth/metadata.ts';
import type { EngineFacts, EngineOptions } from '../port.ts';
import { PINNED_RELEASE } from './library.ts';
import type { NativeModel } from './load.ts';
import { readDescription, readMeta } from './memory.ts';
import { type DeviceProbe, isGpu } from './native.ts';
import type { Vocab } from './vocab.ts';

export interface Loaded {
  readonly native: NativeModel;
  readonly vocab: Vocab;
  readonly probe: DeviceProbe;
}

export function engineFacts(loaded: Loaded, options: EngineOptions): EngineFacts {
  const { native, vocab } = loaded;
  const { binding } = native.library;
  return {
    engine: `llama ${PINNED_RELEASE}`,
    device: deviceText(loaded),
    description: readDescription(binding, native.model),
    vocabSize: vocab.size,
    trainedContextTokens: binding.modelTrainedContext(native.model),
    contextTokens: options.contextTokens,
    cells: native.cells,
    seqsMax: native.seqsMax,
    stepTokensMax: native.stepTokensMax,
    prefixSharing: native.prefixSharing,
    chatTemplate: binding.modelTemplate(native.model, null),
    bosText: vocab.bosText,
    eosText: vocab.eosText,
    synthetic: readMeta(binding, native.model, SYNTHETIC_KEY) !== null,
    guess: guess(native),
  };
}

/** What a model computes on: enough of it to say so and to guess how fast. */
export type Placed = Pick<NativeModel, 'library' | 'model' | 'threads' | 'gpuLayers' | 'layers'>;

export function deviceText(placed: { native: Placed; probe: DeviceProbe }): string {
  const { native, probe } = placed;
  const cpu = `cpu (${probe.cpuVariant}), ${native.threads} thread${native.threads > 1 ? 's' : ''}`;
  const gpu = probe.devices.find(({ type }) => isGpu(type));
  if (gpu === undefined || native.gpuLayers === 0) return cpu;
  const layers = `${native.gpuLayers} of ${native.layers} layers`;
  return `${gpu.backend}: ${gpu.description}, ${layers}`;
}

/**
 * Deliberately slow machines, so that the first steps are planned small and the online fit only
 * ever finds more room: a CPU core reads 3 GB/s of weights and computes 8 GFLOP/s; the smallest
 * Apple GPU (M1, 68 GB/s and 2.6 TFLOP/s by its data sheet) at half of both.
 */
const SLOW = {
  core: { bytesPerMs: 3e6, flopPerMs: 8e6, overheadMs: 0.5 },
  gpu: { bytesPerMs: 34e6, flopPerMs: 1.3e9, overheadMs: 2 },
} as const;
/** More cores than this do not add memory bandwidth. */
const BANDWIDTH_CORES_MAX = 4;

export function guess(native: Placed): EngineFacts['guess'] {
  const { binding } = native.library;
  const onGpu = native.gpuLayers >= native.layers;
  const machine = onGpu ? SLOW.gpu : SLOW.core;
  const cores = onGpu ? 1 : native.threads;
  const bytes = Number(binding.modelBytes(native.model));
  const parameters = Number(binding.modelParameters(native.model));
  const width = binding.modelEmbedding(native.model);
  const flopPerMs = machine.flopPerMs * cores;
  return {
    // A step reads every weight once, however many tokens it computes.
    fixedMs:
      machine.overheadMs + bytes / (machine.bytesPerMs * Math.min(cores, BANDWIDTH_CORES_MAX)),
    // A multiplication and an addition per weight.
    perTokenMs: (2 * parameters) / flopPerMs,
    // Query times key and weight times value, in every layer and each as wide as the model.
    perAttendedMs: (4 * width * native.layers) / flopPerMs,
  };
}
