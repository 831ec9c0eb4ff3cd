/**
 * The claims of an article that this program grew from, each computed from the catalogue and the
 * planner: verdict and arithmetic. Pure; `docs/claims.md` is made from it. The article's own
 * inputs are constants here, what is said of them is not.
 */
import type { Claim, ClaimsInput } from './claim.ts';
import { costClaims } from './claims-cost.ts';
import { memoryClaims } from './claims-memory.ts';
import { speedClaims } from './claims-speed.ts';

/** Every claim, in the order of the article. */
export function checkClaims(input: ClaimsInput): readonly Claim[] {
  return [...speedClaims(input), ...costClaims(input), ...memoryClaims(input)].sort((a, b) =>
    a.id.localeCompare(b.id, 'en'),
  );
}
