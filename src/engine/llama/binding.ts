/**
 * The one file that knows the C API of libllama and ggml: every struct, signature and constant that
 * Plenum uses, of the release pinned in library.ts (its include/llama.h, ggml/include/ggml.h,
 * ggml-backend.h). It opens the library once per process and checks nothing: proof.ts does.
 *
 * Pointers are bigint, null pointers null. Structs cross as objects; the hot path (batch.ts) passes
 * one small struct whose arrays were allocated once.
 */
import koffi, { type KoffiFunc, type LibraryHandle } from 'koffi';
import { PlenumError } from '../../base/errors.ts';
import { findLibrary, type LibraryFiles } from './library.ts';

export type Pointer = bigint;

// LLAMA_MAX_SEQ of src/llama-cparams.h: sequence ids are below it in a unified cache.
export const LLAMA_MAX_SEQ = 256;
// enum llama_vocab_type: byte-pair encoding, split by regular expressions first.
export const VOCAB_BPE = 2;
// enum llama_token_attr: unknown, control and user-defined tokens, which are found whole in a text.
export const TOKEN_WHOLE = 2 | 8 | 16;
// enum ggml_type.
export const GGML_TYPE = { f16: 1, q8_0: 8 } as const;
// enum ggml_log_level.
export const LOG_LEVEL = { none: 0, debug: 1, info: 2, warn: 3, error: 4, continued: 5 } as const;
// enum ggml_backend_dev_type, in order.
export const DEVICE_TYPES = ['cpu', 'gpu', 'igpu', 'accelerator', 'meta'] as const;

const pointer = 'void *';
const callback = 'void *';

koffi.struct('llama_model_params', {
  devices: pointer,
  tensor_buft_overrides: pointer,
  n_gpu_layers: 'int32_t',
  split_mode: 'int32_t',
  load_mode: 'int32_t',
  lazy_mode: 'int32_t',
  main_gpu: 'int32_t',
  tensor_split: pointer,
  progress_callback: callback,
  progress_callback_user_data: pointer,
  kv_overrides: pointer,
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
});

koffi.struct('llama_context_params', {
  n_ctx: 'uint32_t',
  n_batch: 'uint32_t',
  n_ubatch: 'uint32_t',
  n_seq_max: 'uint32_t',
  n_rs_seq: 'uint32_t',
  n_outputs_max: 'uint32_t',
  n_outputs_max_per_seq: 'uint32_t',
  n_threads: 'int32_t',
  n_threads_batch: 'int32_t',
  ctx_type: 'int32_t',
  rope_scaling_type: 'int32_t',
  pooling_type: 'int32_t',
  attention_type: 'int32_t',
  flash_attn_type: 'int32_t',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32_t',
  defrag_thold: 'float',
  cb_eval: callback,
  cb_eval_user_data: pointer,
  type_k: 'int32_t',
  type_v: 'int32_t',
  abort_callback: callback,
  abort_callback_data: pointer,
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: pointer,
  n_samplers: 'size_t',
  ctx_other: pointer,
});

koffi.struct('llama_batch', {
  n_tokens: 'int32_t',
  token: pointer,
  embd: pointer,
  pos: pointer,
  n_seq_id: pointer,
  seq_id: pointer,
  logits: pointer,
});

const logCallback = koffi.pointer(koffi.proto('void', ['int', 'const char *', pointer]));
const progressCallback = koffi.pointer(koffi.proto('bool', ['float', pointer]));
const threadpoolNew = koffi.proto(pointer, [pointer]);
const threadpoolFree = koffi.proto('void', [pointer]);

/** Fields of struct llama_model_params that Plenum reads or sets; the rest pass through. */
export interface ModelParams {
  n_gpu_layers: number;
  split_mode: number;
  load_mode: number;
  lazy_mode: number;
  main_gpu: number;
  progress_callback: Pointer | null;
  vocab_only: boolean;
  check_tensors: boolean;
  use_extra_bufts: boolean;
  no_host: boolean;
  no_alloc: boolean;
  load_mtp: boolean;
}

