/** Sizes and durations as people write them, with their unit: `24GB`, `512MiB`, `10m`. */
import { assert, defined } from '../base/assert.ts';

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const TIME_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

export const SIZE = /^(\d{1,15}(?:\.\d{1,6})?) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$/;
export const DURATION = /^(\d{1,9}(?:\.\d{1,6})?) ?(ms|s|m|h|d)$/;

/** `24GB` → 24000000000; whole bytes. A number is bytes already. */
export function sizeBytes(value: string | number): number {
  if (typeof value === 'number') return value;
  return quantity(SIZE, SIZE_UNITS, value);
}

/** `10m` → 600000; whole milliseconds. */
export const durationMs = (value: string): number => quantity(DURATION, TIME_UNITS, value);

function quantity(form: RegExp, units: Readonly<Record<string, number>>, value: string): number {
  const found = form.exec(value);
  assert(found !== null, `"${value}" has passed the schema`);
  return Math.round(Number(found[1]) * defined(units[found[2] ?? ''], `unit of ${value}`));
}
