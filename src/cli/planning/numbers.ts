/** Reads the numbers of the planning commands' flags. Refuses what is no such number. */
import { PlenumError } from '../../base/errors.ts';
import { CACHE_TYPES, type CacheType } from '../../model/geometry-cache.ts';

/** Above it sums of bytes would not be exact any more. */
const WHOLE_MAX = 1e9;

/** A whole number from 1; undefined when the flag is absent. */
export function wholeFlag(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= WHOLE_MAX) return value;
  throw new PlenumError(
    'usage',
    `${flag} takes a whole number from 1 to ${WHOLE_MAX}, not '${text}'`,
  );
}

/** A number within bounds, `least` itself excluded where `above` is set. */
export function numberFlag(
  flag: string,
  text: string | undefined,
  bounds: { readonly least: number; readonly most: number; readonly isAbove?: true },
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  const { least, most } = bounds;
  const enough = bounds.isAbove === true ? value > least : value >= least;
  if (enough && value <= most) return value;
  const from = bounds.isAbove === true ? `above ${least}` : `from ${least}`;
  throw new PlenumError('usage', `${flag} takes a number ${from} to ${most}, not '${text}'`);
}

export function cacheTypeFlag(text: string | undefined): CacheType | undefined {
  if (text === undefined) return undefined;
  const found = CACHE_TYPES.find((name) => name === text.toLowerCase());
  if (found !== undefined) return found;
  throw new PlenumError(
    'usage',
    `--cache-type takes one of ${CACHE_TYPES.join(', ')}, not '${text}'`,
  );
}
