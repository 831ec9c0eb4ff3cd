/**
 * What a step of a model costs before any machine is named: bytes of weights, operations, cache
 * bytes, kernels. Pure sums over a geometry.
 */
import type { ModelGeometry } from '../model/geometry.ts';
import { ALL_ROWS } from '../model/geometry-arch.ts';
import type { WeightClass, WeightSum, Weights } from '../model/geometry-weights.ts';

/**
 * Kernels decode weights of different kinds at different speeds. `k6` stands apart from the other
 * K quantisations: on processors those are laid out anew for matrix products, and it is not.
 */
export const WEIGHT_KINDS = ['float', 'q8', 'q4', 'k', 'k6', 'mx'] as const;
export type WeightKind = (typeof WEIGHT_KINDS)[number];

export interface WeightGroup {
  readonly bytes: number;
  readonly parameters: number;
  /** Share of the parameters by kind; the shares sum to 1. */
  readonly kinds: Readonly<Record<WeightKind, number>>;
  /** Share of them whose rows of results are whole pages of 4 KiB. */
  readonly paged: number;
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

/** Shares of the weights that every token needs, and of the experts. */
export interface WeightShares {
  readonly dense: number;
  readonly experts: number;
}

export interface ModelCost {
  /** Read whole by every step: attention, feed-forward, norms. */
  readonly dense: WeightGroup;
  /** Read as far as tokens choose them; null in a dense model. */
  readonly experts: (WeightGroup & { readonly count: number; readonly used: number }) | null;
  /** The output matrix, for the rows whose logits are wanted. */
  readonly head: WeightGroup;
  /**
   * What of the weights is the last layer's feed-forward block where it is computed for those rows
   * alone: nobody attends to what it gives (inp_out_ids in llama.cpp's src/models). 0 elsewhere.
   */
  readonly last: WeightShares;
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
  const kinds = (...classes: WeightClass[]): Kinds => kindShares(weights, classes);
  const paged = (...classes: WeightClass[]): number => pagedShare(weights, classes);
  const headClass = weights.isTied ? 'embedding' : 'output';
  const head = byClass[headClass];
  const denseBytes =
    weights.bytes - byClass.embedding.bytes - byClass.output.bytes - byClass.experts.bytes;
  const denseParameters =
    weights.parameters -
    byClass.embedding.parameters -
    byClass.output.parameters -
    byClass.experts.parameters;
  const perLayer = experts > 0 ? KERNELS_EXPERT_LAYER : KERNELS_DENSE_LAYER;
  return {
    dense: {
      bytes: denseBytes,
      parameters: denseParameters,
      kinds: kinds(...DENSE_CLASSES),
      paged: paged(...DENSE_CLASSES),
    },
    experts:
      experts === 0
        ? null
        : {
            bytes: byClass.experts.bytes,
            parameters: byClass.experts.parameters,
            kinds: kinds('experts'),
            paged: paged('experts'),
            count: experts,
            used: expertsUsed,
          },
    head: geometry.isEncoder
      ? { bytes: 0, parameters: 0, kinds: ONLY_FLOAT, paged: 0 }
      : {
          bytes: head.bytes,
          parameters: head.parameters,
          kinds: kinds(headClass),
          paged: paged(headClass),
        },
    last: hasAllRows(geometry)
      ? { dense: 0, experts: 0 }
      : {
          dense: byClass.feed_forward.parameters / layers.length / denseParameters,
          experts: 1 / layers.length,
        },
    cache: cacheGroups(geometry),
    kernels: layers.length * perLayer + KERNELS_ENDS,
    layers: layers.length,
    width,
  };
}

/** Vectors are of all rows. */
const hasAllRows = ({ arch, isEncoder }: ModelGeometry): boolean => isEncoder || ALL_ROWS.has(arch);

/**
 * Distinct experts that `tokens` are expected to touch when each chooses `used` of `count`
 * independently: E·(1 − (1 − k/E)^n). Real routing has favourites, so that it is an upper bound.
 */
export function expectedExperts(count: number, used: number, tokens: number): number {
  return count * (1 - (1 - used / count) ** tokens);
}

type Kinds = Readonly<Record<WeightKind, number>>;

/** What every step reads whole. */
const DENSE_CLASSES = ['attention', 'feed_forward', 'recurrent', 'norm', 'other'] as const;
const ONLY_FLOAT: Kinds = { float: 1, q8: 0, q4: 0, k: 0, k6: 0, mx: 0 };

/** Shares of the matrices by kind. F32 is left out: norms and routers, which are small. */
function kindShares({ typesByClass }: Weights, classes: readonly WeightClass[]): Kinds {
  const sums: Record<WeightKind, number> = { float: 0, q8: 0, q4: 0, k: 0, k6: 0, mx: 0 };
  let total = 0;
  for (const weightClass of classes) {
    for (const [type, parameters] of typesByClass[weightClass]) {
      if (type === 'F32') continue;
      sums[kindOf(type)] += parameters;
      total += parameters;
    }
  }
  if (total === 0) return ONLY_FLOAT;
  for (const kind of WEIGHT_KINDS) sums[kind] /= total;
  return sums;
}

function pagedShare({ byClass }: Weights, classes: readonly WeightClass[]): number {
  const sum = (of: keyof WeightSum): number =>
    classes.reduce((total, name) => total + byClass[name][of], 0);
  const parameters = sum('parameters');
  return parameters === 0 ? 0 : sum('pagedParameters') / parameters;
}

function kindOf(type: string): WeightKind {
  if (type === 'F16' || type === 'BF16') return 'float';
  if (type === 'Q8_0' || type === 'MLX8') return 'q8';
  if (type === 'MXFP4' || type === 'NVFP4') return 'mx';
  if (type === 'Q6_K') return 'k6';
  return /_K$|^IQ|^TQ/.test(type) ? 'k' : 'q4';
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
