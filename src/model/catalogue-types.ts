/**
 * The shapes of the catalogue: machines, models, prices and published measurements, each figure
 * with where it comes from and when it was read. Types only; an unknown figure is null.
 */

/**
 * `published` and `measured` by its source, `derived` by a stated rule, `unverified`: nobody has
 * checked it against a source.
 */
export type FigureStatus = 'published' | 'measured' | 'derived' | 'unverified';

export interface Figure {
  readonly value: number;
  readonly unit: string;
  /** Id of a row of data/sources.csv. */
  readonly source: string;
  /** Day on which it was read from its source (ISO 8601). */
  readonly asOf: string;
  readonly status: FigureStatus;
  readonly note: string;
}

export interface CatalogueMachine {
  readonly id: string;
  readonly vendor: string;
  readonly name: string;
  readonly kind: 'unified' | 'discrete';
  /** Which fitted parameters describe it (data/speed-params.json): `metal-m4`, `cuda-ada`. */
  readonly family: string;
  /** Dies that one package joins; an Ultra is two. */
  readonly dies: number;
  /** Peak, in 1e9 bytes per second. */
  readonly bandwidth: Figure | null;
  readonly gpuCores: Figure | null;
  /** Dense FP16 rate of the matrix units, in 1e12 operations per second. */
  readonly matrixTflops: Figure | null;
  /** FP32 rate of the ordinary units. */
  readonly vectorTflops: Figure | null;
  /** Sizes that it is sold with, in GiB, smallest first. */
  readonly memory: readonly Figure[];
  /** Between host and device, one way, in 1e9 bytes per second. */
  readonly pcie: Figure | null;
  /** What the board may draw: what sustained matrix work is limited by. */
  readonly boardWatts: Figure | null;
  /** Of the whole machine at the wall. */
  readonly loadWatts: Figure | null;
  readonly idleWatts: Figure | null;
  readonly priceUsd: Figure | null;
}

export interface CatalogueModel {
  readonly id: string;
  readonly arch: string;
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Hidden width of a feed-forward block; of one expert where there are experts. */
  readonly ff: number;
  readonly vocab: number;
  readonly contextTokens: number;
  readonly isTied: boolean;
  /** 0 in a dense model. */
  readonly experts: number;
  readonly expertsUsed: number;
  /** Null where every layer attends to everything. */
  readonly windowTokens: number | null;
  /** Of so many layers one attends to everything; 0 without a window. */
  readonly windowPeriod: number;
  /** The published count, for a check of the geometry. */
  readonly parameters: number;
  readonly source: string;
  readonly asOf: string;
}

export interface CataloguePrice extends Figure {
  readonly item: string;
  readonly kind: 'rental' | 'hosted' | 'power' | 'system-memory';
  readonly figure: string;
}

export interface CatalogueSource {
  readonly id: string;
  readonly where: string;
  readonly asOf: string;
}

export interface Catalogue {
  readonly machines: readonly CatalogueMachine[];
  readonly models: readonly CatalogueModel[];
  readonly prices: readonly CataloguePrice[];
  readonly sources: readonly CatalogueSource[];
}
