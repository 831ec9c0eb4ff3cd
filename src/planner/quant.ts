/**
 * Which tensor type every tensor of a model gets when it is quantised, and so exact bits per
 * weight. A name such as Q4_K_M stands for a mix: llama.cpp gives the output matrix, attention's
 * values and the down projection more bits, by layer. Rules: src/llama-quant.cpp of the pinned
 * release, without an importance matrix. Pure; it reads no file and quantises nothing.
 */
import { defined } from '../base/assert.ts';
import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { CatalogueModel } from '../model/catalogue-types.ts';
import { type GgmlType, ggmlTypeByName } from '../model/gguf-types.ts';

/** What a matrix does, as far as the mixes care; `exact` is never quantised. */
export type TensorClass =
  | 'token_embd'
  | 'output'
  | 'attn_q'
  | 'attn_k'
  | 'attn_v'
  | 'attn_qkv'
  | 'attn_output'
  | 'ffn_gate'
  | 'ffn_up'
  | 'ffn_down'
  | 'exact';

export interface QuantTarget {
  readonly tensorClass: TensorClass;
  readonly layer: number;
  /** Length of a row: quantisation blocks lie within rows. */
  readonly rowLength: number;
  readonly isExpert: boolean;
}

/**
 * MLX keeps an F16 scale and bias per 64 weights: 36 bytes for 4 bits, 68 for 8 (mlx.core.quantize,
 * group_size 64).
 */
const MLX_TYPES: readonly GgmlType[] = [
  { id: -1, name: 'MLX4', blockSize: 64, blockBytes: 36 },
  { id: -2, name: 'MLX8', blockSize: 64, blockBytes: 68 },
];

/** Name → the type that most matrices get. */
const BASES: ReadonlyMap<string, string> = new Map([
  ...['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q6_K', 'NVFP4'].map(
    (name): [string, string] => [name, name],
  ),
  ['Q2_K', 'Q2_K'],
  ['Q3_K_S', 'Q3_K'],
  ['Q3_K_M', 'Q3_K'],
  ['Q3_K_L', 'Q3_K'],
  ['Q4_K_S', 'Q4_K'],
  ['Q4_K_M', 'Q4_K'],
  ['Q5_K_S', 'Q5_K'],
  ['Q5_K_M', 'Q5_K'],
  ['IQ4_XS', 'IQ4_XS'],
  ['IQ4_NL', 'IQ4_NL'],
  ['MXFP4', 'Q8_0'],
  ['MLX_4BIT', 'MLX4'],
  ['MLX_8BIT', 'MLX8'],
]);

export const QUANT_NAMES: readonly string[] = [...BASES.keys()];

/** `name` as the table spells it. Throws `reference_invalid` with the nearest known name. */
export function quantNamed(name: string): string {
  const upper = name.toUpperCase();
  if (BASES.has(upper)) return upper;
  const near = nearest(upper, QUANT_NAMES);
  const hint = near === null ? `known: ${QUANT_NAMES.join(', ')}` : `did you mean ${near}?`;
  throw new PlenumError('reference_invalid', `No quantisation is called '${name}'; ${hint}`);
}

/** The type that `target` of `model` has in a file of quantisation `quant`. */
export function tensorType(model: CatalogueModel, quant: string, target: QuantTarget): GgmlType {
  if (target.tensorClass === 'exact') return typeNamed('F32');
  const base = typeNamed(defined(BASES.get(quantNamed(quant)), `base of ${quant}`));
  if (base.blockSize === 1) return base;
  if (base.id < 0) return base;
  const mixed = typeNamed(mixedType(model, quantNamed(quant), target));
  return fitting(mixed, target.rowLength);
}

function mixedType(model: CatalogueModel, quant: string, target: QuantTarget): string {
  const base = defined(BASES.get(quant), `base of ${quant}`);
  const { tensorClass, rowLength } = target;
  if (tensorClass === 'output' || (model.isTied && tensorClass === 'token_embd')) {
    if (quant === 'MXFP4' || base === 'Q8_0' || rowLength % typeNamed(base).blockSize !== 0) {
      return 'Q8_0';
    }
    return 'Q6_K';
  }
  if (quant === 'MXFP4') return target.isExpert ? 'MXFP4' : 'Q8_0';
  switch (tensorClass) {
    case 'attn_v':
      return valueType(model, quant, target.layer);
    case 'attn_k':
      return model.experts === 8 ? 'Q8_0' : base;
    case 'ffn_down':
      return downType(model, quant, target.layer);
    case 'attn_output':
      return attentionOutputType(model, quant);
    case 'attn_qkv':
      return lookup(FUSED_QKV, quant, base);
    default:
      return base;
  }
}

