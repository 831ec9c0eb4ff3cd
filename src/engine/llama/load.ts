/**
 * Loads a model and makes its context, in calls that leave the event loop free; says why when
 * either fails, in the library's words. It owns the choice of parameters and the order of freeing.
 */
import { PlenumError } from '../../base/errors.ts';
import { outputRows } from '../../planner/engine-shape.ts';
import type { EngineSpec } from '../../wire/host.ts';
import type { EngineFacts, EngineOptions } from '../port.ts';
import {
  type Binding,
  type ContextParams,
  freeThreadpool,
  GGML_TYPE,
  LLAMA_MAX_SEQ,
  newThreadpool,
  type Pointer,
  registerProgress,
  unregister,
} from './binding.ts';
import { cacheOf, kernelsOf } from './kernels.ts';
import type { NativeLog } from './log.ts';
import { callAsync, readMeta } from './memory.ts';
import { cpuBackend, type NativeLibrary } from './native.ts';
import { defaultThreads } from './threads.ts';

export type LlamaSpec = EngineSpec & { kind: 'llama' };

/** Sequences beyond the running ones, that only hold cached prefixes. */
const CACHE_SEQS = 64;
/** enum llama_flash_attn_type; auto is the flash kernel where there is one. */
const FLASH_ATTENTION = { auto: -1, off: 0, on: 1 } as const;

export interface NativeModel {
  readonly library: NativeLibrary;
  readonly model: Pointer;
  readonly context: Pointer;
  readonly memory: Pointer;
  readonly vocab: Pointer;
  readonly threads: number;
  /** Layers on a GPU, of `layers` (the output layer counted). */
  readonly gpuLayers: number;
  readonly layers: number;
  readonly cells: number;
  readonly stepTokensMax: number;
  readonly outputsMax: number;
  readonly seqsMax: number;
  readonly prefixSharing: EngineFacts['prefixSharing'];
  readonly free: () => void;
}

export interface LoadOptions {
  readonly spec: LlamaSpec;
  readonly options: EngineOptions;
  readonly gpu: boolean;
}

/** Rejects with PlenumError `load_failed` or `model_unsupported`. */
export async function loadNative(
  library: NativeLibrary,
  { spec, options, gpu }: LoadOptions,
): Promise<NativeModel> {
  checkOptions(spec, options);
  library.log.begin();
  const { binding } = library;
  const gpuLayers = gpu ? (spec.gpuLayers ?? -1) : 0;
  const model = await loadModel(library, { spec, gpuLayers, onProgress: options.onProgress });
  let free = (): void => binding.modelFree(model);
  try {
    checkModel(binding, { model, path: spec.path });
    const cache = cacheOf({ spec, options, gpu });
    const whenSharing = cache.layout === 'split' ? 'copies' : 'cells';
    const prefixSharing = hasCells(binding, model) ? whenSharing : 'none';
    const threads = spec.threads ?? defaultThreads();
    const params = contextParams(binding, { spec, options, threads, gpu });
    const context = await newContext(library, model, params);
    free = withThreads(binding, { model, context, threads });
    const memory: Pointer | null = binding.memory(context);
    if (memory === null) throw unsupported(binding, { model, path: spec.path }, 'no KV cache');
    const layers = binding.modelLayers(model) + 1;
    const keepsOthers = options.prefixCache && prefixSharing === 'cells';
    const wanted = options.parallel + (keepsOthers ? CACHE_SEQS : 0);
    return {
      library,
      model,
      context,
      memory,
      vocab: binding.modelVocab(model),
      threads,
      gpuLayers: gpuLayers < 0 ? layers : Math.min(gpuLayers, layers),
      layers,
      cells: binding.contextCells(context),
      stepTokensMax: binding.contextBatch(context),
      outputsMax: params.n_outputs_max,
      seqsMax: Math.min(wanted, LLAMA_MAX_SEQ),
      prefixSharing,
      free,
    };
  } catch (thrown) {
    free();
    throw thrown;
  }
}

function checkOptions(spec: LlamaSpec, { contextTokens, cells, parallel }: EngineOptions): void {
  const wrong = (message: string): PlenumError => new PlenumError('load_failed', message);
  if (parallel < 1 || parallel > LLAMA_MAX_SEQ) {
    throw wrong(`parallel is ${parallel}; the library takes 1 to ${LLAMA_MAX_SEQ} sequences`);
  }
  if (cells < contextTokens) {
    throw wrong(`${cells} KV cells cannot hold one sequence of ${contextTokens} tokens`);
  }
  if (spec.kvLayout === 'split' && cells < contextTokens * parallel) {
    throw wrong(`a split cache needs ${contextTokens} × ${parallel} KV cells; it has ${cells}`);
  }
  if (spec.stepTokensMax < parallel) {
    throw wrong(`stepTokensMax ${spec.stepTokensMax} is less than parallel ${parallel}`);
  }
}

