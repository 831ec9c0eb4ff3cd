/**
 * The time of one step on one machine: two terms and an overhead.
 *
 *   matrices:  ( (bytes / bandwidth)^p + (operations / rate)^p )^(1/p)
 *   attention: the same two terms for the cache
 *   overhead:  kernels × time per kernel
 *
 * The rate is that of vector kernels for few rows and of matrix kernels for many, whichever is
 * faster. Every term is monotone: more bandwidth or compute is never slower, more tokens or
 * context never faster, but where attention changes to tiles. Parameters come from
 * data/speed-params.json or from a machine's own measurements. Pure.
 */
import {
  expectedExperts,
  type ModelCost,
  WEIGHT_KINDS,
  type WeightGroup,
  type WeightShares,
} from './model-cost.ts';
import type { AttentionParams, SpeedParams } from './speed-params.ts';

/** What decides how long a step takes; the scheduler's StepShape is one. */
export interface StepShape {
  /** Tokens computed in all. */
  readonly tokens: number;
  readonly sequences: number;
  /** Sum over computed tokens of the cells that each attends to. */
  readonly attended: number;
  /** Rows whose logits are wanted. */
  readonly outputs: number;
}

/** What a machine offers, whatever its family makes of it. */
export interface Device {
  readonly peakBytesPerSecond: number;
  /** The peak, less what joining dies costs; the family's share is still to come off. */
  readonly bandwidthBytesPerSecond: number;
  readonly peakOpsPerSecond: number | null;
  /** Sustained. Null where it is not known: then what needs it is not predicted. */
  readonly matrixOpsPerSecond: number | null;
  readonly vectorOpsPerSecond: number | null;
  readonly params: SpeedParams;
  readonly attention: AttentionParams;
}

export interface StepTerms {
  readonly totalMs: number;
  /** Weights over bandwidth, and cache over bandwidth, at the effective rate. */
  readonly bandwidthMs: number;
  readonly computeMs: number;
  readonly overheadMs: number;
  /** At the machine's peak figures and with no overhead: no engine can be faster. */
  readonly limitMs: number;
}

/** Bytes of a cache element; 2 for f16. */
export interface StepOptions {
  readonly cacheElementBytes: number;
}

const F16_CACHE: StepOptions = { cacheElementBytes: 2 };

/** The terms of a step of `shape`. A device without a known rate counts compute as 0. */
export function stepTerms(
  shape: StepShape,
  cost: ModelCost,
  device: Device,
  options: StepOptions = F16_CACHE,
): StepTerms {
  const { params } = device;
  const bandwidth = device.bandwidthBytesPerSecond;
  const weights = weightTerms(shape, cost, device);
  const elementsMs = elementMillis(shape, cost, device);
  const cache = cacheTerms(shape, cost, device, options);
  const weightMs = (1e3 * weights.readBytes) / (bandwidth * params.bandwidthShare);
  const cacheMs = (1e3 * cache.bytes) / (bandwidth * device.attention.cacheShare);
  const matricesMs = soften(weightMs, weights.computeMs, params.softness);
  const attentionMs = soften(cacheMs, cache.computeMs, params.softness);
  const passes = ubatchesOf(shape.tokens, params);
  const kernels = passes * (cost.kernels + cost.layers * device.attention.extraKernels);
  const routed = cost.experts === null ? 0 : passes * cost.layers;
  const overheadMs = (kernels * params.kernelMicros + routed * (params.routingMicros ?? 0)) / 1e3;
  const bestOps = device.peakOpsPerSecond ?? device.matrixOpsPerSecond ?? 0;
  const least = leastTerms(shape, cost, device, options);
  const peakOpsMs = bestOps === 0 ? 0 : (1e3 * least.ops) / bestOps;
  return {
    totalMs: matricesMs + attentionMs + elementsMs + overheadMs,
    bandwidthMs: weightMs + cacheMs,
    computeMs: weights.computeMs + cache.computeMs + elementsMs,
    overheadMs,
    limitMs: Math.max((1e3 * least.bytes) / device.peakBytesPerSecond, peakOpsMs),
  };
}

/** What any engine moves and computes: weights once, and only the cells that are attended to. */
function leastTerms(
  shape: StepShape,
  cost: ModelCost,
  device: Device,
  options: StepOptions,
): Pick<WeightTerms, 'bytes' | 'ops'> {
  const { ubatchTokens: _, ...params } = device.params;
  const { blockCells: __, ...attention } = device.attention;
  const weights = weightTerms(shape, cost, { ...device, params });
  const cache = cacheTerms(shape, cost, { ...device, attention }, options);
  return { bytes: weights.bytes + cache.bytes, ops: weights.ops + cache.ops };
}

/** (a^p + b^p)^(1/p): max(a, b) for a large p, a + b for p = 1. */
export function soften(a: number, b: number, p: number): number {
  const most = Math.max(a, b);
  if (most === 0) return 0;
  return most * ((a / most) ** p + (b / most) ** p) ** (1 / p);
}