/** The first and last eighth of the layers, and every third one between. */
function hasMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function valueType(model: CatalogueModel, quant: string, layer: number): string {
  if (model.experts === 8) return 'Q8_0';
  const isGrouped = model.heads / model.kvHeads >= 4;
  let type = defined(BASES.get(quant), quant);
  if (quant === 'Q2_K') type = isGrouped ? 'Q4_K' : 'Q3_K';
  else if (quant === 'Q3_K_M') type = layer < 2 ? 'Q5_K' : 'Q4_K';
  else if (quant === 'Q3_K_L') type = 'Q5_K';
  else if (quant.startsWith('IQ4') && isGrouped) type = 'Q5_K';
  else if (quant.endsWith('_M') && hasMoreBits(layer, model.layers)) type = 'Q6_K';
  else if (quant === 'Q4_K_S' && layer < 4) type = 'Q5_K';
  // The engine's 70B type: a llama of 80 layers with grouped heads.
  const is70b = model.arch === 'llama' && model.layers === 80 && model.heads !== model.kvHeads;
  return is70b && (type === 'Q3_K' || type === 'Q4_K') ? 'Q5_K' : type;
}

function downType(model: CatalogueModel, quant: string, layer: number): string {
  const base = defined(BASES.get(quant), quant);
  const { layers } = model;
  const isEarly = layer < Math.floor(layers / 8);
  if (quant === 'Q2_K') return 'Q3_K';
  if (quant === 'Q3_K_M') return layer < Math.floor(layers / 16) ? 'Q5_K' : 'Q4_K';
  if (quant === 'Q3_K_L') return 'Q5_K';
  if (quant.endsWith('_M')) return hasMoreBits(layer, layers) ? 'Q6_K' : base;
  return isEarly && (quant.startsWith('IQ4') || quant === 'Q4_K_S') ? 'Q5_K' : base;
}

const DENSE_OUTPUT: ReadonlyMap<string, string> = new Map([
  ['Q2_K', 'Q3_K'],
  ['Q3_K_M', 'Q4_K'],
  ['Q3_K_L', 'Q5_K'],
]);
const FUSED_QKV: ReadonlyMap<string, string> = new Map([
  ['Q3_K_M', 'Q4_K'],
  ['Q3_K_L', 'Q4_K'],
  ['Q4_K_M', 'Q5_K'],
  ['Q5_K_M', 'Q6_K'],
]);
const EIGHT_EXPERTS_OUTPUT = new Set([
  ...['Q2_K', 'Q3_K_S', 'Q3_K_M', 'Q4_K_S', 'Q4_K_M', 'IQ4_NL', 'IQ4_XS'],
]);

function attentionOutputType(model: CatalogueModel, quant: string): string {
  const base = defined(BASES.get(quant), quant);
  if (model.experts === 8) return EIGHT_EXPERTS_OUTPUT.has(quant) ? 'Q5_K' : base;
  return lookup(DENSE_OUTPUT, quant, base);
}

function lookup(table: ReadonlyMap<string, string>, quant: string, base: string): string {
  return table.get(quant) ?? base;
}

/** What takes a type's place where a row is not a whole number of its blocks. */
const FALLBACK: ReadonlyMap<string, string> = new Map([
  ['IQ4_XS', 'IQ4_NL'],
  ['Q2_K', 'Q4_0'],
  ['Q3_K', 'Q4_0'],
  ['Q4_K', 'Q5_0'],
  ['Q5_K', 'Q5_1'],
  ['Q6_K', 'Q8_0'],
]);

function fitting(type: GgmlType, rowLength: number): GgmlType {
  if (rowLength % type.blockSize === 0) return type;
  const smaller = typeNamed(FALLBACK.get(type.name) ?? 'F16');
  return rowLength % smaller.blockSize === 0 ? smaller : typeNamed('F16');
}

function typeNamed(name: string): GgmlType {
  const found = MLX_TYPES.find((type) => type.name === name) ?? ggmlTypeByName(name);
  return defined(found, `tensor type ${name}`);
}
