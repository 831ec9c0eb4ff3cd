/** The pool as others see it: who holds which bytes, and why a model may or may not come in. */

export const MODEL_CLASSES = ['chat', 'embed', 'rerank', 'guard'] as const;
/** What a model is for. Memory and time are reserved by class. */
export type ModelClass = (typeof MODEL_CLASSES)[number];

/** One line of what a model needs, with where the figure comes from. */
export interface ByteItem {
  /** `weights`, `kv cache`, `compute buffers`, `host process`, … */
  readonly name: string;
  readonly bytes: number;
  readonly source: string;
}

export type ResidencyState = 'unloaded' | 'loading' | 'resident' | 'unloading';

export interface PoolMember {
  readonly model: string;
  readonly class: ModelClass;
  readonly state: ResidencyState;
  readonly pinned: boolean;
  readonly priority: number;
  /** Milliseconds after its last use at which it leaves; null = never by itself. */
  readonly ttlMs: number | null;
  readonly idleMs: number;
  readonly inUse: number;
  readonly items: readonly ByteItem[];
  readonly reservedBytes: number;
  /** What the operating system says that its host holds; null while it has none. */
  readonly measuredBytes: number | null;
}

export interface PoolView {
  /** What models may use in all: the machine's memory minus the system's reserve. */
  readonly availableBytes: number;
  readonly reservedBytes: number;
  readonly floors: Readonly<Record<ModelClass, number>>;
  readonly members: readonly PoolMember[];
  /** Why no model is admitted at the moment; null when nothing is in the way. */
  readonly pausedBy: string | null;
}
