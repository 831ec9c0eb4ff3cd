/**
 * The byte arithmetic of a served model: what it needs, item by item, each with its source. The
 * planner asks it before a download and the server's admission asks it before a load, so that they
 * cannot disagree. Pure; it measures nothing.
 */
import { PlenumError } from '../base/errors.ts';
import { type Bytes, bytes } from '../base/units.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import { type CacheType, cacheBytes } from '../model/geometry-cache.ts';

export type MemoryItemName =
  | 'weights'
  | 'repacked weights'
  | 'KV cache'
  | 'windowed KV cache'
  | 'recurrent state'
  | 'compute buffers'
  | 'prefix cache'
  | 'host process';

export interface MemoryItem {
  readonly name: MemoryItemName;
  readonly bytes: Bytes;
  /** Which memory holds it; on a unified machine the two are one. */
  readonly memory: 'device' | 'host';
  /** How the number was come by, for a person. */
  readonly source: string;
}

export interface MemoryNeed {
  /** Of all items. */
  readonly neededBytes: Bytes;
  /** Of the items that a discrete device has to hold. */
  readonly deviceBytes: Bytes;
  readonly items: readonly MemoryItem[];
}

export interface MemoryAsk {
  readonly geometry: ModelGeometry;
  /** Longest sequence, prompt and output together. */
  readonly contextTokens: number;
  /** Sequences at the same time; each has its whole context. */
  readonly parallel: number;
  readonly cacheType?: CacheType;
  /**
   * Cells for prefixes that are kept beyond the sequences, in tokens. 0 where the prefix cache
   * lives in cells that no sequence uses at the moment.
   */
  readonly prefixTokens?: number;
  /** Of the cache in all, where it is not a whole context for each sequence. */
  readonly cells?: number;
  /** Most tokens that are computed at once. */
  readonly stepTokens?: number;
  /** Rows of the vocabulary that a batch may give; each token has one where vectors are given. */
  readonly outputRows?: number;
  /** Cache and recurrent state, from the engine's simulated allocation. */
  readonly cacheBytes?: number;
  /**
   * `full`: windowed layers keep every cell, so that any prefix can be shared. `window`: only
   * what they look back at.
   */
  readonly windowCache?: 'full' | 'window';
  readonly attention?: 'flash' | 'plain';
  /** Exact, from the file; otherwise the sum of the geometry's tensors. */
  readonly weightsBytes?: number;
  /** A second copy in the processor's own layout, as the engine reports it. */
  readonly repackedBytes?: number;
  /** From the engine's simulated allocation; otherwise estimated. */
  readonly computeBytes?: number;
  readonly hostBytes?: number;
}

/** Tokens that the engine computes at once (n_ubatch). */
const UBATCH_TOKENS = 512;
/** Rows of logits that the engine reserves at least (engine/llama, n_outputs_max). */
const OUTPUT_ROWS = 64;
/** The engine rounds cells up to a multiple of it (llama-kv-cache.cpp). */
const CELLS_MULTIPLE = 256;
/**
 * A host process without its model: Node 24 with libllama loaded, and beside it what the library
 * and this program keep of each token of a vocabulary. Proportional set size less weights, cache
 * and buffers, after requests (bench/bytes.ts): 59 MB with a vocabulary of 512, 67 MB with 49,152,
 * 80 MB with 151,936.
 */
const VOCABULARY_ENTRY_BYTES = 130;
export const HOST_PROCESS_BYTES = 60e6;

/** What the model needs. Throws `usage` for impossible numbers, `model_unsupported` for gaps. */
export function memoryNeed(ask: MemoryAsk): MemoryNeed {
  refuseImpossible(ask);
  const items = [
    ...weightItems(ask),
    ...(ask.cacheBytes === undefined
      ? [...cacheItems(ask), ...stateItems(ask)]
      : simulatedCache(ask, ask.cacheBytes)),
    computeItem(ask),
    hostItem(ask),
  ];
  const sum = (list: readonly MemoryItem[]): Bytes =>
    bytes(list.reduce((total, item) => total + item.bytes, 0));
  return {
    neededBytes: sum(items),
    deviceBytes: sum(items.filter(({ memory }) => memory === 'device')),
    items,
  };
}

/** Cells that the engine makes for so many sequences of such a context. */
export function cellsFor(contextTokens: number, parallel: number): number {
  return roundUp(contextTokens * parallel);
}

const cellsOf = ({ cells, contextTokens, parallel }: MemoryAsk): number =>
  cells === undefined ? cellsFor(contextTokens, parallel) : roundUp(cells);

const SIMULATED = 'the engine’s simulated allocation';

const roundUp = (cells: number): number => Math.ceil(cells / CELLS_MULTIPLE) * CELLS_MULTIPLE;

function refuseImpossible(ask: MemoryAsk): void {
  const whole = (value: number, name: string, least: number): void => {
    if (Number.isInteger(value) && value >= least) return;
    throw new PlenumError('usage', `${name} is ${value}; it must be a whole number from ${least}`);
  };
  whole(ask.contextTokens, 'context', 1);
  whole(ask.parallel, 'parallel', 1);
  whole(ask.prefixTokens ?? 0, 'prefix tokens', 0);
  whole(ask.cells ?? 1, 'cells', 1);
  whole(ask.stepTokens ?? 1, 'step tokens', 1);
  for (const [name, value] of [
    ['weights', ask.weightsBytes],
    ['repacked weights', ask.repackedBytes],
    ['compute buffers', ask.computeBytes],
    ['KV cache', ask.cacheBytes],
    ['host process', ask.hostBytes],
  ] as const) {
    if (value !== undefined && !(value >= 0 && Number.isFinite(value))) {
      throw new PlenumError('usage', `${name}: ${value} bytes is no size`);
    }
  }
}

