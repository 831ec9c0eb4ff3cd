/**
 * The pool as text: a bar of the memory by model, what each holds, what is guaranteed. Pure: from
 * what the server says to lines of a given width.
 */
import { formatBytes, formatMillis } from '../../base/units.ts';
import type { PoolBody, PoolModelBody } from '../../wire/admin.ts';
import { MODEL_CLASSES, type ModelClass } from '../../wire/pool.ts';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const GUARANTEED = '░';
const FREE = '·';
const BAR_COLUMNS_MAX = 96;
const BAR_COLUMNS_MIN = 20;

/** By which letter each model is in the bar: only those that hold memory have one. */
export function lettersOf(pool: PoolBody): ReadonlyMap<string, string> {
  const holding = inOrder(pool).filter((model) => model.reserved_bytes > 0);
  return new Map(holding.map(({ id }, index) => [id, LETTERS[index] ?? '#']));
}

/** Classes in their order, the largest model of each first. */
function inOrder({ models }: PoolBody): readonly PoolModelBody[] {
  const rank = (c: ModelClass): number => MODEL_CLASSES.indexOf(c);
  return [...models].sort(
    (a, b) => rank(a.class) - rank(b.class) || b.reserved_bytes - a.reserved_bytes,
  );
}

/** Bytes of a class that are guaranteed to it and that it does not use. */
const guaranteedFree = ({ models, floors }: PoolBody, c: ModelClass): number => {
  const used = models.reduce((sum, m) => sum + (m.class === c ? m.reserved_bytes : 0), 0);
  return Math.max(0, (floors[c] ?? 0) - used);
};

/**
 * `AAAAAAABBC░░·····`: one sign for a share of the pool. What holds anything has one sign at least,
 * so that a bar is as long as it is asked to be or a little longer.
 */
export function memoryBar(pool: PoolBody, columns: number): string {
  const width = Math.max(BAR_COLUMNS_MIN, Math.min(BAR_COLUMNS_MAX, columns));
  const letters = lettersOf(pool);
  const signs = (bytes: number): number =>
    bytes === 0 ? 0 : Math.max(1, Math.round((width * bytes) / pool.available_bytes));
  const held = inOrder(pool)
    .map(({ id, reserved_bytes }) => (letters.get(id) ?? '').repeat(signs(reserved_bytes)))
    .join('');
  const kept = MODEL_CLASSES.map((c) => GUARANTEED.repeat(signs(guaranteedFree(pool, c)))).join('');
  return (held + kept).padEnd(width, FREE);
}

export function summaryLines(pool: PoolBody): string[] {
  const free = pool.available_bytes - pool.reserved_bytes;
  const kept = MODEL_CLASSES.reduce((sum, c) => sum + guaranteedFree(pool, c), 0);
  const floors = MODEL_CLASSES.filter((c) => (pool.floors[c] ?? 0) > 0).map(
    (c) => `${c} ${formatBytes(pool.floors[c] ?? 0)}`,
  );
  const lines = [
    `${formatBytes(pool.available_bytes)} for models: ${pool.available_source}`,
    `${formatBytes(pool.reserved_bytes)} reserved, ${formatBytes(pool.measured_bytes)} measured, ` +
      `${formatBytes(free)} free${kept > 0 ? `, ${formatBytes(kept)} of it guaranteed` : ''}`,
  ];
  if (floors.length > 0) lines.push(`floors: ${floors.join(', ')} (${GUARANTEED} in the bar)`);
  if (pool.paused !== null) lines.push(`nothing is loaded at the moment: ${pool.paused}`);
  return lines;
}

export const MODEL_COLUMNS = [
  '',
  'MODEL',
  'CLASS',
  'STATE',
  'RESERVED',
  'MEASURED',
  'IN USE',
  'WAITING',
  'TOK/S',
  'STAYS',
] as const;
export const RIGHT_COLUMNS = [4, 5, 6, 7, 8];

export function modelRows(pool: PoolBody): string[][] {
  const letters = lettersOf(pool);
  return inOrder(pool).map((model) => [
    letters.get(model.id) ?? '',
    model.id,
    model.class,
    stateText(model),
    model.reserved_bytes === 0
      ? `(${formatBytes(model.needed_bytes)})`
      : formatBytes(model.reserved_bytes),
    measuredText(model),
    String(model.in_use),
    String(model.waiting + (model.queued ?? 0)),
    model.tokens_per_second === 0 ? '' : model.tokens_per_second.toFixed(1),
    stayText(model),
  ]);
}

/** `3.90 GB`, and where the prediction is known to be wrong, in which direction. */
function measuredText({ measured_bytes, mispredicted }: PoolModelBody): string {
  if (measured_bytes === null) return '';
  const off = mispredicted === null ? '' : `, ${mispredicted} prediction`;
  return `${formatBytes(measured_bytes)}${off}`;
}

/** The reason only where there is something wrong. */
function stateText({ state, reason, restarts }: PoolModelBody): string {
  const known = state === 'unloaded' || state === 'unloading' || reason === null;
  const again = restarts === 0 ? '' : `, ${restarts} ${restarts === 1 ? 'restart' : 'restarts'}`;
  return known ? `${state}${again}` : `${state}: ${reason}${again}`;
}

function stayText({ pinned, ttl_ms, priority, state, idle_ms }: PoolModelBody): string {
  const rank = priority === 0 ? '' : `, priority ${priority}`;
  if (pinned) return `pinned${rank}`;
  if (state !== 'resident') return rank.slice(2);
  const idle = `idle ${formatMillis(idle_ms)}`;
  return `${idle}${ttl_ms === null ? '' : ` of ${formatMillis(ttl_ms)}`}${rank}`;
}
