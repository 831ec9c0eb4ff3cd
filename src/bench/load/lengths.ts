/** How many tokens a message has: one number, or drawn from a log-normal distribution. */
import { PlenumError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { Prng } from '../../base/prng.ts';

export type LengthSpec =
  | { readonly kind: 'fixed'; readonly tokens: number }
  | {
      readonly kind: 'lognormal';
      readonly median: number;
      /** Standard deviation of the logarithm: 1 is the spread of chat logs, 0 none. */
      readonly sigma: number;
      readonly min: number;
      readonly max: number;
    };

/** Longest message that is made, in tokens. */
export const LENGTH_TOKENS_MAX = 1_000_000;
const SIGMA_MAX = 4;

export const fixed = (tokens: number): LengthSpec => ({ kind: 'fixed', tokens });

/** `512`, or `lognormal:median=512,sigma=0.8,max=4096`. Throws `usage`. */
export function parseLength(text: string, flag: string): LengthSpec {
  const wrong = (what: string): PlenumError => {
    const forms = '512, or lognormal:median=512,sigma=0.8,min=16,max=4096';
    return new PlenumError('usage', `${flag} is "${text}": ${what}; write ${forms}`);
  };
  if (/^\d+$/.test(text)) return fixed(within(Number(text), wrong));
  const [, rest] = /^lognormal:(.*)$/.exec(text) ?? [];
  if (rest === undefined) throw wrong('neither a number of tokens nor a distribution');
  const values = new Map<string, number>([
    ['sigma', 0.8],
    ['min', 1],
  ]);
  for (const part of rest.split(',')) {
    const [name = '', value = ''] = part.split('=');
    const known = ['median', 'sigma', 'min', 'max'];
    if (!known.includes(name)) {
      throw wrong(`no "${name}"; did you mean ${nearest(name, known) ?? known.join(', ')}?`);
    }
    if (!/^\d+(\.\d+)?$/.test(value)) throw wrong(`${name} must be a number, not "${value}"`);
    values.set(name, Number(value));
  }
  const median = values.get('median');
  if (median === undefined) throw wrong('the median is missing');
  const max = values.get('max') ?? median * 8;
  const min = values.get('min') ?? 1;
  const sigma = values.get('sigma') ?? 0;
  if (sigma > SIGMA_MAX) throw wrong(`sigma may be at most ${SIGMA_MAX}`);
  if (min > max || median > max || median < min) throw wrong('min ≤ median ≤ max does not hold');
  return { kind: 'lognormal', median: within(median, wrong), sigma, min, max: within(max, wrong) };
}

function within(tokens: number, wrong: (what: string) => PlenumError): number {
  if (tokens >= 1 && tokens <= LENGTH_TOKENS_MAX) return tokens;
  throw wrong(`from 1 to ${LENGTH_TOKENS_MAX} tokens are possible`);
}

export function drawLength(spec: LengthSpec, prng: Prng): number {
  if (spec.kind === 'fixed') return spec.tokens;
  const drawn = spec.median * Math.exp(spec.sigma * prng.normal());
  return Math.max(Math.ceil(spec.min), Math.min(Math.floor(spec.max), Math.round(drawn)));
}

export function lengthText(spec: LengthSpec): string {
  if (spec.kind === 'fixed') return String(spec.tokens);
  const { median, sigma, min, max } = spec;
  return `lognormal:median=${median},sigma=${sigma},min=${min},max=${max}`;
}