const item = (
  name: MemoryItemName,
  size: number,
  source: string,
  memory: MemoryItem['memory'] = 'device',
): MemoryItem => ({ name, bytes: bytes(Math.round(size)), memory, source });

function weightItems({ geometry, weightsBytes, repackedBytes }: MemoryAsk): MemoryItem[] {
  const { weights } = geometry;
  const total = weightsBytes ?? weights.bytes;
  const source = weightsBytes === undefined ? `tensors of ${geometry.description}` : 'the file';
  // The table of embeddings is only looked up: it stays in system memory.
  const lookup = weights.isTied || geometry.isEncoder ? 0 : weights.byClass.embedding.bytes;
  const items = [item('weights', total - lookup, source)];
  if (lookup > 0) {
    items.push(item('weights', lookup, `${source}: token embeddings, looked up by row`, 'host'));
  }
  if (repackedBytes !== undefined && repackedBytes > 0) {
    const why = 'a second copy in the processor’s own layout, beside the file';
    items.push(item('repacked weights', repackedBytes, `${SIMULATED}: ${why}`));
  }
  return items;
}

function cacheItems(ask: MemoryAsk): MemoryItem[] {
  const { geometry, parallel, prefixTokens = 0 } = ask;
  const type = ask.cacheType ?? 'f16';
  const { perToken, perWindowedToken, windowTokens } = cacheBytes(geometry, {
    key: type,
    value: type,
  });
  const cells = cellsOf(ask);
  const isFull = (ask.windowCache ?? 'full') === 'full';
  const windowed = roundUp(Math.min(cells, windowTokens * parallel + UBATCH_TOKENS));
  const windowCells = isFull ? cells : windowed;
  const items: MemoryItem[] = [];
  if (perToken > 0) {
    const sum = `${cells} cells × ${perToken} B (${type})`;
    items.push(item('KV cache', cells * perToken, sum));
  }
  if (perWindowedToken > 0) {
    const kept = isFull ? 'all kept' : `window of ${windowTokens} × ${parallel} + a batch`;
    const sum = `${windowCells} cells × ${perWindowedToken} B (${type}), ${kept}`;
    items.push(item('windowed KV cache', windowCells * perWindowedToken, sum));
  }
  if (prefixTokens > 0) {
    const each = perToken + (isFull ? perWindowedToken : 0);
    items.push(item('prefix cache', prefixTokens * each, `${prefixTokens} cells × ${each} B`));
  }
  return items;
}

function simulatedCache(ask: MemoryAsk, size: number): MemoryItem[] {
  if (size === 0) return [];
  const what = ask.geometry.recurrence === 'all' ? 'recurrent state' : 'KV cache';
  return [item(what, size, `${SIMULATED}: ${cellsOf(ask)} cells`)];
}

function stateItems({ geometry, parallel }: MemoryAsk): MemoryItem[] {
  if (geometry.recurrence === 'none') return [];
  const each = geometry.stateBytesPerSequence;
  if (each === null) {
    const what = `the size of its recurrent state (${geometry.arch}.ssm.*)`;
    throw new PlenumError('model_unsupported', `${geometry.description} lacks ${what}`, {
      details: { missing: ['stateBytesPerSequence'] },
    });
  }
  return [item('recurrent state', each * parallel, `${parallel} sequences × ${each} B`)];
}

/**
 * The engine reserves for its largest step: the logits, the mask over all cells (F16) and the
 * residual stream (F32). Attention in separate kernels adds the scores of all heads (F32). Checked
 * against the library's own account for three architectures at three contexts: within 2.4 MB.
 */
function computeItem(ask: MemoryAsk): MemoryItem {
  if (ask.computeBytes !== undefined) {
    return item('compute buffers', ask.computeBytes, SIMULATED);
  }
  const { geometry, parallel, stepTokens = UBATCH_TOKENS } = ask;
  const cells = cellsOf(ask);
  const ownRows = geometry.isEncoder ? stepTokens : Math.max(OUTPUT_ROWS, parallel);
  const rows = ask.outputRows ?? ownRows;
  const logits = rows * geometry.vocab * 4;
  const mask = stepTokens * cells * 2;
  const stream = stepTokens * geometry.width * 4;
  const heads = Math.max(0, ...geometry.layers.map((layer) => layer.heads));
  const scores = ask.attention === 'plain' ? heads * cells * stepTokens * 4 : 0;
  const formula = `estimate: logits ${logits} + mask ${mask} + stream ${stream} B`;
  const source = scores === 0 ? formula : `${formula} + scores ${scores} B`;
  return item('compute buffers', logits + mask + stream + scores, source);
}

function hostItem({ hostBytes, geometry }: MemoryAsk): MemoryItem {
  if (hostBytes !== undefined) return item('host process', hostBytes, 'given', 'host');
  const estimate = HOST_PROCESS_BYTES + VOCABULARY_ENTRY_BYTES * geometry.vocab;
  const source = `estimate: Node, the library, a vocabulary of ${geometry.vocab}`;
  return item('host process', estimate, source, 'host');
}
