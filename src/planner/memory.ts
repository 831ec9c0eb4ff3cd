/**
 * The byte arithmetic of a served model: what it needs, item by item, each with its source. The
 * planner asks it before a download and the server's admission asks it before a load, so that they
 * cannot disagree. Pure; it measures nothing.
 */
import { PlenumError } from '../base/errors.ts';
import { type Bytes, bytes } from '../base/units.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import { type CacheType, cacheBytes } from '../model/geometry-cache.ts';
import { graphBytes, type Pass, rowBytes, scratchBytes } from './buffers.ts';
import {
  type CacheShape,
  cacheShape,
  type EngineDevice,
  encodeBatchTokens,
  outputRows,
  passTokens,
} from './engine-shape.ts';
import { hostProcess } from './host-process.ts';

export type MemoryItemName =
  | 'weights'
  | 'repacked weights'
  | 'KV cache'
  | 'windowed KV cache'
  | 'recurrent state'
  | 'compute buffers'
  | 'output rows'
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
  /** What computes; the engine keeps its cache by it. Left out: a GPU. */
  readonly device?: EngineDevice;
  readonly kvLayout?: 'auto' | 'unified' | 'split';
  /** Most tokens of one step. */
  readonly stepTokens?: number;
  /**
   * Of a model that gives vectors: most tokens of a batch of several inputs. Each gives a row; one
   * input alone may have the whole context.
   */
  readonly batchTokens?: number;
  /** Cache and recurrent state, from the engine's simulated allocation. */
  readonly cacheBytes?: number;
  /**
   * `full`: windowed layers keep every cell, so that any prefix can be shared. `window`: only
   * what they look back at.
   */
  readonly windowCache?: 'full' | 'window';
  /** Left out: as the engine chooses. */
  readonly attention?: 'flash' | 'plain';
  /** Exact, from the file; otherwise the sum of the geometry's tensors. */
  readonly weightsBytes?: number;
  /** A second copy in the processor's own layout, as the engine reports it. */
  readonly repackedBytes?: number;
  /** The graph's buffer, from the engine's simulated allocation; otherwise by its rules. */
  readonly computeBytes?: number;
  readonly hostBytes?: number;
}

/** Most tokens of a step where nothing else is said (config: step_tokens_max). */
export const STEP_TOKENS = 512;
/** The engine rounds cells up to a multiple of it (llama-context.cpp, n_ctx and n_ctx_seq). */
const CELLS_MULTIPLE = 256;

/** What the model needs. Throws `usage` for impossible numbers, `model_unsupported` for gaps. */
export function memoryNeed(ask: MemoryAsk): MemoryNeed {
  refuseImpossible(ask);
  const items = [
    ...weightItems(ask),
    ...(ask.cacheBytes === undefined
      ? [...cacheItems(ask), ...stateItems(ask)]
      : simulatedCache(ask, ask.cacheBytes)),
    ...bufferItems(ask),
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

const roundUp = (cells: number): number => Math.ceil(cells / CELLS_MULTIPLE) * CELLS_MULTIPLE;

/** Cells that the engine makes for so many sequences of such a context, in one cache. */
export function cellsFor(contextTokens: number, parallel: number): number {
  return roundUp(contextTokens * parallel);
}

interface Shape extends CacheShape {
  /** Of the cache in all, as the engine rounds them. */
  readonly cells: number;
  /** That one sequence's tokens are compared with. */
  readonly attendedCells: number;
}

function shapeOf(ask: MemoryAsk): Shape {
  const { contextTokens, parallel, attention, kvLayout, device = 'gpu', cacheType = 'f16' } = ask;
  const asked = ask.cells ?? contextTokens * parallel;
  const wish = { device, kvLayout, cacheType, contextTokens, parallel, cells: asked };
  // Inputs of any lengths lie side by side in the same cells.
  if (ask.batchTokens !== undefined) {
    const cells = roundUp(asked);
    return { layout: 'unified', flash: 'auto', cells, attendedCells: cells };
  }
  const forced = { flash: 'on', plain: 'off' } as const;
  const flashAttention = attention === undefined ? 'auto' : forced[attention];
  const shape = cacheShape({ ...wish, flashAttention });
  if (shape.layout === 'unified') {
    const cells = roundUp(asked);
    return { ...shape, cells, attendedCells: cells };
  }
  const attendedCells = roundUp(Math.floor(asked / parallel));
  return { ...shape, cells: attendedCells * parallel, attendedCells };
}

const SIMULATED = 'the engine’s simulated allocation';

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
  const { cells } = shapeOf(ask);
  const isFull = (ask.windowCache ?? 'full') === 'full';
  const windowed = roundUp(Math.min(cells, windowTokens * parallel + STEP_TOKENS));
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
  return [item(what, size, `${SIMULATED}: ${shapeOf(ask).cells} cells`)];
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

function passOf(ask: MemoryAsk): Pass {
  const { geometry, parallel, batchTokens, device = 'gpu', stepTokens = STEP_TOKENS } = ask;
  const shape = shapeOf(ask);
  const common = { device, attendedCells: shape.attendedCells, isFlash: shape.flash !== 'off' };
  if (batchTokens === undefined && !geometry.isEncoder) {
    const tokens = passTokens(shape, stepTokens);
    return { ...common, tokens, rows: outputRows(parallel, stepTokens), givesVectors: false };
  }
  // An input is computed in one piece, and each of its tokens gives a row.
  const together = encodeBatchTokens(device, batchTokens ?? stepTokens);
  const tokens = Math.max(ask.contextTokens, together);
  return { ...common, attendedCells: tokens, tokens, rows: tokens, givesVectors: true };
}

function bufferItems(ask: MemoryAsk): MemoryItem[] {
  const { geometry } = ask;
  const pass = passOf(ask);
  const graph = ask.computeBytes ?? graphBytes(geometry, pass);
  const scratch = scratchBytes(geometry, pass);
  const kind = pass.isFlash ? 'flash' : 'plain';
  const how = `${pass.tokens} tokens against ${pass.attendedCells} cells, ${kind} attention`;
  const who = ask.computeBytes === undefined ? 'the engine’s rules' : SIMULATED;
  const more = scratch === 0 ? '' : ` + ${Math.round(scratch)} B scratch of the kernels`;
  const numbers = pass.givesVectors ? geometry.vocab + geometry.width : geometry.vocab;
  const rows = `${pass.rows} rows × ${numbers} numbers (F32)`;
  return [
    item('compute buffers', graph + scratch, `${who}: ${how}${more}`),
    item('output rows', rowBytes(geometry, pass), rows, 'host'),
  ];
}

function hostItem({ hostBytes, geometry }: MemoryAsk): MemoryItem {
  if (hostBytes !== undefined) return item('host process', hostBytes, 'given', 'host');
  const { size, source } = hostProcess(geometry);
  return item('host process', size, source, 'host');
}
