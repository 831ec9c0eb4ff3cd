/**
 * What is asked of every model named on the command line: context, sequences, type of cache; and
 * which smaller wishes would fit, in the command line's words.
 */
import { PlenumError } from '../../base/errors.ts';
import type { CacheType } from '../../model/geometry-cache.ts';
import type { EngineDevice } from '../../planner/engine-shape.ts';
import type { MemoryNeed } from '../../planner/memory.ts';
import { smallerWishes as changedWishes, type ModelWish, needOf } from '../../planner/wish.ts';
import type { SimulatedAllocation } from '../../wire/pool.ts';
import type { NamedModel } from './resolve.ts';

export interface Wanted extends ModelWish {
  readonly named: NamedModel;
  /** The engine's own account of it, on this machine. */
  readonly allocation?: SimulatedAllocation;
}

export interface WishFlags {
  /** For every model that was trained for as much; the others keep what they were trained for. */
  readonly contextTokens: number | undefined;
  /** Where no context is asked for: what a model gets. */
  readonly contextOf: (named: NamedModel) => number;
  readonly parallel: number;
  readonly cacheType: CacheType | undefined;
  readonly device?: EngineDevice;
}

/** Throws `usage` for a context that no model named was trained for. */
export function wantedOf(models: readonly NamedModel[], flags: WishFlags): readonly Wanted[] {
  const { contextTokens, parallel, cacheType = 'f16', device = 'gpu' } = flags;
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
    device,
  }));
}

/** Of each kind the smallest change after which `fits` holds, and whom to leave out. */
export function smallerWishes(
  wanted: readonly Wanted[],
  fits: (needs: readonly MemoryNeed[]) => boolean,
  contextLeast?: number,
): readonly string[] {
  const contextHow = (tokens: number): string => `--context ${tokens}`;
  const changes = changedWishes(wanted, { fits, contextLeast, contextHow });
  const without = wanted.flatMap((one, index) => {
    const rest = wanted.filter((_, other) => other !== index);
    return rest.length > 0 && fits(rest.map(needOf)) ? [`without ${one.named.reference}`] : [];
  });
  return [...changes, ...without];
}
