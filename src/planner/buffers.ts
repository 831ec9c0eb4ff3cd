/**
 * The bytes that an engine computes in, beside weights and cache: the graph's buffer, the rows that
 * it gives, the processor's scratch. By the library's own rules of allocation; where it has laid
 * the graph out itself (simulated allocation), its figure stands in for `graphBytes`. Pure.
 */
import type { ModelGeometry } from '../model/geometry.ts';
import type { EngineDevice } from './engine-shape.ts';

/** What one pass computes, at most. */
export interface Pass {
  readonly device: EngineDevice;
  readonly isFlash: boolean;
  /** Tokens of the pass (n_ubatch). */
  readonly tokens: number;
  /** Cells that a token is compared with: of its own sequence where each has a cache. */
  readonly attendedCells: number;
  /** Tokens that give a row. */
  readonly rows: number;
  /** Rows are vectors, pooled, not only logits. */
  readonly givesVectors: boolean;
}

const F32 = 4;
const F16 = 2;
const INT64 = 8;

/**
 * The buffer of the graph (ggml_gallocr): tensors that are not needed any more give their place to
 * others, so that it is as large as the largest of three moments of a layer.
 *
 * - attention: the stream, its norm, queries, output (as wide as queries), keys, values and the
 *   rotated keys; the mask over the cells, F16 for the flash kernel and F32 without, once more for
 *   windowed layers. Without the flash kernel also the scores of all heads over all cells (F32) and
 *   where in the transposed cache each value goes (INT64).
 * - feed-forward: the mask, the stream and what is added to it, gate, up and their product; without
 *   a gate one such tensor less two.
 * - output: the hidden state and a row of the vocabulary for each token that gives one.
 *
 * Against `no_alloc` of the pinned release: SmolLM2-360M, Llama-3.2-1B, Gemma-3-270M, BGE-base, 512
 * to 8,192 cells, the flash kernel and without, split and unified: within 0.6 % where attention or
 * feed-forward is the largest, 3.7 MB too low at most where output is (the allocator's gaps).
 */
export function graphBytes(geometry: ModelGeometry, pass: Pass): number {
  const { tokens, isFlash, attendedCells } = pass;
  const { layers, width } = geometry;
  const most = (of: (layer: (typeof layers)[number]) => number): number =>
    Math.max(0, ...layers.map(of));
  const heads = most((layer) => layer.heads);
  const queries = heads * geometry.keyDim;
  const keys = most((layer) => layer.keyElements);
  const masks = new Set(layers.map(({ windowTokens }) => windowTokens !== null)).size;
  const mask = Math.max(1, masks) * attendedCells * tokens * (isFlash ? F16 : F32);
  const streams = (2 * width + 2 * queries + 3 * keys) * tokens * F32;
  const plain = heads * attendedCells * tokens * F32 + keys * tokens * INT64;
  const attention = streams + mask + (isFlash ? 0 : plain);
  const feedForward = mask + feedForwardWidth(geometry) * tokens * F32;
  // A model that only gives vectors has no matrix of the vocabulary to compute with.
  const row = geometry.isEncoder ? width : geometry.vocab + width;
  const output = Math.min(pass.rows, tokens) * row * F32;
  return Math.max(attention, feedForward, output);
}

/** Numbers per token that are held at once in the feed-forward part of the widest layer. */
function feedForwardWidth({ layers, width, weights, experts, expertsUsed }: ModelGeometry): number {
  const ff = Math.max(0, ...layers.map((layer) => layer.ff));
  if (experts > 0) return 4 * width + expertsUsed * (3 * ff + width);
  const matrix = layers.reduce((sum, layer) => sum + layer.ff * width, 0);
  const matrices = matrix === 0 ? 0 : weights.byClass.feed_forward.parameters / matrix;
  return matrices < 2.5 ? 3 * width + ff : 4 * width + 3 * ff;
}

/**
 * What the library gives out (llama_context::output_reserve): for each row of a batch the logits of
 * the whole vocabulary, also where only vectors are asked for, and then the vector too. It grows to
 * the largest batch so far and does not shrink.
 */
export function rowBytes({ vocab, width }: ModelGeometry, { rows, givesVectors }: Pass): number {
  return rows * (vocab + (givesVectors ? width : 0)) * F32;
}

/**
 * Scratch of the processor's kernels (ggml_graph_plan): a matrix product converts its second factor
 * to the type of its first, at most F16 here. The largest is the scores, which are multiplied with
 * the values of the cache, or the widest activations. A GPU's kernels convert as they go.
 */
export function scratchBytes({ layers, width }: ModelGeometry, pass: Pass): number {
  if (pass.device === 'gpu') return 0;
  const heads = Math.max(0, ...layers.map((layer) => layer.heads));
  const scores = pass.isFlash ? 0 : heads * pass.attendedCells;
  const widest = Math.max(width, ...layers.map((layer) => layer.ff));
  return Math.max(scores, widest) * pass.tokens * F16;
}
