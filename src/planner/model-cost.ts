/**
 * What a step of a model costs before any machine is named: bytes of weights, operations, cache
 * bytes, kernels. Pure sums over a geometry.
 */
import type { ModelGeometry } from '../model/geometry.ts';

/** Kernels decode weights of different kinds at different speeds. */
export const WEIGHT_KINDS = ['float', 'q8', 'q4', 'k', 'mx'] as const;
export type WeightKind = (typeof WEIGHT_KINDS)[number];

export interface WeightGroup {
  readonly bytes: number;
  readonly parameters: number;
  /** Share of the parameters by kind; the shares sum to 1. */
  readonly kinds: Readonly<Record<WeightKind, number>>;
}

/** Layers that keep the same of each token. */
export interface CacheGroup {
  readonly layers: number;
  /** Numbers kept per token and layer, keys and values. */
  readonly elements: number;
  /** Operations per attended cell and layer: 2 for each of query·key and weight·value. */
  readonly opsPerCell: number;
  /** Tokens that it looks back at most; null when it sees everything. */
  readonly windowTokens: number | null;
}

export interface ModelCost {
  /** Read whole by every step: attention, feed-forward, norms. */
  readonly dense: WeightGroup;
  /** Read as far as tokens choose them; null in a dense model. */
  readonly experts: (WeightGroup & { readonly count: number; readonly used: number }) | null;
  /** The output matrix, for the rows whose logits are wanted. */
  readonly head: WeightGroup;
  readonly cache: readonly CacheGroup[];
  /** Kernels that a step launches: see KERNELS_*. */
  readonly kernels: number;
  readonly layers: number;
  readonly width: number;
}

/**
 * Kernels of a layer in llama.cpp's graphs (src/llama-graph.cpp of the pinned release, counted):
 * 2 norms, 3 projections, 2 rotations, 2 cache writes, attention, output projection, 2 additions,
 * gate, up, activation, down. Experts add router, softmax, sort, row gathers, weighting and sums.
 */
const KERNELS_DENSE_LAYER = 17;
const KERNELS_EXPERT_LAYER = 30;
const KERNELS_ENDS = 4;

/** The cost of `geometry`, whose weights may be of any mix of types. */
export function modelCost(geometry: ModelGeometry): ModelCost {
  const { weights, layers, experts, expertsUsed, width } = geometry;
  const { byClass } = weights;
  const kinds = kindShares(weights.bytesByType);
  const head = weights.isTied ? byClass.embedding : byClass.output;
  const denseBytes =
    weights.bytes - byClass.embedding.bytes - byClass.output.bytes - byClass.experts.bytes;
  const denseParameters =
    weights.parameters -
    byClass.embedding.parameters -
    byClass.output.parameters -
    byClass.experts.parameters;
  const perLayer = experts > 0 ? KERNELS_EXPERT_LAYER : KERNELS_DENSE_LAYER;
  return {
    dense: { bytes: denseBytes, parameters: denseParameters, kinds: kinds.dense },
    experts:
      experts === 0
        ? null
        : { ...byClass.experts, kinds: kinds.experts, count: experts, used: expertsUsed },
    head: geometry.isEncoder
      ? { bytes: 0, parameters: 0, kinds: kinds.dense }
      : { ...head, kinds: kinds.dense },
    cache: cacheGroups(geometry),
    kernels: layers.length * perLayer + KERNELS_ENDS,
    layers: layers.length,
    width,
  };
}

/**
 * Distinct experts that `tokens` are expected to touch when each chooses `used` of `count`
 * independently: E·(1 − (1 − k/E)^n). Real routing has favourites, so that it is an upper bound.
 */
export function expectedExperts(count: number, used: number, tokens: number): number {
  return count * (1 - (1 - used / count) ** tokens);
}

interface Shares {
  readonly dense: Readonly<Record<WeightKind, number>>;
  readonly experts: Readonly<Record<WeightKind, number>>;
}

/**
 * Shares of the matrices by kind. F32 is left out: norms and routers, which are small. In a file
 * with MXFP4 the experts are of that type and the rest is not.
 */
function kindShares(bytesByType: ReadonlyMap<string, number>): Shares {
  const sums: Record<WeightKind, number> = { float: 0, q8: 0, q4: 0, k: 0, mx: 0 };
  for (const [type, bytes] of bytesByType) {
    if (type !== 'F32') sums[kindOf(type)] += bytes / bitsOf(type);
  }
  const total = Object.values(sums).reduce((sum, n) => sum + n, 0);
  if (total === 0) return { dense: ONLY_FLOAT, experts: ONLY_FLOAT };
  const { mx, ...others } = sums;
  const rest = total - mx;
  if (mx === 0 || rest === 0) {
    const all = scaled(sums, total);
    return { dense: all, experts: all };
  }
  return {
    dense: scaled({ ...others, mx: 0 }, rest),
    experts: { float: 0, q8: 0, q4: 0, k: 0, mx: 1 },
  };
}

const ONLY_FLOAT: Readonly<Record<WeightKind, number>> = { float: 1, q8: 0, q4: 0, k: 0, mx: 0 };

function scaled(sums: Record<WeightKind, number>, total: number): Record<WeightKind, number> {
  const { float, q8, q4, k, mx } = sums;
  return { float: float / total, q8: q8 / total, q4: q4 / total, k: k / total, mx: mx / total };
}

function kindOf(type: string): WeightKind {
  if (type === 'F16' || type === 'BF16' || type === 'F32') return 'float';
  if (type === 'Q8_0' || type === 'MLX8') return 'q8';
  if (type === 'MXFP4' || type === 'NVFP4') return 'mx';
  return /_K$|^IQ|^TQ/.test(type) ? 'k' : 'q4';
}

/** Rough bits per weight by name, for shares of parameters only; bytes are counted exactly. */
function bitsOf(type: string): number {
  if (type.endsWith('16')) return 16;
  return Number(/\d/.exec(type)?.[0] ?? 4) + 0.5;
}

function cacheGroups(geometry: ModelGeometry): readonly CacheGroup[] {
  const groups = new Map<string, CacheGroup>();
  for (const layer of geometry.layers) {
    const elements = layer.keyElements + layer.valueElements;
    if (elements === 0 && layer.heads === 0) continue;
    const opsPerCell = 2 * layer.heads * (geometry.keyDim + geometry.valueDim);
    const key = `${elements} ${opsPerCell} ${layer.windowTokens}`;
    const layers = (groups.get(key)?.layers ?? 0) + 1;
    groups.set(key, { layers, elements, opsPerCell, windowTokens: layer.windowTokens });
  }
  return [...groups.values()];
}
