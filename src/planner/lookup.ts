/** Finds entries of the catalogue by name, and says which names are near when there is none. */
import { PlenumError } from '../base/errors.ts';
import { editDistance } from '../base/nearest.ts';
import type { Catalogue, CatalogueMachine, CatalogueModel } from '../model/catalogue-types.ts';

const NEAR_SHOWN = 3;

/** Throws `usage` with the nearest machines. */
export function findMachine(catalogue: Catalogue, id: string): CatalogueMachine {
  return find(catalogue.machines, id, 'machine', 'usage');
}

/** Throws `model_not_found` with the nearest models. */
export function findModel(catalogue: Catalogue, id: string): CatalogueModel {
  return find(catalogue.models, id, 'model', 'model_not_found');
}

function find<T extends { readonly id: string }>(
  entries: readonly T[],
  id: string,
  what: string,
  code: 'usage' | 'model_not_found',
): T {
  const wanted = id.toLowerCase();
  const found = entries.find((entry) => entry.id === wanted);
  if (found !== undefined) return found;
  const near = nearestIds(entries, wanted);
  throw new PlenumError(
    code,
    `The catalogue has no ${what} '${id}'; the nearest are ${near.join(', ')}`,
    { details: { nearest: near } },
  );
}

/** Names that contain the words first, then by edit distance. */
function nearestIds(entries: readonly { readonly id: string }[], wanted: string): string[] {
  const words = wanted.split(/[^a-z0-9.]+/).filter((word) => word !== '');
  const rank = (id: string): number =>
    editDistance(wanted, id) - 4 * words.filter((word) => id.includes(word)).length;
  return entries
    .map(({ id }) => id)
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b))
    .slice(0, NEAR_SHOWN);
}
