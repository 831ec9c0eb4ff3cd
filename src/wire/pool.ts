/** The pool as others see it: who holds which bytes, and why a model may or may not come in. */
import type { ErrorRecord } from '../base/errors.ts';

export const MODEL_CLASSES = ['chat', 'embed', 'rerank', 'guard'] as const;
/** What a model is for. Memory and time are reserved by class. */
export type ModelClass = (typeof MODEL_CLASSES)[number];

/** One line of what a model needs, with where the figure comes from. */
export interface ByteItem {
  /** `weights`, `KV cache`, `compute buffers`, `host process`, … */
  readonly name: string;
  readonly bytes: number;
  readonly source: string;
}

/** How the system's count of a host shows its prediction wrong by more than 5 %. */
export type Misprediction = 'above' | 'below';

export type ResidencyState = 'unloaded' | 'loading' | 'resident' | 'unloading';

/** The engine's own account of a load that was only simulated. */
export interface SimulatedAllocation {
  /** Whether a GPU computes, or the processor. */
  readonly onGpu: boolean;
  /** Weights copied into the processor's own layout, beside the file; null = not known. */
  readonly repackedBytes: number | null;
  /** KV cache and recurrent states; null = not known. */
  readonly cacheBytes: number | null;
  /** The graph's buffers, without the rows that are given out. */
  readonly computeBytes: number;
}

export type WeighReply =
  | { readonly kind: 'weighed'; readonly allocation: SimulatedAllocation }
  | { readonly kind: 'failed'; readonly error: ErrorRecord };

/** One model of the pool at a moment. */
export interface PoolModel {
  readonly id: string;
  readonly class: ModelClass;
  readonly state: ResidencyState;
  /** What the host is doing while the model is resident or loading, and why it does not answer. */
  readonly reason: string | null;
  readonly pinned: boolean;
  readonly preload: boolean;
  readonly priority: number;
  /** null = it stays until its room is needed. */
  readonly ttlMs: number | null;
  readonly items: readonly ByteItem[];
  /** The sum of the items. */
  readonly neededBytes: number;
  /** Of the ledger: neededBytes from the beginning of loading until the bytes are back, else 0. */
  readonly reservedBytes: number;
  /** What the system counted for the host last; null = no host, or not looked yet. */
  readonly measuredBytes: number | null;
  /** What the count was last found to be, of what was predicted; null = not known to be wrong. */
  readonly mispredicted: Misprediction | null;
  readonly pid: number | null;
  /** Requests that use it now, and those that wait until it is loaded. */
  readonly inUse: number;
  readonly waiting: number;
  /** Requests that its own queue holds, and that are being computed; null without a report. */
  readonly queued: number | null;
  readonly running: number | null;
  readonly tokensPerSecond: number;
  readonly idleMs: number;
  readonly loads: number;
  readonly restarts: number;
}

export interface PoolView {
  readonly availableBytes: number;
  /** How availableBytes was come by. */
  readonly availableSource: string;
  readonly reservedBytes: number;
  /** Of all hosts that have been looked at. */
  readonly measuredBytes: number;
  /** Why nothing is loaded at the moment; null = it is. */
  readonly pausedBy: string | null;
  readonly floors: Readonly<Record<ModelClass, number>>;
  readonly models: readonly PoolModel[];
}
