/** How many bytes of KV cache a model needs per token. Arithmetic on its geometry. */
import { PlenumError } from '../base/errors.ts';
import type { ModelGeometry } from './geometry.ts';
import { type GgmlType, ggmlBytes, ggmlTypeByName } from './gguf-types.ts';

/** The types that the engine can keep a cache in. */
export const CACHE_TYPES = [
  'f32',
  'f16',
  'bf16',
  'q8_0',
  'q5_1',
  'q5_0',
  'q4_1',
  'q4_0',
  'iq4_nl',
] as const;
export type CacheType = (typeof CACHE_TYPES)[number];

/** Bytes of one number of a cache, its share of a block's scale included: f16 2, q8_0 34/32. */
export function cacheElementBytes(type: CacheType): number {
  return vectorBytes(type, WHOLE_BLOCKS) / WHOLE_BLOCKS;
}

/** Numbers that are whole blocks of every type. */
const WHOLE_BLOCKS = 256;

export interface CacheTypes {
  readonly key: CacheType;
  readonly value: CacheType;
}

export interface CacheBytes {
  /** Of the layers that see everything: grows with each token. */
  readonly perToken: number;
  /** Of the windowed layers: grows with each token up to the window. */
  readonly perWindowedToken: number;
  /** The window; 0 when there is none. */
  readonly windowTokens: number;
}

const F16: CacheTypes = { key: 'f16', value: 'f16' };

/**
 * Bytes of the cells of one token. Throws PlenumError `model_unsupported` when a layer's vectors
 * are not whole blocks of the type.
 */
export function cacheBytes(geometry: ModelGeometry, types: CacheTypes = F16): CacheBytes {
  const sum = { perToken: 0, perWindowedToken: 0, windowTokens: 0 };
  for (const { keyElements, valueElements, windowTokens } of geometry.layers) {
    const bytes = vectorBytes(types.key, keyElements) + vectorBytes(types.value, valueElements);
    if (windowTokens === null) sum.perToken += bytes;
    else sum.perWindowedToken += bytes;
    if (windowTokens !== null) sum.windowTokens = Math.max(sum.windowTokens, windowTokens);
  }
  return sum;
}

function vectorBytes(cacheType: CacheType, elements: number): number {
  const type: GgmlType | undefined = ggmlTypeByName(cacheType.toUpperCase());
  if (type === undefined || elements % type.blockSize !== 0) {
    const why = `they are not whole blocks of ${type?.blockSize ?? 0} numbers`;
    const message = `A KV cache of type ${cacheType} cannot hold vectors of ${elements}: ${why}`;
    throw new PlenumError('model_unsupported', message);
  }
  return ggmlBytes(type, elements);
}
