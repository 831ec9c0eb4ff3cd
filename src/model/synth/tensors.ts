/**
 * The tensor table of a synthetic model: names, shapes and types as the engine expects them for
 * each architecture (src/models/*.cpp of the pinned llama.cpp release), and how each is filled.
 *
 * Scales keep a forward pass finite and its logits apart: matrices have a standard deviation of
 * 1/sqrt(fan in), norms are about 1, and logits get a standard deviation of about LOGIT_STD.
 */
import type { EncodableTensor } from '../gguf-encode.ts';
import { type SynthQuant, type TensorRole, typeOf } from './quant.ts';
import type { SynthShape } from './shapes.ts';

export type Fill =
  /** The first `quietRows` rows have QUIET times the standard deviation of the others. */
  | { readonly kind: 'random'; readonly std: number; readonly quietRows: number }
  | { readonly kind: 'vector'; readonly mean: number; readonly spread: number }
  | { readonly kind: 'values'; readonly values: Float32Array };

export interface SynthTensor extends EncodableTensor {
  readonly fill: Fill;
}

/** Peaked enough that the most probable token has a margin, flat enough that sampling varies. */
const LOGIT_STD = 3;
/** Attention that looks at few positions, so that a wrong cache shows in the output. */
const QUERY_GAIN = 2;
/**
 * Of tokens that should be rare in random output: control tokens and bytes that are no text. Their
 * logits stay near 0, far below the best of many; their inputs are as good, after the first norm.
 */
export const QUIET = 1 / 8;
/** Input share of a tied embedding: small, or every token would predict itself. */
const TIED_INPUT_STD = 0.02;

export interface TensorOptions {
  readonly shape: SynthShape;
  readonly quant: SynthQuant;
  /** Tokens below it are control tokens and unprintable bytes. */
  readonly firstTextToken: number;
}

export function synthTensors(options: TensorOptions): readonly SynthTensor[] {
  const table = new Table(options);
  if (options.shape.arch === 'bert') encoder(table, options.shape);
  else decoder(table, options);
  return table.tensors;
}

class Table {
  readonly tensors: SynthTensor[] = [];
  readonly #options: TensorOptions;

  constructor(options: TensorOptions) {
    this.#options = options;
  }

  matrix(
    name: string,
    dims: readonly [number, number, number?],
    how: { role: TensorRole; layer?: number; std?: number; quietRows?: number },
  ): void {
    const [rowLength, rows, depth] = dims;
    const { quant, shape } = this.#options;
    const type = typeOf(quant, shape, { role: how.role, layer: how.layer ?? 0, rowLength });
    const std = how.std ?? 1 / Math.sqrt(rowLength);
    this.tensors.push({
      name: `${name}.weight`,
      dims: depth === undefined ? [rowLength, rows] : [rowLength, rows, depth],
      type,
      fill: { kind: 'random', std, quietRows: how.quietRows ?? 0 },
    });
  }

