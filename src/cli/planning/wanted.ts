/**
 * What is asked of every model named: context, sequences, type of cache; the bytes that follow
 * from it; and which smaller wishes would fit where these do not.
 */
import { PlenumError } from '../../base/errors.ts';
import type { CacheType } from '../../model/geometry-cache.ts';
import { geometryOfModel } from '../../planner/architecture.ts';
import { type MemoryNeed, memoryNeed } from '../../planner/memory.ts';
import type { NamedModel } from './resolve.ts';

export interface Wanted {
  readonly named: NamedModel;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly cacheType: CacheType;
}

export interface WishFlags {
  /** For every model that was trained for as much; the others keep what they were trained for. */
  readonly contextTokens: number | undefined;
  /** Where no context is asked for: what a model gets. */
  readonly contextOf: (named: NamedModel) => number;
  readonly parallel: number;
  readonly cacheType: CacheType | undefined;
}

/** Throws `usage` for a context that no model named was trained for. */
export function wantedOf(models: readonly NamedModel[], flags: WishFlags): readonly Wanted[] {
  const { contextTokens, parallel, cacheType = 'f16' } = flags;
  const longest = Math.max(...models.map(({ geometry }) => geometry.contextTokens));
  if (contextTokens !== undefined && contextTokens > longest) {
    const trained = models.map(({ reference, geometry }) => {
      return `${reference} was trained for ${geometry.contextTokens}`;
    });
    throw new PlenumError('usage', `--context ${contextTokens} is too long: ${trained.join(', ')}`);
  }
  return models.map((named) => ({
    named,
    contextTokens:
      contextTokens === undefined
        ? flags.contextOf(named)
        : Math.min(contextTokens, named.geometry.contextTokens),
    parallel,
    cacheType,
  }));
}

export function needOf({ named, contextTokens, parallel, cacheType }: Wanted): MemoryNeed {
  return memoryNeed({ geometry: named.geometry, contextTokens, parallel, cacheType });
}

const CONTEXT_LEAST = 512;
/** In falling order of size; below Q3_K_M models lose too much to be proposed. */
const LADDER = ['Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_K_S', 'Q3_K_M'];

/** Of each kind the smallest change after which `fits` holds, in words. */
export function smallerWishes(
  wanted: readonly Wanted[],
  fits: (needs: readonly MemoryNeed[]) => boolean,
  contextLeast = CONTEXT_LEAST,
): readonly string[] {
  const holds = (wish: readonly Wanted[]): boolean => wish.length > 0 && fits(wish.map(needOf));
  const kinds = [
    contexts(wanted, contextLeast),
    sequences(wanted),
    caches(wanted),
    quantisations(wanted),
  ];
  const changes = kinds.flatMap((kind) => {
    const found = kind.find(({ wish }) => holds(wish));
    return found === undefined ? [] : [found.text];
  });
  const without = wanted.flatMap((one, index) => {
    const rest = wanted.filter((_, other) => other !== index);
    return holds(rest) ? [`without ${one.named.reference}`] : [];
  });
  return [...changes, ...without];
}

interface Change {
  readonly text: string;
  readonly wish: readonly Wanted[];
}

function contexts(wanted: readonly Wanted[], least: number): Change[] {
  const longest = Math.max(...wanted.map(({ contextTokens }) => contextTokens));
  const changes: Change[] = [];
  for (let most = Math.floor(longest / 2); most >= least; most = Math.floor(most / 2)) {
    const wish = wanted.map((one) => ({
      ...one,
      contextTokens: Math.min(one.contextTokens, most),
    }));
    changes.push({ text: `a context of ${most} tokens (--context ${most})`, wish });
  }
  return changes;
}

function sequences(wanted: readonly Wanted[]): Change[] {
  const now = Math.max(...wanted.map(({ parallel }) => parallel));
  const changes: Change[] = [];
  for (let most = Math.floor(now / 2); most >= 1; most = Math.floor(most / 2)) {
    const wish = wanted.map((one) => ({ ...one, parallel: Math.min(one.parallel, most) }));
    changes.push({ text: `${most} instead of ${now} sequences at a time`, wish });
  }
  return changes;
}

function caches(wanted: readonly Wanted[]): Change[] {
  if (wanted.some(({ cacheType }) => !['f32', 'f16', 'bf16'].includes(cacheType))) return [];
  const isWhole = ({ named }: Wanted): boolean =>
    named.geometry.layers.every(({ keyElements, valueElements }) => {
      return keyElements % 32 === 0 && valueElements % 32 === 0;
    });
  if (!wanted.every(isWhole)) return [];
  const wish = wanted.map((one): Wanted => ({ ...one, cacheType: 'q8_0' }));
  return [{ text: 'a cache of 8 bits (q8_0)', wish }];
}

function quantisations(wanted: readonly Wanted[]): Change[] {
  return wanted.flatMap((one, index) => {
    const { entry, geometry } = one.named;
    if (entry === null) return [];
    return LADDER.flatMap((quant) => {
      const smaller = geometryOfModel(entry.model, quant);
      if (smaller.weights.bytes >= geometry.weights.bytes) return [];
      const changed = { ...one, named: { ...one.named, geometry: smaller } };
      const text = `${entry.model.id} as ${quant} instead of ${entry.quant}`;
      return [{ text, wish: wanted.with(index, changed) }];
    });
  });
}
