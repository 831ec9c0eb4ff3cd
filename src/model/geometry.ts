/**
 * The facts of a model that memory, speed and a person's understanding depend on, derived from
 * its header: dimensions, which layers keep how much cache, how many bytes of weights a step
 * reads. Pure; a header that lacks what is needed is refused with the list of what is missing.
 */
import { PlenumError } from '../base/errors.ts';
import {
  ENCODERS,
  HYBRID,
  POOLING,
  type Pooling,
  RECURRENT,
  WINDOW_RULES,
} from './geometry-arch.ts';
import { type Weights, weightsOf } from './geometry-weights.ts';
import { type GgufHeader, metadataList, metadataNumber, metadataString } from './gguf.ts';
import { isGgufArray } from './gguf-cursor.ts';
import { FILE_TYPE_NAMES } from './gguf-types.ts';

/** What one layer remembers of each token. */
export interface LayerGeometry {
  readonly heads: number;
  readonly kvHeads: number;
  readonly ff: number;
  /** Numbers kept per token; 0 in a layer without a cache. */
  readonly keyElements: number;
  readonly valueElements: number;
  /** Tokens that it looks back at most; null when it sees everything. */
  readonly windowTokens: number | null;
  /** Keeps a state of fixed size per sequence. */
  readonly isRecurrent: boolean;
}

export interface ModelGeometry {
  readonly arch: string;
  /** `general.name`. */
  readonly name: string | null;
  /** `llama 135M Q4_1`. */
  readonly description: string;
  readonly isEncoder: boolean;
  readonly layers: readonly LayerGeometry[];
  /** d_model. */
  readonly width: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly vocab: number;
  /** Of byte-pair encoding; left out where no file says. */
  readonly merges?: number;
  /** Tokens that it was trained on. */
  readonly contextTokens: number;
  /** 0 in a dense model. */
  readonly experts: number;
  readonly expertsUsed: number;
  readonly recurrence: 'none' | 'hybrid' | 'all';
  /** F32 state of all recurrent layers, per sequence; null when it is not known. */
  readonly stateBytesPerSequence: number | null;
  /** Null when the file names none. */
  readonly pooling: Pooling | null;
  /** `Q4_K_M`, by `general.file_type`, or the type that most bytes have. */
  readonly quantisation: string;
  readonly weights: Weights;
  readonly hasChatTemplate: boolean;
  /** Made up by this program: its words mean nothing. */
  readonly isSynthetic: boolean;
}

/** Throws PlenumError `model_unsupported` that lists the keys that are missing. */
export function geometryOf(header: GgufHeader): ModelGeometry {
  refuseOtherKinds(header);
  const arch = metadataString(header, 'general.architecture') ?? '';
  const keys = new Keys(header, arch);
  const isRecurrent = RECURRENT.has(arch);
  const layerCount = keys.required('block_count');
  const width = keys.required('embedding_length');
  const contextTokens = keys.required('context_length');
  const heads = keys.perLayer('attention.head_count', layerCount, isRecurrent ? 0 : null);
  const vocab = vocabOf(header, keys);
  keys.refuseMissing();
  const headsMax = Math.max(...heads);
  const headDim = headsMax > 0 ? Math.floor(width / headsMax) : 0;
  const keyDim = keys.number('attention.key_length') ?? headDim;
  const valueDim = keys.number('attention.value_length') ?? headDim;
  const layers = layersOf(keys, { arch, layerCount, heads, keyDim, valueDim });
  const isEncoder = ENCODERS.has(arch) || keys.flag('attention.causal') === false;
  const experts = keys.number('expert_count') ?? 0;
  const expertsUsed = keys.perLayer('expert_used_count', 1, 0)[0] ?? 0;
  const weights = weightsOf(header.tensors, { experts, expertsUsed, isEncoder });
  const quantisation = quantisationOf(header, weights);
  const poolingId = keys.number('pooling_type');
  return {
    arch,
    name: metadataString(header, 'general.name'),
    description: describe(arch, weights, quantisation),
    isEncoder,
    layers,
    width,
    keyDim,
    valueDim,
    vocab,
    merges: listLength(header, 'tokenizer.ggml.merges'),
    contextTokens,
    experts,
    expertsUsed,
    recurrence: isRecurrent ? 'all' : HYBRID.has(arch) ? 'hybrid' : 'none',
    stateBytesPerSequence: stateBytes(keys, layers, width),
    pooling: poolingId === null ? null : (POOLING[poolingId] ?? null),
    quantisation,
    weights,
    hasChatTemplate: metadataString(header, 'tokenizer.chat_template') !== null,
    isSynthetic: header.metadata.get('plenum.synthetic') === true,
  };
}