interface WeightTerms {
  readonly bytes: number;
  /** The same, more where a kind of weights is read slower than `bandwidthShare` says. */
  readonly readBytes: number;
  readonly ops: number;
  readonly computeMs: number;
}

/** Times that a step passes over the weights; a batch that is computed in parts does it anew. */
const ubatchesOf = (tokens: number, { ubatchTokens }: SpeedParams): number =>
  ubatchTokens === undefined ? 1 : Math.max(1, Math.ceil(tokens / ubatchTokens));

function weightTerms(shape: StepShape, cost: ModelCost, device: Device): WeightTerms {
  const { tokens, outputs } = shape;
  const { head, last } = cost;
  const body = passesTerms(
    tokens,
    { dense: 1 - last.dense, experts: 1 - last.experts },
    cost,
    device,
  );
  if (outputs === 0) return body;
  const end = passesTerms(outputs, last, cost, device);
  return {
    bytes: body.bytes + end.bytes + head.bytes,
    readBytes: body.readBytes + end.readBytes + head.bytes * readFactor(head, device),
    ops: body.ops + end.ops + 2 * head.parameters * outputs,
    computeMs: body.computeMs + end.computeMs + rowsMs(head, outputs, 1, device),
  };
}

/** `shares` of the layers for `rows` rows, in as many passes as those take. */
function passesTerms(
  rows: number,
  shares: WeightShares,
  cost: ModelCost,
  device: Device,
): WeightTerms {
  const passes = ubatchesOf(rows, device.params);
  const once = passTerms(rows / passes, shares, cost, device);
  return {
    bytes: passes * once.bytes,
    readBytes: passes * once.readBytes,
    ops: passes * once.ops,
    computeMs: passes * once.computeMs,
  };
}

/** The same once. */
function passTerms(
  rows: number,
  shares: WeightShares,
  { dense, experts }: ModelCost,
  device: Device,
): WeightTerms {
  let bytes = dense.bytes * shares.dense;
  let readBytes = bytes * readFactor(dense, device);
  let ops = 2 * dense.parameters * shares.dense * rows;
  let computeMs = rowsMs(dense, rows, shares.dense, device);
  if (experts !== null) {
    const touched = expectedExperts(experts.count, experts.used, rows);
    const expertRows = touched === 0 ? 0 : (rows * experts.used) / touched;
    const share = (shares.experts * touched) / experts.count;
    bytes += experts.bytes * share;
    readBytes += experts.bytes * share * readFactor(experts, device);
    ops += 2 * experts.parameters * share * expertRows;
    computeMs += expertsMs(experts, expertRows, share, device);
  }
  return { bytes, readBytes, ops, computeMs };
}

/** How many times as long a group's bytes take as `bandwidthShare` says. */
function readFactor({ kinds }: WeightGroup, { params: { readShare } }: Device): number {
  if (readShare === undefined) return 1;
  return WEIGHT_KINDS.reduce((sum, kind) => sum + kinds[kind] / readShare[kind], 0);
}

/**
 * Milliseconds of compute for `rows` rows through `share` of a group of matrices. Vector kernels
 * take each row alone; matrix kernels work in tiles, of which the last is only partly filled.
 */
function rowsMs(group: WeightGroup, rows: number, share: number, device: Device): number {
  const { params, vectorOpsPerSecond: vector, matrixOpsPerSecond: matrix } = device;
  if (params.oneRowKernels === true && vector !== null && matrix !== null) {
    return laidOutMs(group, rows, share, { params, vector, matrix });
  }
  let perRow = 0;
  let perTile = 0;
  let perTileUnpadded = 0;
  for (const kind of WEIGHT_KINDS) {
    const part = group.kinds[kind];
    if (part === 0) continue;
    const padding = params.paddingByKind?.[kind] ?? params.tilePadding;
    perRow += part / params.vectorShare[kind];
    perTile += (part * (rows + padding)) / params.matrixShare[kind];
    perTileUnpadded += (part * rows) / params.matrixShare[kind];
  }
  const ops = 2 * group.parameters * share;
  // Without a vector rate: the matrix rate, without idle rows, which few rows would not have.
  if (vector === null) return matrix === null ? 0 : (1e3 * ops * perTileUnpadded) / matrix;
  const vectorMs = (1e3 * ops * rows * perRow) / vector;
  return matrix === null ? vectorMs : Math.min(vectorMs, (1e3 * ops * perTile) / matrix);
}

/** Lines that a set of a first-level cache holds, in processors of the last ten years: 8 or 12. */
const CACHE_WAYS = 12;

interface Rates {
  readonly params: SpeedParams;
  readonly vector: number;
  readonly matrix: number;
}

