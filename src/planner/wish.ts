/**
 * What is asked of models together, the bytes that follow from it, and which smaller wishes would
 * fit where these do not: a shorter context, fewer sequences, a smaller cache, fewer bits. Pure.
 */
import type { CatalogueModel } from '../model/catalogue-types.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import type { CacheType } from '../model/geometry-cache.ts';
import { geometryOfModel } from './architecture.ts';
import type { EngineDevice } from './engine-shape.ts';
import { type MemoryNeed, memoryNeed } from './memory.ts';

/** A model as somebody named it. */
export interface WishedModel {
  readonly reference: string;
  readonly geometry: ModelGeometry;
  /** Where it is of the catalogue; null for a file. */
  readonly entry: { readonly model: CatalogueModel; readonly quant: string } | null;
}

export interface ModelWish {
  readonly named: WishedModel;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly cacheType: CacheType;
  /** What computes. Left out: a GPU. */
  readonly device?: EngineDevice;
  /**
   * A second copy of the weights, where the engine has said that it makes one. Kept as it is where
   * fewer bits are proposed, whose copy would be smaller.
   */
  readonly repackedBytes?: number;
}

export function needOf({ named, device = 'gpu', ...wish }: ModelWish): MemoryNeed {
  const { contextTokens, parallel, cacheType, repackedBytes } = wish;
  const shape = { contextTokens, parallel, cacheType, device };
  const copy = repackedBytes === undefined ? {} : { repackedBytes };
  return memoryNeed({ geometry: named.geometry, ...shape, ...copy });
}

export interface SmallerOptions {
  /** Whether this would do, one need for each wish. */
  readonly fits: (needs: readonly MemoryNeed[]) => boolean;
  readonly needOf?: (wish: ModelWish) => MemoryNeed;
  readonly contextLeast?: number | undefined;
  /** How a change is made, in brackets behind it: `--context 4096`. */
  readonly contextHow?: (tokens: number) => string;
}

const CONTEXT_LEAST = 512;
/** In falling order of size; below Q3_K_M models lose too much to be proposed. */
const LADDER = ['Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_K_S', 'Q3_K_M'];

/** Of each kind the smallest change after which `fits` holds, in words. */
export function smallerWishes(
  wanted: readonly ModelWish[],
  options: SmallerOptions,
): readonly string[] {
  const need = options.needOf ?? needOf;
  const holds = (wish: readonly ModelWish[]): boolean =>
    wish.length > 0 && options.fits(wish.map(need));
  const how = options.contextHow ?? ((tokens) => `context: ${tokens}`);
  const kinds = [
    contexts(wanted, options.contextLeast ?? CONTEXT_LEAST, how),
    sequences(wanted),
    caches(wanted),
    quantisations(wanted),
  ];
  return kinds.flatMap((kind) => {
    const found = kind.find(({ wish }) => holds(wish));
    return found === undefined ? [] : [found.text];
  });
}

interface Change {
  readonly text: string;
  readonly wish: readonly ModelWish[];
}

function contexts(
  wanted: readonly ModelWish[],
  least: number,
  how: (tokens: number) => string,
): Change[] {
  const longest = Math.max(...wanted.map(({ contextTokens }) => contextTokens));
  const changes: Change[] = [];
  for (let most = Math.floor(longest / 2); most >= least; most = Math.floor(most / 2)) {
    const wish = wanted.map((one) => ({
      ...one,
      contextTokens: Math.min(one.contextTokens, most),
    }));
    changes.push({ text: `a context of ${most} tokens (${how(most)})`, wish });
  }
  return changes;
}

function sequences(wanted: readonly ModelWish[]): Change[] {
  const now = Math.max(...wanted.map(({ parallel }) => parallel));
  const changes: Change[] = [];
  for (let most = Math.floor(now / 2); most >= 1; most = Math.floor(most / 2)) {
    const wish = wanted.map((one) => ({ ...one, parallel: Math.min(one.parallel, most) }));
    changes.push({ text: `${most} instead of ${now} sequences at a time`, wish });
  }
  return changes;
}

function caches(wanted: readonly ModelWish[]): Change[] {
  if (wanted.some(({ cacheType }) => !['f32', 'f16', 'bf16'].includes(cacheType))) return [];
  const isWhole = ({ named }: ModelWish): boolean =>
    named.geometry.layers.every(({ keyElements, valueElements }) => {
      return keyElements % 32 === 0 && valueElements % 32 === 0;
    });
  if (!wanted.every(isWhole)) return [];
  const wish = wanted.map((one): ModelWish => ({ ...one, cacheType: 'q8_0' }));
  return [{ text: 'a cache of 8 bits (q8_0)', wish }];
}

function quantisations(wanted: readonly ModelWish[]): Change[] {
  return wanted.flatMap((one, index) => {
    const { entry, geometry } = one.named;
    return LADDER.flatMap((quant) => {
      const smaller =
        entry === null ? requantised(geometry, quant) : geometryOfModel(entry.model, quant);
      if (smaller === null || smaller.weights.bytes >= geometry.weights.bytes) return [];
      const changed = { ...one, named: { ...one.named, geometry: smaller } };
      const name = entry === null ? one.named.reference : entry.model.id;
      const now = entry === null ? geometry.quantisation : entry.quant;
      return [{ text: `${name} as ${quant} instead of ${now}`, wish: wanted.with(index, changed) }];
    });
  });
}

/** Bits per weight of Llama 3.1 8B's files: llama.cpp, tools/quantize/README.md. */
const BITS: Readonly<Record<string, number>> = {
  Q8_0: 8.5,
  Q6_K: 6.56,
  Q5_K_M: 5.7,
  Q4_K_M: 4.89,
  Q4_K_S: 4.67,
  Q3_K_M: 4.0,
};

/** Less of a change is not worth another download. */
const RATIO_MAX = 0.97;

/** A file's geometry with other weights, by the bits of a typical file; null where unknown. */
function requantised(geometry: ModelGeometry, quant: string): ModelGeometry | null {
  const bits = BITS[quant];
  const { weights } = geometry;
  if (bits === undefined || geometry.isEncoder || weights.parameters === 0) return null;
  const ratio = (weights.parameters * bits) / 8 / weights.bytes;
  // The same by another name is no change.
  if (quant === geometry.quantisation || ratio >= RATIO_MAX) return null;
  const { embedding } = weights.byClass;
  const byClass = {
    ...weights.byClass,
    embedding: { ...embedding, bytes: Math.round(embedding.bytes * ratio) },
  };
  const bytes = Math.round(weights.bytes * ratio);
  return { ...geometry, quantisation: quant, weights: { ...weights, bytes, byClass } };
}
