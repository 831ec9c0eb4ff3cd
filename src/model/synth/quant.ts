/**
 * Which tensor type each tensor of a file gets. A quantisation's name stands for a mix: the
 * output matrix, the attention's values and the down projections often get more bits. The rules
 * are those of the pinned llama.cpp release (src/llama-quant.cpp), without an importance matrix.
 */
import { defined } from '../../base/assert.ts';
import { type GgmlType, ggmlTypeByName } from '../gguf-types.ts';
import type { SynthShape } from './shapes.ts';

/** What a matrix does, as far as the mixes care. Vectors are always F32. */
export type TensorRole =
  | 'embedding'
  | 'output'
  | 'attn_k'
  | 'attn_v'
  | 'attn_output'
  | 'ffn_down'
  | 'expert'
  | 'expert_down'
  | 'plain'
  /** Small or delicate: never quantised. */
  | 'exact';

export interface SynthQuant {
  /** As in a spec: `q4_k_m`. */
  readonly name: string;
  /** `general.file_type` (llama.h, enum llama_ftype). */
  readonly fileType: number;
  readonly base: string;
}

/** Every quantisation that can be synthesised, with what most of its matrices are. */
export const SYNTH_QUANTS: readonly SynthQuant[] = [
  { name: 'f32', fileType: 0, base: 'F32' },
  { name: 'f16', fileType: 1, base: 'F16' },
  { name: 'bf16', fileType: 32, base: 'BF16' },
  { name: 'q8_0', fileType: 7, base: 'Q8_0' },
  { name: 'q6_k', fileType: 18, base: 'Q6_K' },
  { name: 'q5_k_m', fileType: 17, base: 'Q5_K' },
  { name: 'q5_0', fileType: 8, base: 'Q5_0' },
  { name: 'q5_1', fileType: 9, base: 'Q5_1' },
  { name: 'q4_k_m', fileType: 15, base: 'Q4_K' },
  { name: 'q4_0', fileType: 2, base: 'Q4_0' },
  { name: 'q4_1', fileType: 3, base: 'Q4_1' },
  { name: 'mxfp4', fileType: 38, base: 'Q8_0' },
];

/** The quantisation called `name`, in lower case; undefined when there is none. */
export const quantByName = (name: string): SynthQuant | undefined =>
  SYNTH_QUANTS.find((quant) => quant.name === name);

export interface Matrix {
  readonly role: TensorRole;
  readonly layer: number;
  readonly rowLength: number;
}

export function typeOf(quant: SynthQuant, shape: SynthShape, matrix: Matrix): GgmlType {
  if (matrix.role === 'exact') return named('F32');
  if (named(quant.base).blockSize === 1) return named(quant.base);
  return fitting(named(mixed(quant, shape, matrix)), matrix.rowLength);
}

function mixed(quant: SynthQuant, shape: SynthShape, { role, layer, rowLength }: Matrix): string {
  const isExpert = role === 'expert' || role === 'expert_down';
  if (role === 'output' || (role === 'embedding' && shape.tied)) {
    const whole = rowLength % named(quant.base).blockSize === 0;
    return quant.base === 'Q8_0' || !whole ? 'Q8_0' : 'Q6_K';
  }
  if (quant.name === 'mxfp4') return isExpert ? 'MXFP4' : 'Q8_0';
  const eightExperts = shape.experts === 8;
  if (eightExperts && (role === 'attn_v' || role === 'attn_k')) return 'Q8_0';
  const isMedium = quant.name === 'q4_k_m' || quant.name === 'q5_k_m';
  if (!isMedium) return quant.base;
  if (role === 'attn_v' || role === 'ffn_down' || role === 'expert_down') {
    if (hasMoreBits(layer, shape.layers)) return 'Q6_K';
    const is70b = shape.arch === 'llama' && shape.layers === 80 && shape.heads !== shape.kvHeads;
    return role === 'attn_v' && is70b ? 'Q5_K' : quant.base;
  }
  return role === 'attn_output' && eightExperts ? 'Q5_K' : quant.base;
}

/** The first and last eighth of the layers, and every third one between. */
function hasMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  const last = Math.floor((7 * layers) / 8);
  return layer < eighth || layer >= last || (layer - eighth) % 3 === 2;
}

const FALLBACK: ReadonlyMap<string, string> = new Map([
  ['Q4_K', 'Q5_0'],
  ['Q5_K', 'Q5_1'],
  ['Q6_K', 'Q8_0'],
]);

/** `type`, or what takes its place when a row is not a whole number of its blocks. */
function fitting(type: GgmlType, rowLength: number): GgmlType {
  if (rowLength % type.blockSize === 0) return type;
  const smaller = named(FALLBACK.get(type.name) ?? 'F16');
  return rowLength % smaller.blockSize === 0 ? smaller : named('F16');
}

const named = (name: string): GgmlType => defined(ggmlTypeByName(name), `tensor type ${name}`);