/** The same where kernels follow from the number of rows; floats, as they are, have the faster. */
function laidOutMs(group: WeightGroup, rows: number, share: number, rates: Rates): number {
  const { params, vector, matrix } = rates;
  const { pagedFactor = 1 } = params;
  const slowed = rows > CACHE_WAYS ? 1 + (pagedFactor - 1) * group.paged : 1;
  let seconds = 0;
  for (const kind of WEIGHT_KINDS) {
    const ops = 2 * group.parameters * share * group.kinds[kind];
    if (ops === 0) continue;
    const padding = params.paddingByKind?.[kind] ?? params.tilePadding;
    const oneRow = ops / (vector * params.vectorShare[kind]);
    const tiles = (slowed * ops * (rows + padding)) / (matrix * params.matrixShare[kind]);
    if (kind === 'float') seconds += Math.min(oneRow * rows, tiles);
    // More rows are never faster than one.
    else seconds += rows <= 1 ? oneRow * rows : Math.max(oneRow, tiles);
  }
  return 1e3 * seconds;
}

function expertsMs(group: WeightGroup, rows: number, share: number, device: Device): number {
  const { params, matrixOpsPerSecond: matrix } = device;
  const { expertShare, expertPadding = 0 } = params;
  if (expertShare === undefined || matrix === null) return rowsMs(group, rows, share, device);
  const perRow = WEIGHT_KINDS.reduce((sum, kind) => sum + group.kinds[kind] / expertShare[kind], 0);
  return (1e3 * 2 * group.parameters * share * (rows + expertPadding) * perRow) / matrix;
}

/**
 * Of the numbers that matrices give out, which is their parameters over the length of a row, or
 * take in where that is less: a matrix of the feed-forward block that leads back is as long.
 */
function elementMillis({ tokens, outputs }: StepShape, cost: ModelCost, device: Device): number {
  const { elementNanos } = device.params;
  if (elementNanos === undefined) return 0;
  const { dense, experts, last, width } = cost;
  const chosen = experts === null ? 0 : (experts.parameters * experts.used) / experts.count;
  const end = dense.parameters * last.dense + chosen * last.experts;
  const body = dense.parameters + chosen - end;
  return (1e-6 * elementNanos * (tokens * body + outputs * end)) / width;
}

function cacheTerms(
  shape: StepShape,
  cost: ModelCost,
  device: Device,
  { cacheElementBytes }: StepOptions,
): Omit<WeightTerms, 'readBytes'> {
  const { tokens, sequences, attended } = shape;
  if (tokens === 0) return { bytes: 0, ops: 0, computeMs: 0 };
  const { attention } = device;
  const perToken = attended / tokens;
  const isTiled = hasTiles(shape, attention);
  let bytes = 0;
  let ops = 0;
  for (const group of cost.cache) {
    const seen = Math.min(perToken, group.windowTokens ?? perToken);
    const cells = attention.blockCells === undefined ? seen : blocksOf(perToken, isTiled, device);
    // The tokens of one sequence are computed together and read its cells once.
    bytes += group.layers * group.elements * cacheElementBytes * cells * sequences;
    ops += group.layers * group.opsPerCell * cells * tokens;
  }
  return { bytes, ops, computeMs: attentionMs(ops, isTiled, device) };
}

/** Cells that a token passes over: to the end of the last block of those computed with it. */
function blocksOf(perToken: number, isTiled: boolean, { attention, params }: Device): number {
  if (perToken === 0) return 0;
  const { blockCells = 1 } = attention;
  // The last of a ubatch sees half of it more than the one in the middle.
  const beyond = isTiled ? (params.ubatchTokens ?? 0) / 2 : 0;
  return blockCells * Math.max(1, Math.ceil((perToken + beyond) / blockCells));
}

/**
 * From so many tokens on attention is computed in tiles, which is several times cheaper per cell
 * (GGML_FA_TILE_Q of ggml's CPU backend; GPUs change from a vector to a matrix kernel alike).
 */
export const TILE_TOKENS = 64;
/** Plain products take the matrix kernel from two rows of one sequence on (llamafile_sgemm). */
const TILE_ROWS = 2;

/** Whether attention of such a step is computed in tiles. */
export function hasTiles(
  { tokens, sequences }: Pick<StepShape, 'tokens' | 'sequences'>,
  { blockCells }: Pick<AttentionParams, 'blockCells'>,
): boolean {
  return blockCells === undefined ? tokens >= TILE_TOKENS : tokens >= TILE_ROWS * sequences;
}

function attentionMs(ops: number, isTiled: boolean, device: Device): number {
  const { attention, vectorOpsPerSecond: vector, matrixOpsPerSecond: matrix } = device;
  const { rowShare, attentionShare } = attention;
  if (rowShare !== undefined && vector !== null && !isTiled) {
    return (1e3 * ops) / (vector * rowShare);
  }
  return matrix === null ? 0 : (1e3 * ops) / (matrix * attentionShare);
}
