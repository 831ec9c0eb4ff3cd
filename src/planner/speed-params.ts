/**
 * The fitted parameters of the speed model: one set per machine family, each a share of what the
 * machine's figures promise, so that a machine that was never measured is predicted by its family.
 * The values are data/speed-params.json, written by tools/fit-speed.ts. Types and look-up only.
 */
import { PlenumError } from '../base/errors.ts';
import type { WeightKind } from './model-cost.ts';

export interface AttentionParams {
  /** Of peak bandwidth, when reading the KV cache. */
  readonly cacheShare: number;
  /** Of the sustained matrix rate, in attention. */
  readonly attentionShare: number;
  /**
   * Of the vector rate, in attention of steps below TILE_TOKENS, where those are computed row by
   * row; left out where the cache's bandwidth is all that they cost.
   */
  readonly rowShare?: number;
  /**
   * Where each sequence has a cache of its own and attention is plain matrix products: every token
   * passes over whole blocks of so many cells of its sequence, beyond a window and masked ones too,
   * and it is tiles from two tokens of a sequence on. Left out where kernels skip what is masked.
   */
  readonly blockCells?: number | undefined;
  /** Kernels per layer beyond the one of fused attention. */
  readonly extraKernels: number;
}

export interface SpeedParams {
  /** Of peak bandwidth, when reading weights. */
  readonly bandwidthShare: number;
  /** Of that share, by kind of weights, where their kernels were measured one by one. */
  readonly readShare?: Readonly<Record<WeightKind, number>>;
  /** What a second die adds to bandwidth, relative to the first. */
  readonly secondDieShare: number;
  /** Of the FP32 rate, in kernels for one row. */
  readonly vectorShare: Readonly<Record<WeightKind, number>>;
  /** Of the sustained matrix rate, in kernels for many rows. */
  readonly matrixShare: Readonly<Record<WeightKind, number>>;
  /**
   * Sustained matrix operations per joule of board power, where power is what limits them; null
   * where the peak does.
   */
  readonly opsPerJoule: number | null;
  /** Of the FP16 matrix peak, at most sustained where power is no limit. */
  readonly peakOpsShare: number;
  /** Rates of one GPU core, for a generation whose makers publish none; null where they do. */
  readonly ratesPerCore: { readonly matrix: number; readonly vector: number } | null;
  /** Fused attention (flash) or separate kernels (plain). */
  readonly attention: Readonly<Record<AttentionKind, AttentionParams>>;
  /** Exponent that softens the knee between two terms. */
  readonly softness: number;
  /**
   * One row takes a vector kernel and more a matrix kernel, even where that is slower: processors
   * lay quantised weights out for tiles. Left out or false where the faster of the two is taken.
   */
  readonly oneRowKernels?: boolean;
  /** Rows by which the last tile of a matrix kernel is idle. */
  readonly tilePadding: number;
  /** The same by kind, where each kind's kernel has tiles of its own. */
  readonly paddingByKind?: Readonly<Record<WeightKind, number>>;
  /**
   * How many times as long tiles take where rows of the result are whole pages of 4 KiB: all of a
   * tile's rows then share one set of the cache. 1 where it is left out.
   */
  readonly pagedFactor?: number;
  /**
   * Of the sustained matrix rate, in matrices of experts whose rows are computed one by one, as
   * processors do; left out where experts run like other matrices.
   */
  readonly expertShare?: Readonly<Record<WeightKind, number>>;
  /** Rows that an expert's first one costs beyond itself: it finds no weights in the cache. */
  readonly expertPadding?: number;
  readonly kernelMicros: number;
  /** Of a layer with experts, beside its kernels: to sort which rows go to which. 0 if left out. */
  readonly routingMicros?: number;
  /**
   * What a token costs beside multiplying: sums, norms, activations, stores, for each number that
   * a matrix gives out or takes in. Left out where other work hides it.
   */
  readonly elementNanos?: number;
  /** Tokens that are computed at once, where a step of more passes over the weights again. */
  readonly ubatchTokens?: number;
}

export type AttentionKind = 'flash' | 'plain';

export interface FamilyParams extends SpeedParams {
  /** Root mean square of the relative residuals of the fit, in percent; see docs/speed-fit.md. */
  readonly errorPct: { readonly decode: number; readonly prefill: number };
  /** Rows of the family that the fit used, for its own trustworthiness. */
  readonly rows: { readonly decode: number; readonly prefill: number };
}

/** By family: `metal-m4`, `cuda-ada`, `mlx`, `cpu`. */
export type SpeedTable = Readonly<Record<string, FamilyParams>>;

/** Throws `usage` that lists the known families. */
export function familyParams(table: SpeedTable, family: string): FamilyParams {
  const params = table[family];
  if (params !== undefined) return params;
  const known = Object.keys(table).join(', ');
  throw new PlenumError('usage', `No fitted speed for the family '${family}'; known: ${known}`);
}
