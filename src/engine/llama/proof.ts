/**
 * Proves that the binding fits the library that was opened, before it is trusted with memory. A
 * struct declared with a field too many or too few shifts every later field, and by-value structs
 * hide it: so the version string must be the pinned one, the library's default parameters must read
 * as its source says at every offset, and after load one token must decode to finite logits.
 */
import { PlenumError } from '../../base/errors.ts';
import type { Binding, ContextParams, ModelParams } from './binding.ts';
import { LLAMA_MAX_SEQ } from './binding.ts';
import { PINNED_VERSION } from './library.ts';

type Provable = Pick<Binding, 'version' | 'modelDefaults' | 'contextDefaults' | 'maxSequences'>;

// llama_model_default_params of the pinned release (src/llama-model.cpp).
const MODEL_DEFAULTS: Partial<ModelParams> = {
  n_gpu_layers: -1,
  split_mode: 1,
  load_mode: -1,
  lazy_mode: 1,
  main_gpu: 0,
  progress_callback: null,
  vocab_only: false,
  check_tensors: false,
  use_extra_bufts: true,
  no_host: false,
  no_alloc: false,
  load_mtp: false,
};

// llama_context_default_params of the pinned release (src/llama-context.cpp).
const CONTEXT_DEFAULTS: Partial<ContextParams> = {
  n_ctx: 512,
  n_batch: 2048,
  n_ubatch: 512,
  n_seq_max: 1,
  n_rs_seq: 0,
  n_outputs_max: 0,
  n_outputs_max_per_seq: 1,
  n_threads: 4,
  n_threads_batch: 4,
  ctx_type: 0,
  rope_scaling_type: -1,
  pooling_type: -1,
  attention_type: -1,
  flash_attn_type: -1,
  yarn_ext_factor: -1,
  yarn_orig_ctx: 0,
  defrag_thold: -1,
  type_k: 1,
  type_v: 1,
  embeddings: false,
  offload_kqv: true,
  no_perf: true,
  op_offload: true,
  swa_full: true,
  kv_unified: false,
  n_samplers: 0,
};

/** Throws PlenumError `binding_mismatch` with what was expected and what was found. */
export function proveLibrary(binding: Provable): void {
  expect('llama_version()', PINNED_VERSION, binding.version());
  expect('llama_max_parallel_sequences()', LLAMA_MAX_SEQ, Number(binding.maxSequences()));
  const model: Partial<Record<string, unknown>> = { ...binding.modelDefaults() };
  for (const [field, expected] of Object.entries(MODEL_DEFAULTS)) {
    expect(`llama_model_params.${field}`, expected, model[field]);
  }
  const context: Partial<Record<string, unknown>> = { ...binding.contextDefaults() };
  for (const [field, expected] of Object.entries(CONTEXT_DEFAULTS)) {
    const found = context[field];
    // size_t crosses as a number or, when large, as a bigint.
    expect(
      `llama_context_params.${field}`,
      expected,
      typeof found === 'bigint' ? Number(found) : found,
    );
  }
}

/** `row`: logits of the first decoded token, one per token of the vocabulary. */
export function proveLogits(row: Float32Array, vocabSize: number): void {
  expect('length of a row of logits', vocabSize, row.length);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const logit of row) {
    if (Number.isNaN(logit)) throw mismatch('a logit of the first token', 'a number', 'NaN');
    if (logit < low) low = logit;
    if (logit > high) high = logit;
  }
  // Untouched memory is zeros: a true row has a spread and a finite maximum.
  if (!(high > low) || !Number.isFinite(high)) {
    throw mismatch('logits of the first token', 'different numbers', `all between ${low}, ${high}`);
  }
}

function expect(what: string, expected: unknown, found: unknown): void {
  if (found !== expected) throw mismatch(what, String(expected), String(found));
}

function mismatch(what: string, expected: string, found: string): PlenumError {
  return new PlenumError(
    'binding_mismatch',
    `the native library is not the pinned release: ${what} should be ${expected}, is ${found}`,
    { details: { what, expected, found } },
  );
}