export async function loadModel(
  { binding, log }: NativeLibrary,
  load: { spec: LlamaSpec; gpuLayers: number; onProgress: (fraction: number) => void },
): Promise<Pointer> {
  const params = binding.modelDefaults();
  params.n_gpu_layers = load.gpuLayers;
  const progress = registerProgress((fraction) => {
    try {
      load.onProgress(fraction);
    } catch (thrown) {
      // An exception would cross the library's frames; it is reported, and the load goes on.
      process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
    }
    return true;
  });
  params.progress_callback = progress;
  try {
    const model = await callAsync(binding.modelLoad, load.spec.path, params);
    if (model !== null) return model;
  } finally {
    unregister(progress);
  }
  throw new PlenumError(
    'load_failed',
    `the engine: ${log.quote('the model could not be loaded')}`,
    {
      details: { path: load.spec.path },
    },
  );
}

interface ModelFile {
  readonly model: Pointer;
  readonly path: string;
}

function checkModel(binding: Binding, file: ModelFile): void {
  const { model } = file;
  const { modelHasDecoder, modelHasEncoder, modelIsDiffusion } = binding;
  if (!modelHasDecoder(model)) throw unsupported(binding, file, 'no decoder');
  if (modelHasEncoder(model)) throw unsupported(binding, file, 'an encoder beside its decoder');
  if (modelIsDiffusion(model)) throw unsupported(binding, file, 'diffusion in place of decoding');
  if (binding.vocabSize(binding.modelVocab(model)) < 1) {
    throw unsupported(binding, file, 'no vocabulary');
  }
}

function unsupported(binding: Binding, { model, path }: ModelFile, what: string): PlenumError {
  const architecture = readMeta(binding, model, 'general.architecture') ?? 'unknown';
  return new PlenumError(
    'model_unsupported',
    `a model of architecture ${architecture} has ${what}; this engine runs models that generate ` +
      'text token by token',
    { details: { path, architecture } },
  );
}

/** Recurrent and hybrid models keep a state per sequence; this one compresses its cells. */
function hasCells(binding: Binding, model: Pointer): boolean {
  if (binding.modelIsRecurrent(model) || binding.modelIsHybrid(model)) return false;
  return readMeta(binding, model, 'general.architecture') !== 'deepseek4';
}

export function contextParams(
  binding: Binding,
  { threads, ...load }: LoadOptions & { readonly threads: number },
): ContextParams {
  const { spec, options } = load;
  const { layout, flash } = cacheOf(load);
  const { ubatchTokens } = kernelsOf(load);
  const params = binding.contextDefaults();
  params.n_ctx = options.cells;
  params.n_batch = spec.stepTokensMax;
  params.n_ubatch = ubatchTokens;
  // Only running sequences give logits. A unified cache takes every id below LLAMA_MAX_SEQ, so the
  // ids that hold cached prefixes need not be counted (and each would cost a row of logits).
  params.n_seq_max = options.parallel;
  params.n_outputs_max = outputRows(options.parallel, spec.stepTokensMax);
  params.n_threads = threads;
  params.n_threads_batch = threads;
  params.flash_attn_type = FLASH_ATTENTION[flash];
  params.type_k = GGML_TYPE[spec.cacheType];
  params.type_v = GGML_TYPE[spec.cacheType];
  params.kv_unified = layout === 'unified';
  // A sliding-window model keeps all its cells, so that a prefix of any length is still there.
  params.swa_full = true;
  params.no_perf = true;
  return params;
}

export async function newContext(
  { binding, log }: NativeLibrary,
  model: Pointer,
  params: ContextParams,
): Promise<Pointer> {
  const context = await callAsync(binding.contextNew, model, params);
  if (context !== null) return context;
  const reason = log.quote('the context could not be created');
  throw new PlenumError(
    'load_failed',
    `the engine could not make a context of ${params.n_ctx} KV cells: ${reason}`,
    { details: { cells: params.n_ctx } },
  );
}

/**
 * Gives a context a pool of threads; without one it starts and joins its threads in every step. One
 * thread needs no pool. Returns what frees all three.
 */
export function withThreads(
  binding: Binding,
  loaded: { readonly model: Pointer; readonly context: Pointer; readonly threads: number },
): () => void {
  const { model, context, threads } = loaded;
  const cpu = threads > 1 ? cpuBackend(binding) : null;
  const pool = cpu === null ? null : newThreadpool(binding, cpu, threads);
  if (pool !== null) binding.attachThreadpool(context, pool, pool);
  return () => {
    if (pool !== null) binding.detachThreadpool(context);
    binding.contextFree(context);
    if (cpu !== null && pool !== null) freeThreadpool(binding, cpu, pool);
    binding.modelFree(model);
  };
}

/** For errors while a step computes. */
export function engineFailed(log: NativeLog, what: string): PlenumError {
  return new PlenumError('engine_failed', `${what}: ${log.quote('the library gave no reason')}`);
}