/** Fields of struct llama_context_params that Plenum reads or sets; the rest pass through. */
export interface ContextParams {
  n_ctx: number;
  n_batch: number;
  n_ubatch: number;
  n_seq_max: number;
  n_rs_seq: number;
  n_outputs_max: number;
  n_outputs_max_per_seq: number;
  n_threads: number;
  n_threads_batch: number;
  ctx_type: number;
  rope_scaling_type: number;
  pooling_type: number;
  attention_type: number;
  flash_attn_type: number;
  yarn_ext_factor: number;
  yarn_orig_ctx: number;
  defrag_thold: number;
  type_k: number;
  type_v: number;
  embeddings: boolean;
  offload_kqv: boolean;
  no_perf: boolean;
  op_offload: boolean;
  swa_full: boolean;
  kv_unified: boolean;
  n_samplers: number;
}

/** struct llama_batch: pointers to arrays of at least n_tokens entries (batch.ts owns them). */
export interface Batch {
  n_tokens: number;
  readonly token: Pointer;
  readonly embd: Pointer | null;
  readonly pos: Pointer;
  readonly n_seq_id: Pointer;
  readonly seq_id: Pointer;
  readonly logits: Pointer;
}

type Fn<A extends unknown[], R> = KoffiFunc<(...args: A) => R>;
type Out = [number | bigint | null];

export type Binding = ReturnType<typeof declare>;

function declare(files: LibraryFiles) {
  // Each library's symbols must be visible to the next ones and to the backends loaded later.
  const open = (file: string): LibraryHandle => koffi.load(file, { global: true });
  const base = open(files.ggmlBase);
  const ggml = open(files.ggml);
  const llama = open(files.llama);
  const fn = <A extends unknown[], R>(library: LibraryHandle, prototype: string): Fn<A, R> =>
    library.func(prototype) as Fn<A, R>;
  return {
    files,
    /** A C function without effects, to be called in place of a callback. */
    noop: llama.symbol('llama_max_devices') as Pointer,
    /** _exit of the C library: ends the process without handlers or waiting for threads. */
    exitNow: fn<[number], void>(koffi.load(null), 'void _exit(int)'),
    ...declareLibrary(fn, { base, ggml, llama }),
    ...declareModel(fn, llama),
    ...declareContext(fn, llama),
  };
}

type Declare = <A extends unknown[], R>(library: LibraryHandle, prototype: string) => Fn<A, R>;

type P = Pointer;

function declareLibrary(
  fn: Declare,
  { base, ggml, llama }: Record<'base' | 'ggml' | 'llama', LibraryHandle>,
) {
  return {
    version: fn<[], string>(llama, 'const char *llama_version()'),
    systemInfo: fn<[], string>(llama, 'const char *llama_print_system_info()'),
    logSet: fn<[P | null, null], void>(llama, 'void llama_log_set(void *, void *)'),
    backendInit: fn<[], void>(llama, 'void llama_backend_init()'),
    maxSequences: fn<[], number>(llama, 'size_t llama_max_parallel_sequences()'),
    loadBackends: fn<[string], void>(ggml, 'void ggml_backend_load_all_from_path(const char *)'),
    deviceCount: fn<[], number>(ggml, 'size_t ggml_backend_dev_count()'),
    device: fn<[number], P>(ggml, 'void *ggml_backend_dev_get(size_t)'),
    deviceName: fn<[P], string>(base, 'const char *ggml_backend_dev_name(void *)'),
    deviceDescription: fn<[P], string>(base, 'const char *ggml_backend_dev_description(void *)'),
    deviceType: fn<[P], number>(base, 'int ggml_backend_dev_type(void *)'),
    deviceMemory: fn<[P, Out, Out], void>(
      base,
      'void ggml_backend_dev_memory(void *, _Out_ size_t *, _Out_ size_t *)',
    ),
    deviceBackend: fn<[P], P>(base, 'void *ggml_backend_dev_backend_reg(void *)'),
    backendName: fn<[P], string>(base, 'const char *ggml_backend_reg_name(void *)'),
    backendSymbol: fn<[P, string], P | null>(
      base,
      'void *ggml_backend_reg_get_proc_address(void *, const char *)',
    ),
    threadpoolParamsInit: fn<[P, number], void>(
      base,
      'void ggml_threadpool_params_init(void *, int)',
    ),
  };
}

