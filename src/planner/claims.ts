/**
 * The claims of an article that this program grew from, each computed from the catalogue and the
 * planner: verdict and arithmetic. Pure; `docs/claims.md` is made from it. The article's own
 * inputs are constants here, what is said of them is not.
 */
import type { Catalogue } from '../model/catalogue-types.ts';
import type { CsvRow } from '../model/csv.ts';
import { costClaims } from './claims-cost.ts';
import { memoryClaims } from './claims-memory.ts';
import { speedClaims } from './claims-speed.ts';
import type { SpeedTable } from './speed-params.ts';

export type Verdict = 'true' | 'false' | 'partly' | 'no source';

export interface Claim {
  /** `a` to `o`. */
  readonly id: string;
  readonly claim: string;
  readonly verdict: Verdict;
  /** The arithmetic, a sentence each. */
  readonly because: readonly string[];
}

export interface ClaimsInput {
  readonly catalogue: Catalogue;
  readonly table: SpeedTable;
  /** data/measurements/large-models-apple.csv. */
  readonly measured: readonly CsvRow[];
}

/** Every claim, in the order of the article. */
export function checkClaims(input: ClaimsInput): readonly Claim[] {
  return [...speedClaims(input), ...costClaims(input), ...memoryClaims(input)].sort((a, b) =>
    a.id.localeCompare(b.id, 'en'),
  );
}
