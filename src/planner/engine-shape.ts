/**
 * How the engine lays out what it computes with, by device and settings: cache, attention, tokens
 * and rows of one pass. The engine makes its contexts by these rules and the byte arithmetic
 * counts by them, so that they cannot disagree. Pure.
 */
import type { CacheType } from '../model/geometry-cache.ts';

export type EngineDevice = 'processor' | 'gpu';

export interface CacheWish {
  readonly device: EngineDevice;
  /** Left out: auto. */
  readonly kvLayout?: 'auto' | 'unified' | 'split' | undefined;
  /** Left out: auto. */
  readonly flashAttention?: 'auto' | 'on' | 'off' | undefined;
  readonly cacheType: CacheType;
  readonly contextTokens: number;
  readonly parallel: number;
  /** KV cells in all. */
  readonly cells: number;
}

export interface CacheShape {
  readonly layout: 'unified' | 'split';
  readonly flash: 'auto' | 'on' | 'off';
}

/** Plain attention passes over a cache in blocks of so many cells (llama_kv_cache::get_n_kv). */
export const BLOCK_CELLS = 256;

/**
 * Tokens that are computed at once: llama.cpp's default with flash attention. Without it the scores
 * of all of them against all cells are kept (heads × tokens × cells × 4 bytes), and computing 128
 * at once reads a prompt of 1,500 tokens as fast as 512 do.
 */
const UBATCH_TOKENS = { flash: 512, plain: 128 } as const;
/**
 * Rows of logits that one decode may give. The compute buffer has a row of the vocabulary for each
 * and the output buffer another (512 rows: 2 × 96 MiB with 49,152 tokens); scoring a prompt takes
 * several decodes instead.
 */
const OUTPUTS_MIN = 64;
/**
 * Every token of a batch is masked against every other, also those of other inputs. Processor time
 * per 1,000 tokens of a 22M model on one core, inputs of 64 tokens: 624 ms one by one, 564 in
 * batches of 256, 591 of 512, 665 of 1,024, 772 of 2,048; inputs of 256: 598 one by one, 614 by
 * two.
 */
const PROCESSOR_BATCH_TOKENS = 256;

/**
 * Up to so long a context the flash kernel stays on a processor. Plain attention is slower for a
 * sequence of few cells, since a block of 256 costs as much as a full one, and faster beyond about
 * 500: a sequence is taken to be a quarter as long as its context on average. Time of a step with
 * flash over plain (135M, one thread), AVX2: 8 streams 0.89 at 130 cells, 0.95 at 300, 1.19 at 700;
 * one stream 0.94 at 130, 1.01 at 300, 1.17 at 450, 1.6 at 1,500. AVX-512: 8 streams 0.88 at 190,
 * 1.04 at 580, 1.17 at 1,500; one stream 0.92 at 190, 1.13 at 1,500, 1.57 at 4,000.
 */
const FLASH_CONTEXT_MAX = 2048;

/**
 * How the cache is kept where the settings leave it open. One buffer for all sequences shares a
 * prefix without copying it, and a GPU's kernels skip the cells of others in blocks. A CPU's pass
 * over each; there every sequence has a buffer of its own if there are cells for it, and attention
 * by plain matrix products, which decodes long sequences faster than the flash kernel: that goes
 * cell by cell for fewer than 64 tokens, but skips what is not used of a block, which decides for
 * short contexts.
 */
export function cacheShape(wish: CacheWish): CacheShape {
  const { device, contextTokens, kvLayout = 'auto', flashAttention: flash = 'auto' } = wish;
  const onGpu = device === 'gpu';
  const hasRoom = wish.cells >= contextTokens * wish.parallel;
  const layout = kvLayout !== 'auto' ? kvLayout : onGpu || !hasRoom ? 'unified' : 'split';
  const isLong = contextTokens > FLASH_CONTEXT_MAX;
  // Values of a quantised cache are read by the flash kernel alone.
  const isPlain = layout === 'split' && !onGpu && isLong && wish.cacheType === 'f16';
  return { layout, flash: flash === 'auto' && isPlain ? 'off' : flash };
}

/** Tokens of one pass over the weights (n_ubatch), of steps of at most `stepTokensMax`. */
export function passTokens({ flash }: CacheShape, stepTokensMax: number): number {
  return Math.min(flash === 'off' ? UBATCH_TOKENS.plain : UBATCH_TOKENS.flash, stepTokensMax);
}

/** Rows of logits that one decode may give (n_outputs_max). */
export function outputRows(parallel: number, stepTokensMax: number): number {
  return Math.max(parallel, Math.min(OUTPUTS_MIN, stepTokensMax));
}

/** Tokens of several inputs that are computed together, of at most `batchTokensMax`. */
export function encodeBatchTokens(device: EngineDevice, batchTokensMax: number): number {
  return device === 'gpu' ? batchTokensMax : Math.min(batchTokensMax, PROCESSOR_BATCH_TOKENS);
}
