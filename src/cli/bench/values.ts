/** Values of the bench's flags: durations, objectives, sweeps, numbers. Each throws `usage`. */
import { PlenumError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { Slo, SweepPoint } from '../../bench/result.ts';

const wrong = (flag: string, text: string, what: string): PlenumError =>
  new PlenumError('usage', `${flag} is "${text}": ${what}`);

const UNITS_MS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
};

/** `500ms`, `30s`, `2m`; a number needs its unit. Milliseconds. */
export function parseDuration(text: string, flag: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?|\.\d+)([a-z]+)$/.exec(text.trim()) ?? [];
  const factor = UNITS_MS[unit];
  if (factor === undefined) throw wrong(flag, text, 'no duration; write 500ms, 30s or 2m');
  const ms = Number(number) * factor;
  if (ms > 0 && ms <= DURATION_MS_MAX) return ms;
  throw wrong(flag, text, 'from 1us to 1440m (a day) are possible');
}

const DURATION_MS_MAX = 86_400_000;

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly isWhole: boolean;
}

export function parseNumber(
  text: string,
  flag: string,
  { min, max, isWhole }: NumberRange,
): number {
  const value = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value;
  throw wrong(
    flag,
    text,
    `${isWhole ? 'a whole number' : 'a number'} from ${min} to ${max} is needed`,
  );
}

const SLO_NAMES = ['ttft', 'itl', 'gap', 'e2e'] as const;

/** `ttft=500ms,itl=60ms`. */
export function parseSlo(text: string): Slo {
  const slo: { -readonly [K in keyof Slo]: Slo[K] } = {};
  for (const part of text.split(',')) {
    const [name = '', value = ''] = part.split('=').map((side) => side.trim());
    const known = SLO_NAMES.find((one) => one === name);
    if (known === undefined) {
      const hint = nearest(name, SLO_NAMES) ?? SLO_NAMES.join(', ');
      throw wrong('--slo', text, `no "${name}"; did you mean ${hint}? write ttft=500ms,itl=60ms`);
    }
    slo[known] = parseDuration(value, `--slo ${name}`);
  }
  return slo;
}

export const RATE: NumberRange = { min: 0.001, max: 100_000, isWhole: false };
export const CLIENTS: NumberRange = { min: 1, max: 4096, isWhole: true };
const POINTS_MAX = 64;

/** `rate=1..64` doubles from 1 to 64; `clients=1,4,16` are those. */
export function parseSweep(text: string): SweepPoint[] {
  const forms = 'write rate=1..64, clients=1..64 or clients=1,4,16';
  const [, axis, from] = /^(rate|clients)=(.+)$/.exec(text) ?? [];
  if (from === undefined || (axis !== 'rate' && axis !== 'clients')) {
    throw wrong('--sweep', text, `neither a rate nor clients; ${forms}`);
  }
  const range = axis === 'rate' ? RATE : CLIENTS;
  const [, low, high] = /^([\d.]+)\.\.([\d.]+)$/.exec(from) ?? [];
  const numbers =
    low === undefined || high === undefined
      ? from.split(',').map((one) => parseNumber(one, `--sweep ${axis}`, range))
      : doubling(
          parseNumber(low, `--sweep ${axis}`, range),
          parseNumber(high, `--sweep ${axis}`, range),
        );
  const isRising = numbers.every((value, i) => i === 0 || value > (numbers[i - 1] ?? 0));
  if (numbers.length < 2 || numbers.length > POINTS_MAX || !isRising) {
    throw wrong('--sweep', text, `2 to ${POINTS_MAX} rising values are needed; ${forms}`);
  }
  return numbers.map((value) => ({ axis, value }));
}

function doubling(low: number, high: number): number[] {
  const values: number[] = [];
  for (let value = low; value < high && values.length <= POINTS_MAX; value *= 2) values.push(value);
  return [...values, high];
}
