/**
 * From a model of the catalogue and a quantisation to the geometry that a file's header would
 * give: the tensor table by class and type, and what each layer keeps of a token. Pure. A real
 * file is better (model/geometry.ts): this is for a question before the download.
 */
import { PlenumError } from '../base/errors.ts';
import type { CatalogueModel } from '../model/catalogue-types.ts';
import type { LayerGeometry, ModelGeometry } from '../model/geometry.ts';
import { weightsOf } from '../model/geometry-weights.ts';
import type { GgufTensor } from '../model/gguf.ts';
import { ggmlBytes } from '../model/gguf-types.ts';
import { quantNamed, type TensorClass, tensorType } from './quant.ts';

/** Dimensions without which no byte can be counted. */
const REQUIRED = ['layers', 'width', 'heads', 'kvHeads', 'headDim', 'ff', 'vocab'] as const;

/**
 * Throws `model_unsupported` that lists the dimensions that are missing, `reference_invalid` for
 * an unknown quantisation.
 */
export function geometryOfModel(model: CatalogueModel, quant: string): ModelGeometry {
  refuseMissing(model);
  const quantisation = quantNamed(quant);
  const tensors = tensorsOfModel(model, quantisation);
  const { experts, expertsUsed } = model;
  return {
    arch: model.arch,
    name: model.id,
    description: `${model.id} ${quantisation}`,
    isEncoder: false,
    layers: layersOf(model),
    width: model.width,
    keyDim: model.headDim,
    valueDim: model.headDim,
    vocab: model.vocab,
    contextTokens: model.contextTokens,
    experts,
    expertsUsed,
    recurrence: 'none',
    stateBytesPerSequence: 0,
    pooling: null,
    quantisation,
    weights: weightsOf(tensors, { experts, expertsUsed, isEncoder: false }),
    hasChatTemplate: true,
    isSynthetic: false,
  };
}

function refuseMissing(model: CatalogueModel): void {
  const missing: string[] = REQUIRED.filter((key) => !(model[key] >= 1));
  if (model.experts > 0 && !(model.expertsUsed >= 1)) missing.push('expertsUsed');
  if (missing.length === 0) return;
  const list = missing.join(', ');
  throw new PlenumError('model_unsupported', `${model.id} lacks ${list}: its bytes are unknown`, {
    details: { missing },
  });
}

function layersOf(model: CatalogueModel): readonly LayerGeometry[] {
  const { heads, kvHeads, headDim, ff, windowTokens, windowPeriod } = model;
  return Array.from({ length: model.layers }, (_, layer) => ({
    heads,
    kvHeads,
    ff,
    keyElements: kvHeads * headDim,
    valueElements: kvHeads * headDim,
    windowTokens:
      windowTokens === null || layer % windowPeriod === windowPeriod - 1 ? null : windowTokens,
    isRecurrent: false,
  }));
}

/** Every tensor of the model, named as llama.cpp names it. */
export function tensorsOfModel(model: CatalogueModel, quant: string): readonly GgufTensor[] {
  const table = new TensorTable(model, quant);
  const { width, vocab } = model;
  table.matrix('token_embd', 'token_embd', [width, vocab]);
  if (!model.isTied) table.matrix('output', 'output', [width, vocab]);
  table.exact('output_norm', width);
  for (let layer = 0; layer < model.layers; layer++) {
    attention(table, model, layer);
    feedForward(table, model, layer);
  }
  return table.tensors;
}

class TensorTable {
  readonly tensors: GgufTensor[] = [];
  readonly #model: CatalogueModel;
  readonly #quant: string;

  constructor(model: CatalogueModel, quant: string) {
    this.#model = model;
    this.#quant = quant;
  }

  matrix(name: string, tensorClass: TensorClass, dims: readonly number[], layer = 0): void {
    const rowLength = dims[0] ?? 1;
    const isExpert = dims.length > 2;
    const target = { tensorClass, layer, rowLength, isExpert };
    const type = tensorType(this.#model, this.#quant, target);
    const elements = dims.reduce((product, n) => product * n, 1);
    const bytes = ggmlBytes(type, elements);
    this.tensors.push({ name: `${name}.weight`, dims, type, elements, offset: 0, bytes });
  }

  exact(name: string, ...dims: readonly number[]): void {
    this.matrix(name, 'exact', dims);
  }
}

function attention(table: TensorTable, model: CatalogueModel, layer: number): void {
  const { arch, width, heads, kvHeads, headDim } = model;
  const at = `blk.${layer}`;
  const queries = heads * headDim;
  const keys = kvHeads * headDim;
  table.exact(`${at}.attn_norm`, width);
  if (arch === 'phi3') {
    table.matrix(`${at}.attn_qkv`, 'attn_qkv', [width, queries + 2 * keys], layer);
  } else {
    table.matrix(`${at}.attn_q`, 'attn_q', [width, queries], layer);
    table.matrix(`${at}.attn_k`, 'attn_k', [width, keys], layer);
    table.matrix(`${at}.attn_v`, 'attn_v', [width, keys], layer);
  }
  table.matrix(`${at}.attn_output`, 'attn_output', [queries, width], layer);
  if (arch === 'qwen2' || arch === 'gpt-oss') table.exact(`${at}.attn_bias`, queries + 2 * keys);
  if (arch === 'qwen3' || arch === 'qwen3moe' || arch === 'gemma3') {
    table.exact(`${at}.attn_head_norm`, 2 * headDim);
  }
  if (arch === 'gemma3') table.exact(`${at}.post_norms`, 2 * width);
  if (arch === 'gpt-oss') table.exact(`${at}.attn_output_bias_sinks`, width + heads);
}

function feedForward(table: TensorTable, model: CatalogueModel, layer: number): void {
  const { arch, width, ff, experts } = model;
  const at = `blk.${layer}`;
  table.exact(`${at}.ffn_norm`, width);
  if (experts === 0) {
    if (arch === 'phi3') table.matrix(`${at}.ffn_up`, 'ffn_up', [width, 2 * ff], layer);
    else {
      table.matrix(`${at}.ffn_gate`, 'ffn_gate', [width, ff], layer);
      table.matrix(`${at}.ffn_up`, 'ffn_up', [width, ff], layer);
    }
    table.matrix(`${at}.ffn_down`, 'ffn_down', [ff, width], layer);
    return;
  }
  table.exact(`${at}.ffn_gate_inp`, width, experts);
  table.matrix(`${at}.ffn_gate_exps`, 'ffn_gate', [width, ff, experts], layer);
  table.matrix(`${at}.ffn_up_exps`, 'ffn_up', [width, ff, experts], layer);
  table.matrix(`${at}.ffn_down_exps`, 'ffn_down', [ff, width, experts], layer);
  if (arch !== 'gpt-oss') return;
  table.exact(`${at}.ffn_gate_inp_bias`, experts);
  table.exact(`${at}.ffn_bias_exps`, 2 * ff + width, experts);
}
