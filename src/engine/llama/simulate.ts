/**
 * What loading a model would take, by the library's own account: its metadata is loaded, its
 * buffers are laid out, and nothing is allocated for weights, cache or computing. For a process of
 * its own, which ends afterwards.
 */
import { PlenumError } from '../../base/errors.ts';
import type { HostSpec } from '../../wire/host.ts';
import type { SimulatedAllocation } from '../../wire/pool.ts';
import type { Binding, ContextParams, Pointer } from './binding.ts';
import { type BufferKind, readBreakdown } from './breakdown.ts';
import { deviceOf, contextParams as encoderParams, kindOf } from './encoder-load.ts';
import { contextParams, type LlamaSpec } from './load.ts';
import { isGpu, type NativeLibrary, openLibrary, probeDevices } from './native.ts';
import { defaultThreads } from './threads.ts';

/** enum llama_load_mode: not mapped, for a mapped file has no size to be simulated. */
const LOAD_MODE_NONE = 0;
/** Copies of weights in a layout that the processor's kernels like better. */
const REPACKED = /^(AMX|CPU_(REPACK|KLEIDIAI|RISCV64_SPACEMIT))$/;
/**
 * What all buffers hold of weights, as a part of the weights: each tensor once, give or take
 * padding, or up to twice where an embedding is a head too and AMX adds the sums of its blocks.
 */
const HELD_PARTS = { min: 0.99, max: 2.25 } as const;

/** Rejects with PlenumError `load_failed` (which quotes the library), `library_missing` …. */
export function simulateAllocation(spec: HostSpec): SimulatedAllocation {
  const { engine } = spec;
  if (engine.kind !== 'llama') {
    throw new PlenumError('load_failed', 'the simulated engine has no buffers to lay out');
  }
  const library = openLibrary();
  const gpu = probeDevices().devices.some(({ type }) => isGpu(type));
  const { binding, log } = library;
  log.begin();
  const params = binding.modelDefaults();
  params.n_gpu_layers = gpu ? (engine.gpuLayers ?? -1) : 0;
  params.no_alloc = true;
  params.load_mode = LOAD_MODE_NONE;
  const model = binding.modelLoad(engine.path, params);
  if (model === null) throw failed(library, 'the model could not be laid out');
  const onGpu = params.n_gpu_layers !== 0;
  const shape = paramsOf(binding, model, { spec, engine, gpu });
  const context = binding.contextNew(model, shape);
  if (context === null) throw failed(library, 'the context could not be laid out');
  return { onGpu, ...allocationOf(library, { model, context, shape }) };
}

const failed = ({ log }: NativeLibrary, otherwise: string): PlenumError =>
  new PlenumError('load_failed', `the engine: ${log.quote(otherwise)}`);

function paramsOf(
  binding: Binding,
  model: Pointer,
  { spec, engine, gpu }: { spec: HostSpec; engine: LlamaSpec; gpu: boolean },
): ContextParams {
  const threads = engine.threads ?? defaultThreads();
  const { contextTokens, cells, parallel, prefixCache } = spec;
  const onProgress = (): void => undefined;
  if (spec.role === 'generate') {
    const options = { contextTokens, cells, parallel, prefixCache, onProgress };
    return contextParams(binding, { spec: engine, options, threads, gpu });
  }
  const { batchTokensMax, batchInputsMax } = spec.encode;
  const { pooling } = kindOf(binding, model, engine.path);
  const options = { contextTokens, batchTokensMax, batchInputsMax, onProgress };
  const device = deviceOf(gpu ? (engine.gpuLayers ?? -1) : 0);
  return encoderParams(binding, { options, threads, pooling, device });
}

function allocationOf(
  { binding, log }: NativeLibrary,
  { model, context, shape }: { model: Pointer; context: Pointer; shape: ContextParams },
): Omit<SimulatedAllocation, 'onGpu'> {
  const kinds = readBreakdown(binding, context);
  const trusted = kinds !== null && agrees(kinds, Number(binding.modelBytes(model)));
  if (!trusted) {
    // The log has the first rows too: one for each sequence, with a vector where vectors are given.
    const vectors = shape.embeddings ? binding.modelEmbedding(model) : 0;
    const width = binding.vocabSize(binding.modelVocab(model)) + vectors;
    const rows = shape.n_seq_max * width * Float32Array.BYTES_PER_ELEMENT;
    const computeBytes = Math.max(0, log.bytes.compute - rows);
    return { repackedBytes: null, cacheBytes: null, computeBytes };
  }
  const total = (of: (kind: BufferKind) => number): number =>
    kinds.reduce((sum, kind) => sum + of(kind), 0);
  return {
    repackedBytes: total((kind) => (REPACKED.test(kind.name) ? kind.weightsBytes : 0)),
    cacheBytes: total((kind) => kind.contextBytes),
    computeBytes: total((kind) => kind.computeBytes),
  };
}

/** A layout in memory that is not as expected would hardly give the size of the weights. */
function agrees(kinds: readonly BufferKind[], weightsBytes: number): boolean {
  const sum = kinds.reduce((total, kind) => total + kind.weightsBytes, 0);
  return sum >= HELD_PARTS.min * weightsBytes && sum <= HELD_PARTS.max * weightsBytes;
}
