/** What a claim of the article is, and what it takes to check one. Types only. */
import type { Catalogue } from '../model/catalogue-types.ts';
import type { CsvRow } from '../model/csv.ts';
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