function declareModel(fn: Declare, llama: LibraryHandle) {
  const fromModel = <R>(result: string, name: string): Fn<[P], R> =>
    fn(llama, `${result} ${name}(void *)`);
  const fromVocab = <R>(result: string, name: string): Fn<[P, number], R> =>
    fn(llama, `${result} ${name}(void *, int32_t)`);
  return {
    modelDefaults: fn<[], ModelParams>(llama, 'llama_model_params llama_model_default_params()'),
    modelLoad: fn<[string, ModelParams], P | null>(
      llama,
      'void *llama_model_load_from_file(const char *, llama_model_params)',
    ),
    modelFree: fn<[P], void>(llama, 'void llama_model_free(void *)'),
    modelDescription: fn<[P, P, number], number>(
      llama,
      'int32_t llama_model_desc(void *, void *, size_t)',
    ),
    modelMeta: fn<[P, string, P, number], number>(
      llama,
      'int32_t llama_model_meta_val_str(void *, const char *, void *, size_t)',
    ),
    modelTemplate: fn<[P, string | null], string | null>(
      llama,
      'const char *llama_model_chat_template(void *, const char *)',
    ),
    modelVocab: fromModel<P>('void *', 'llama_model_get_vocab'),
    modelBytes: fromModel<number | bigint>('uint64_t', 'llama_model_size'),
    modelParameters: fromModel<number | bigint>('uint64_t', 'llama_model_n_params'),
    modelTrainedContext: fromModel<number>('int32_t', 'llama_model_n_ctx_train'),
    modelLayers: fromModel<number>('int32_t', 'llama_model_n_layer'),
    modelEmbedding: fromModel<number>('int32_t', 'llama_model_n_embd'),
    modelOutputWidth: fromModel<number>('int32_t', 'llama_model_n_embd_out'),
    modelClasses: fromModel<number>('uint32_t', 'llama_model_n_cls_out'),
    modelClassLabel: fn<[P, number], string | null>(
      llama,
      'const char *llama_model_cls_label(void *, uint32_t)',
    ),
    modelHasEncoder: fromModel<boolean>('bool', 'llama_model_has_encoder'),
    modelHasDecoder: fromModel<boolean>('bool', 'llama_model_has_decoder'),
    modelIsRecurrent: fromModel<boolean>('bool', 'llama_model_is_recurrent'),
    modelIsHybrid: fromModel<boolean>('bool', 'llama_model_is_hybrid'),
    modelIsDiffusion: fromModel<boolean>('bool', 'llama_model_is_diffusion'),
    vocabSize: fromModel<number>('int32_t', 'llama_vocab_n_tokens'),
    vocabBos: fromModel<number>('int32_t', 'llama_vocab_bos'),
    vocabEos: fromModel<number>('int32_t', 'llama_vocab_eos'),
    vocabSep: fromModel<number>('int32_t', 'llama_vocab_sep'),
    vocabAddsBos: fromModel<boolean>('bool', 'llama_vocab_get_add_bos'),
    vocabAddsEos: fromModel<boolean>('bool', 'llama_vocab_get_add_eos'),
    vocabAddsSep: fromModel<boolean>('bool', 'llama_vocab_get_add_sep'),
    vocabText: fromVocab<string | null>('const char *', 'llama_vocab_get_text'),
    vocabType: fromModel<number>('int', 'llama_vocab_type'),
    vocabAttributes: fromVocab<number>('int', 'llama_vocab_get_attr'),
    vocabIsEog: fromVocab<boolean>('bool', 'llama_vocab_is_eog'),
    vocabSuppressed: fn<[P, Out], P | null>(
      llama,
      'void *llama_vocab_get_suppress_tokens(void *, _Out_ int32_t *)',
    ),
    tokenize: fn<[P, P, number, P, number, boolean, boolean], number>(
      llama,
      'int32_t llama_tokenize(void *, void *, int32_t, void *, int32_t, bool, bool)',
    ),
    tokenToPiece: fn<[P, number, P, number, number, boolean], number>(
      llama,
      'int32_t llama_token_to_piece(void *, int32_t, void *, int32_t, int32_t, bool)',
    ),
  };
}