  vector(name: string, length: number, mean: number, spread: number): void {
    const type = typeOf(this.#options.quant, this.#options.shape, EXACT);
    this.tensors.push({ name, dims: [length], type, fill: { kind: 'vector', mean, spread } });
  }

  norm(name: string, length: number, mean = 1): void {
    this.vector(`${name}.weight`, length, mean, mean * 0.05);
  }

  bias(name: string, length: number): void {
    this.vector(`${name}.bias`, length, 0, 0.02);
  }

  /** One bias vector per expert. */
  expertBias(name: string, length: number, experts: number): void {
    const type = typeOf(this.#options.quant, this.#options.shape, EXACT);
    const fill: Fill = { kind: 'random', std: 0.02, quietRows: 0 };
    this.tensors.push({ name: `${name}.bias`, dims: [length, experts], type, fill });
  }

  values(name: string, values: Float32Array): void {
    const type = typeOf(this.#options.quant, this.#options.shape, EXACT);
    this.tensors.push({ name, dims: [values.length], type, fill: { kind: 'values', values } });
  }
}

const EXACT = { role: 'exact', layer: 0, rowLength: 1 } as const;

function decoder(table: Table, { shape, firstTextToken }: TensorOptions): void {
  const { width, vocab, tied } = shape;
  // gemma3 multiplies its embeddings by sqrt(width).
  const inputScale = shape.arch === 'gemma3' ? Math.sqrt(width) : 1;
  const inputStd = tied ? TIED_INPUT_STD / inputScale : 1;
  const outputStd = LOGIT_STD / Math.sqrt(width);
  table.matrix('token_embd', [width, vocab], {
    role: 'embedding',
    std: inputStd,
    quietRows: tied ? firstTextToken : 0,
  });
  table.norm('output_norm', width, tied ? outputStd / inputStd : 1);
  if (!tied) {
    const quietRows = firstTextToken;
    table.matrix('output', [width, vocab], { role: 'output', std: outputStd, quietRows });
  }
  if (shape.ropeScaling.kind === 'llama3') {
    table.values('rope_freqs.weight', llama3Factors(shape, shape.ropeScaling.factor));
  }
  for (let layer = 0; layer < shape.layers; layer++) {
    attention(table, shape, layer);
    if (shape.experts > 0) experts(table, shape, layer);
    else feedForward(table, shape, layer);
  }
}

function attention(table: Table, shape: SynthShape, layer: number): void {
  const { arch, width, heads, kvHeads, headDim } = shape;
  const at = `blk.${layer}`;
  const hasHeadNorms = arch === 'qwen3' || arch === 'qwen3moe' || arch === 'gemma3';
  const hasBiases = arch === 'qwen2' || arch === 'gpt-oss';
  const gain = hasHeadNorms ? 1 : QUERY_GAIN;
  table.norm(`${at}.attn_norm`, width);
  const std = gain / Math.sqrt(width);
  table.matrix(`${at}.attn_q`, [width, heads * headDim], { role: 'plain', layer, std });
  table.matrix(`${at}.attn_k`, [width, kvHeads * headDim], { role: 'attn_k', layer });
  table.matrix(`${at}.attn_v`, [width, kvHeads * headDim], { role: 'attn_v', layer });
  table.matrix(`${at}.attn_output`, [heads * headDim, width], { role: 'attn_output', layer });
  if (hasBiases) {
    table.bias(`${at}.attn_q`, heads * headDim);
    table.bias(`${at}.attn_k`, kvHeads * headDim);
    table.bias(`${at}.attn_v`, kvHeads * headDim);
  }
  if (hasHeadNorms) {
    table.norm(`${at}.attn_q_norm`, headDim, QUERY_GAIN);
    table.norm(`${at}.attn_k_norm`, headDim);
  }
  if (arch === 'gemma3') table.norm(`${at}.post_attention_norm`, width);
  if (arch === 'gpt-oss') {
    table.bias(`${at}.attn_output`, width);
    table.vector(`${at}.attn_sinks.weight`, heads, 0, 0.5);
    table.norm(`${at}.post_attention_norm`, width);
  }
}

function feedForward(table: Table, shape: SynthShape, layer: number): void {
  const { width, ff } = shape;
  const at = `blk.${layer}`;
  table.norm(`${at}.ffn_norm`, width);
  table.matrix(`${at}.ffn_gate`, [width, ff], { role: 'plain', layer });
  table.matrix(`${at}.ffn_up`, [width, ff], { role: 'plain', layer });
  table.matrix(`${at}.ffn_down`, [ff, width], { role: 'ffn_down', layer });
  if (shape.arch === 'gemma3') table.norm(`${at}.post_ffw_norm`, width);
}

function experts(table: Table, shape: SynthShape, layer: number): void {
  const { arch, width, ff } = shape;
  const at = `blk.${layer}`;
  // gpt-oss norms before the experts with what it calls the norm after attention.
  if (arch !== 'gpt-oss') table.norm(`${at}.ffn_norm`, width);
  const std = 2 / Math.sqrt(width);
  table.matrix(`${at}.ffn_gate_inp`, [width, shape.experts], { role: 'exact', layer, std });
  table.matrix(`${at}.ffn_gate_exps`, [width, ff, shape.experts], { role: 'expert', layer });
  table.matrix(`${at}.ffn_up_exps`, [width, ff, shape.experts], { role: 'expert', layer });
  table.matrix(`${at}.ffn_down_exps`, [ff, width, shape.experts], { role: 'expert_down', layer });
  if (arch !== 'gpt-oss') return;
  table.bias(`${at}.ffn_gate_inp`, shape.experts);
  table.expertBias(`${at}.ffn_gate_exps`, ff, shape.experts);
  table.expertBias(`${at}.ffn_up_exps`, ff, shape.experts);
  table.expertBias(`${at}.ffn_down_exps`, width, shape.experts);
}

function encoder(table: Table, shape: SynthShape): void {
  const { width, ff, layers } = shape;
  const normed = (name: string): void => {
    table.norm(name, width);
    table.bias(name, width);
  };
  table.matrix('token_embd', [width, shape.vocab], { role: 'embedding', std: 0.05 });
  table.matrix('token_types', [width, 2], { role: 'exact', std: 0.01 });
  table.matrix('position_embd', [width, shape.contextTokens], { role: 'exact', std: 0.02 });
  normed('token_embd_norm');
  for (let layer = 0; layer < layers; layer++) {
    const at = `blk.${layer}`;
    const std = QUERY_GAIN / Math.sqrt(width);
    table.matrix(`${at}.attn_q`, [width, width], { role: 'plain', layer, std });
    table.bias(`${at}.attn_q`, width);
    table.matrix(`${at}.attn_k`, [width, width], { role: 'attn_k', layer });
    table.bias(`${at}.attn_k`, width);
    table.matrix(`${at}.attn_v`, [width, width], { role: 'attn_v', layer });
    table.bias(`${at}.attn_v`, width);
    table.matrix(`${at}.attn_output`, [width, width], { role: 'attn_output', layer });
    table.bias(`${at}.attn_output`, width);
    normed(`${at}.attn_output_norm`);
    table.matrix(`${at}.ffn_up`, [width, ff], { role: 'plain', layer });
    table.bias(`${at}.ffn_up`, ff);
    table.matrix(`${at}.ffn_down`, [ff, width], { role: 'ffn_down', layer });
    table.bias(`${at}.ffn_down`, width);
    normed(`${at}.layer_output_norm`);
  }
}

/**
 * The divisors of the rotary frequencies by which Llama 3.1 and later reach beyond 8192 tokens:
 * none for wavelengths below 8192/4, `factor` above 8192/1, a blend between (the models'
 * published `rope_scaling`).
 */
function llama3Factors(shape: SynthShape, factor: number): Float32Array {
  const original = 8192;
  const lowFactor = 1;
  const highFactor = 4;
  return Float32Array.from({ length: shape.headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * shape.ropeBase ** ((2 * i) / shape.headDim);
    if (wavelength < original / highFactor) return 1;
    if (wavelength > original / lowFactor) return factor;
    const smooth = (original / wavelength - lowFactor) / (highFactor - lowFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
