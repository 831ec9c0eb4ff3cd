/**
 * Loads a model that gives vectors and makes its context: embeddings on, pooled as the model was
 * trained, and no more KV cells than one batch needs. It owns the choice of parameters and the
 * order of freeing; encoder.ts computes.
 */
import { PlenumError } from '../../base/errors.ts';
import { ENCODERS, POOLING, type Pooling } from '../../model/geometry-arch.ts';
import { type EngineDevice, encodeBatchTokens } from '../../planner/engine-shape.ts';
import type { EncoderOptions } from '../encoder.ts';
import { type Binding, type ContextParams, LLAMA_MAX_SEQ, type Pointer } from './binding.ts';
import type { Placed } from './facts.ts';
import { type LlamaSpec, loadModel, newContext, withThreads } from './load.ts';
import { readMeta } from './memory.ts';
import type { NativeLibrary } from './native.ts';
import { defaultThreads } from './threads.ts';

// enum llama_flash_attn_type: the kernel where there is one.
const FLASH_ATTENTION_AUTO = -1;

export interface NativeEncoder extends Placed {
  readonly context: Pointer;
  /** Cells that a causal model writes; null for a model that keeps nothing. */
  readonly memory: Pointer | null;
  readonly vocab: Pointer;
  readonly architecture: string;
  readonly pooling: Pooling;
  /** Computed by llama_encode; otherwise by llama_decode. */
  readonly encodes: boolean;
  /** Numbers per input. */
  readonly width: number;
  /** Numbers per token, before they are pooled. */
  readonly outputWidth: number;
  /** Most tokens of one call. */
  readonly callTokensMax: number;
  readonly free: () => void;
}

export interface EncoderLoad {
  readonly spec: LlamaSpec;
  readonly options: EncoderOptions;
  readonly gpu: boolean;
}

/** Rejects with PlenumError `load_failed` or `model_unsupported`. */
export async function loadNativeEncoder(
  library: NativeLibrary,
  { spec, options, gpu }: EncoderLoad,
): Promise<NativeEncoder> {
  checkOptions(options);
  library.log.begin();
  const { binding } = library;
  const gpuLayers = gpu ? (spec.gpuLayers ?? -1) : 0;
  const model = await loadModel(library, { spec, gpuLayers, onProgress: options.onProgress });
  let free = (): void => binding.modelFree(model);
  try {
    const kind = kindOf(binding, model, spec.path);
    checkContext(options, binding.modelTrainedContext(model));
    const threads = spec.threads ?? defaultThreads();
    const device = deviceOf(gpuLayers);
    const params = contextParams(binding, { options, threads, pooling: kind.pooling, device });
    const context = await newContext(library, model, params);
    free = withThreads(binding, { model, context, threads });
    const memory: Pointer | null = binding.memory(context);
    const layers = binding.modelLayers(model) + 1;
    const outputWidth = binding.modelOutputWidth(model);
    return {
      ...kind,
      library,
      model,
      context,
      memory,
      vocab: binding.modelVocab(model),
      threads,
      gpuLayers: gpuLayers < 0 ? layers : Math.min(gpuLayers, layers),
      layers,
      encodes: memory === null || binding.modelHasEncoder(model),
      width: kind.pooling === 'rank' ? binding.modelClasses(model) : outputWidth,
      outputWidth,
      callTokensMax: binding.contextBatch(context),
      free,
    };
  } catch (thrown) {
    free();
    throw thrown;
  }
}

function checkOptions({ contextTokens, batchTokensMax, batchInputsMax }: EncoderOptions): void {
  const wrong = (message: string): PlenumError => new PlenumError('load_failed', message);
  if (batchInputsMax < 1 || batchInputsMax > LLAMA_MAX_SEQ) {
    throw wrong(`batchInputsMax is ${batchInputsMax}; the library takes 1 to ${LLAMA_MAX_SEQ}`);
  }
  if (contextTokens < 1) throw wrong(`contextTokens is ${contextTokens}; 1 is the least`);
  if (batchTokensMax < 1) throw wrong(`batchTokensMax is ${batchTokensMax}; 1 is the least`);
}

/** Positions are rows of a table in many encoders: past its end the library would abort. */
function checkContext({ contextTokens }: EncoderOptions, trained: number): void {
  if (contextTokens <= trained) return;
  throw new PlenumError(
    'load_failed',
    `contextTokens is ${contextTokens}; the model was trained for ${trained} tokens and cannot ` +
      'compute longer inputs',
    { details: { contextTokens, trained } },
  );
}

export function kindOf(
  binding: Binding,
  model: Pointer,
  path: string,
): { architecture: string; pooling: Pooling } {
  const architecture = readMeta(binding, model, 'general.architecture') ?? 'unknown';
  const refuse = (what: string): PlenumError =>
    new PlenumError(
      'model_unsupported',
      `a model of architecture ${architecture} ${what}; this engine gives one vector per input`,
      { details: { path, architecture } },
    );
  if (binding.modelHasEncoder(model) && binding.modelHasDecoder(model)) {
    throw refuse('has an encoder that feeds a decoder');
  }
  if (binding.vocabSize(binding.modelVocab(model)) < 1) throw refuse('has no vocabulary');
  const said = readMeta(binding, model, `${architecture}.pooling_type`);
  const causal =
    !ENCODERS.has(architecture) &&
    readMeta(binding, model, `${architecture}.attention.causal`) !== 'false';
  // Only the last token of a causal model has seen the whole input.
  const pooling = said === null ? (causal ? 'last' : 'mean') : POOLING[Number(said)];
  if (pooling === undefined) throw refuse(`has an unknown pooling_type ${said}`);
  if (pooling === 'none') throw refuse('is declared to give a vector per token (pooling_type 0)');
  return { architecture, pooling };
}

export const deviceOf = (gpuLayers: number): EngineDevice =>
  gpuLayers === 0 ? 'processor' : 'gpu';

export interface EncoderShape {
  readonly options: EncoderOptions;
  readonly threads: number;
  readonly pooling: Pooling;
  readonly device: EngineDevice;
}

export function contextParams(
  binding: Binding,
  { options, threads, pooling, device }: EncoderShape,
): ContextParams {
  const params = binding.contextDefaults();
  const together = encodeBatchTokens(device, options.batchTokensMax);
  const tokens = Math.max(options.contextTokens, together);
  // An input is computed in one piece: without a cache there is nothing to come back to.
  params.n_ctx = tokens;
  params.n_batch = tokens;
  params.n_ubatch = tokens;
  params.n_seq_max = options.batchInputsMax;
  params.n_threads = threads;
  params.n_threads_batch = threads;
  params.embeddings = true;
  params.pooling_type = POOLING.indexOf(pooling);
  params.flash_attn_type = FLASH_ATTENTION_AUTO;
  // Inputs of any lengths lie side by side in the same cells.
  params.kv_unified = true;
  params.no_perf = true;
  return params;
}