function declareContext(fn: Declare, llama: LibraryHandle) {
  return {
    contextDefaults: fn<[], ContextParams>(
      llama,
      'llama_context_params llama_context_default_params()',
    ),
    contextNew: fn<[P, ContextParams], P | null>(
      llama,
      'void *llama_init_from_model(void *, llama_context_params)',
    ),
    contextFree: fn<[P], void>(llama, 'void llama_free(void *)'),
    contextCells: fn<[P], number>(llama, 'uint32_t llama_n_ctx(void *)'),
    contextBatch: fn<[P], number>(llama, 'uint32_t llama_n_batch(void *)'),
    attachThreadpool: fn<[P, P, P], void>(
      llama,
      'void llama_attach_threadpool(void *, void *, void *)',
    ),
    detachThreadpool: fn<[P], void>(llama, 'void llama_detach_threadpool(void *)'),
    decode: fn<[P, Batch], number>(llama, 'int32_t llama_decode(void *, llama_batch)'),
    encode: fn<[P, Batch], number>(llama, 'int32_t llama_encode(void *, llama_batch)'),
    pooledRow: fn<[P, number], P | null>(llama, 'void *llama_get_embeddings_seq(void *, int32_t)'),
    synchronize: fn<[P], void>(llama, 'void llama_synchronize(void *)'),
    logits: fn<[P], P | null>(llama, 'void *llama_get_logits(void *)'),
    memory: fn<[P], P | null>(llama, 'void *llama_get_memory(void *)'),
    memoryClear: fn<[P, boolean], void>(llama, 'void llama_memory_clear(void *, bool)'),
    memoryRemove: fn<[P, number, number, number], boolean>(
      llama,
      'bool llama_memory_seq_rm(void *, int32_t, int32_t, int32_t)',
    ),
    memoryShare: fn<[P, number, number, number, number], void>(
      llama,
      'void llama_memory_seq_cp(void *, int32_t, int32_t, int32_t, int32_t)',
    ),
    memoryLast: fn<[P, number], number>(llama, 'int32_t llama_memory_seq_pos_max(void *, int32_t)'),
  };
}

const STACK_BYTES = 16 * 1024 * 1024;

let opened: Binding | null = null;

/**
 * The binding of this thread, opened at the first call. Throws PlenumError `library_missing` when
 * there is no package for the machine or the dynamic loader refuses it.
 */
export function openBinding(): Binding {
  if (opened !== null) return opened;
  const files = findLibrary();
  // Calls run on stacks of koffi's own, of 2 MiB or, asynchronous ones, 128 KiB by default. The
  // library expects a thread's usual 8 MiB (its regular expressions recurse by the length of a
  // match). Pages cost nothing until touched; 16 MiB is koffi's maximum.
  koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES });
  try {
    opened = declare(files);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PlenumError(
      'library_missing',
      `${files.packageName} ${files.packageVersion} cannot be opened: ${reason}`,
      { cause, details: { package: files.packageName } },
    );
  }
  return opened;
}

/** Makes a C function pointer of `listener`. It lives as long as the process. */
export function registerLog(listener: (level: number, text: string) => void): Pointer {
  return koffi.register(listener, logCallback);
}

/** Makes a C function pointer of `listener`; give it to `unregister` after the call it serves. */
export function registerProgress(listener: (fraction: number) => boolean): Pointer {
  return koffi.register(listener, progressCallback);
}

export function unregister(callbackPointer: Pointer): void {
  koffi.unregister(callbackPointer);
}

// sizeof(struct ggml_threadpool_params) is 512 bytes of mask and 16 more; some room is left.
const THREADPOOL_PARAMS_BYTES = 1024;

/** A pool of `threads` computing threads made by the CPU backend, or null if it offers none. */
export function newThreadpool(binding: Binding, cpu: Pointer, threads: number): Pointer | null {
  const make = binding.backendSymbol(cpu, 'ggml_threadpool_new');
  if (make === null) return null;
  const params = koffi.alloc('uint8_t', THREADPOOL_PARAMS_BYTES) as Pointer;
  binding.threadpoolParamsInit(params, threads);
  const pool = koffi.call(make, threadpoolNew, params) as Pointer | null;
  koffi.free(params);
  return pool;
}

export function freeThreadpool(binding: Binding, cpu: Pointer, pool: Pointer): void {
  const free = binding.backendSymbol(cpu, 'ggml_threadpool_free');
  if (free !== null) koffi.call(free, threadpoolFree, pool);
}