/** A GGUF can hold other things than a model. */
function refuseOtherKinds(header: GgufHeader): void {
  const kind = metadataString(header, 'general.type') ?? 'model';
  if (kind !== 'model') {
    throw new PlenumError('model_unsupported', `The GGUF holds no model but: ${kind}`);
  }
  if (header.tensors.length === 0) {
    throw new PlenumError('model_unsupported', 'The GGUF holds a vocabulary without weights');
  }
}

/** Reads `ARCH.key` and remembers what was not there. */
class Keys {
  readonly #header: GgufHeader;
  readonly #arch: string;
  readonly #missing: string[] = [];

  constructor(header: GgufHeader, arch: string) {
    this.#header = header;
    this.#arch = arch;
    if (arch === '') this.#missing.push('general.architecture');
  }

  number(key: string): number | null {
    return metadataNumber(this.#header, `${this.#arch}.${key}`);
  }

  flag(key: string): boolean | null {
    const value = this.#header.metadata.get(`${this.#arch}.${key}`);
    return typeof value === 'boolean' ? value : null;
  }

  list(key: string): readonly (number | boolean)[] | null {
    const values = metadataList(this.#header, `${this.#arch}.${key}`);
    const isPlain = (v: unknown): v is number | boolean =>
      typeof v === 'number' || typeof v === 'boolean';
    return values?.every(isPlain) ? values.filter(isPlain) : null;
  }

  required(key: string): number {
    const value = this.number(key);
    if (value === null || value < 1) this.miss(`${this.#arch}.${key}`);
    return value ?? 1;
  }

  /** One number for all layers or a list of them. A null fallback means that it is required. */
  perLayer(key: string, layers: number, fallback: number | null): readonly number[] {
    const list = this.list(key);
    if (list !== null && list.length >= layers) return list.slice(0, layers).map(Number);
    const value = this.number(key) ?? fallback;
    if (value === null) this.miss(`${this.#arch}.${key}`);
    return Array.from({ length: layers }, () => value ?? 0);
  }

  miss(key: string): void {
    this.#missing.push(key);
  }

  refuseMissing(): void {
    if (this.#missing.length === 0) return;
    const list = this.#missing.join(', ');
    const arch = this.#arch === '' ? 'The model' : `The model (${this.#arch})`;
    throw new PlenumError('model_unsupported', `${arch} lacks what it needs to be run: ${list}`, {
      details: { missing: [...this.#missing] },
    });
  }
}

function vocabOf(header: GgufHeader, keys: Keys): number {
  const tokens = header.metadata.get('tokenizer.ggml.tokens');
  if (isGgufArray(tokens)) return tokens.length;
  const embedding = header.tensors.find(({ name }) => name === 'token_embd.weight');
  const vocab = keys.number('vocab_size') ?? embedding?.dims[1];
  if (vocab === undefined) keys.miss('tokenizer.ggml.tokens');
  return vocab ?? 0;
}

function listLength(header: GgufHeader, key: string): number {
  const value = header.metadata.get(key);
  return isGgufArray(value) ? value.length : 0;
}

interface LayerInput {
  readonly arch: string;
  readonly layerCount: number;
  readonly heads: readonly number[];
  readonly keyDim: number;
  readonly valueDim: number;
}

function layersOf(keys: Keys, input: LayerInput): readonly LayerGeometry[] {
  const { arch, layerCount, heads } = input;
  const kvHeadsGiven =
    keys.list('attention.head_count_kv') ?? keys.number('attention.head_count_kv');
  const kvHeads =
    kvHeadsGiven === null ? heads : keys.perLayer('attention.head_count_kv', layerCount, 0);
  const ff = keys.perLayer('feed_forward_length', layerCount, 0);
  const windows = windowsOf(keys, arch, layerCount);
  const isMla = keys.number('attention.key_length_mla') !== null;
  // Gemma 3n and 4: the last layers read the cache of earlier ones.
  const sharedFrom = layerCount - (keys.number('attention.shared_kv_layers') ?? 0);
  return heads.map((layerHeads, layer) => {
    const layerKvHeads = kvHeads[layer] ?? 0;
    const windowTokens = windows[layer] ?? null;
    const isRecurrent = isRecurrentLayer(keys, arch, {
      layer,
      kvHeads: layerKvHeads,
      ff: ff[layer] ?? 0,
    });
    const swa = windowTokens === null ? null : '_swa';
    const keyDim = (swa && keys.number('attention.key_length_swa')) ?? input.keyDim;
    const valueDim = (swa && keys.number('attention.value_length_swa')) ?? input.valueDim;
    const hasCache =
      layer < sharedFrom && !ENCODERS.has(arch) && (!isRecurrent || arch === 'falcon-h1');
    return {
      heads: layerHeads,
      kvHeads: layerKvHeads,
      ff: ff[layer] ?? 0,
      keyElements: hasCache ? layerKvHeads * keyDim : 0,
      // Multi-head latent attention keeps one compressed vector, which is key and value.
      valueElements: hasCache && !isMla ? layerKvHeads * valueDim : 0,
      windowTokens,
      isRecurrent,
    };
  });
}

/** Per layer the window, or null. */
function windowsOf(keys: Keys, arch: string, layers: number): readonly (number | null)[] {
  const rule = WINDOW_RULES.get(arch);
  const tokens = keys.number('attention.sliding_window') ?? rule?.defaultTokens ?? 0;
  const everywhere = Array.from({ length: layers }, () => null);
  if (rule === undefined || tokens === 0) return everywhere;
  const flags = keys.list('attention.sliding_window_pattern');
  if (flags !== null) return everywhere.map((_, layer) => (flags[layer] ? tokens : null));
  const period = keys.number('attention.sliding_window_pattern') ?? rule.period;
  if (period === 0) return everywhere;
  const full = rule.isFullFirst ? 0 : period - 1;
  return everywhere.map((_, layer) => (layer % period === full ? null : tokens));
}

function isRecurrentLayer(
  keys: Keys,
  arch: string,
  { layer, kvHeads, ff }: { layer: number; kvHeads: number; ff: number },
): boolean {
  if (RECURRENT.has(arch)) return true;
  if (!HYBRID.has(arch)) return false;
  if (arch === 'falcon-h1') return true;
  const listed = keys.list('attention.recurrent_layers');
  if (listed !== null) return Boolean(listed[layer]);
  const interval = keys.number('full_attention_interval');
  if (interval !== null && interval > 0) return (layer + 1) % interval !== 0;
  // Nemotron-H has layers that are nothing but a feed-forward block.
  if (arch.startsWith('nemotron_h') && ff > 0) return false;
  return kvHeads === 0;
}

/** llama-hparams.cpp, n_embd_r and n_embd_s: what the usual state-space layers keep, in F32. */
function stateBytes(keys: Keys, layers: readonly LayerGeometry[], width: number): number | null {
  const count = layers.filter((layer) => layer.isRecurrent).length;
  if (count === 0) return 0;
  const wkvHead = keys.number('wkv.head_size');
  if (wkvHead !== null) {
    return count * 4 * width * ((keys.number('token_shift_count') ?? 2) + wkvHead);
  }
  const shortConv = keys.number('shortconv.l_cache');
  if (shortConv !== null) return count * 4 * width * (shortConv - 1);
  const inner = keys.number('ssm.inner_size');
  const state = keys.number('ssm.state_size');
  const kernel = keys.number('ssm.conv_kernel');
  if (inner === null || state === null || kernel === null) return null;
  const groups = keys.number('ssm.group_count') ?? 0;
  return count * 4 * ((kernel - 1) * (inner + 2 * groups * state) + state * inner);
}

function quantisationOf(header: GgufHeader, weights: Weights): string {
  const id = metadataNumber(header, 'general.file_type');
  const named = id === null ? undefined : FILE_TYPE_NAMES.get(id);
  const [largest] = [...weights.bytesByType].sort(([, a], [, b]) => b - a);
  return named ?? largest?.[0] ?? 'no weights';
}

function describe(arch: string, weights: Weights, quantisation: string): string {
  const active = weights.hasExperts ? `-A${formatParameters(weights.activeParameters)}` : '';
  return `${arch} ${formatParameters(weights.parameters)}${active} ${quantisation}`;
}

/** `134515008` → `135M`, `8030261248` → `8.0B`, `314112` → `314K`. */
export function formatParameters(n: number): string {
  if (n < 999_500) return `${Math.round(n / 1e3)}K`;
  if (n < 999_500_000) return `${Math.round(n / 1e6)}M`;
  return n < 99.95e9 ? `${(n / 1e9).toFixed(1)}B` : `${Math.round(n / 1e9)}B`;
}
