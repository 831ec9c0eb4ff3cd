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
