/** When requests of an open loop are to be sent: milliseconds from the start, rising. */
import { PlenumError } from '../../base/errors.ts';
import { Prng } from '../../base/prng.ts';
import { shorten } from '../client/chunk.ts';
import { seedOf } from './seeds.ts';

/** Most requests of one run. */
export const ARRIVALS_MAX = 1_000_000;

export interface PoissonSpec {
  /** Requests per second. */
  readonly rate: number;
  readonly seed: number;
  readonly durationMs: number | null;
  readonly requests: number | null;
}

/** A Poisson process until `durationMs` or so many requests, whichever comes first. */
export function poissonArrivals({ rate, seed, durationMs, requests }: PoissonSpec): number[] {
  const prng = new Prng(seedOf(seed, 'arrivals'));
  const most = Math.min(requests ?? ARRIVALS_MAX, ARRIVALS_MAX);
  const arrivals: number[] = [];
  let at = prng.exponential(1000 / rate);
  while (arrivals.length < most && (durationMs === null || at < durationMs)) {
    arrivals.push(at);
    at += prng.exponential(1000 / rate);
  }
  return arrivals;
}

/** One arrival per line, in seconds: a number, or an object with `at`. Throws `usage`. */
export function parseArrivals(text: string, file: string): number[] {
  const arrivals: number[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const at = secondsOf(line.trim());
    const before = arrivals.at(-1) ?? 0;
    if (at === null || at < 0 || at * 1000 < before) {
      const what = at === null ? 'not seconds' : 'earlier than the line before it';
      const forms = 'write 1.25 or {"at": 1.25}, in rising order';
      throw new PlenumError(
        'usage',
        `${file}, line ${i + 1} is ${what}: ${shorten(line)}; ${forms}`,
      );
    }
    arrivals.push(at * 1000);
    if (arrivals.length > ARRIVALS_MAX) {
      throw new PlenumError('usage', `${file} has more than ${ARRIVALS_MAX} arrivals`);
    }
  }
  if (arrivals.length > 0) return arrivals;
  throw new PlenumError('usage', `${file} has no arrivals`);
}

function secondsOf(line: string): number | null {
  const [, inner] = /^\{\s*"at"\s*:\s*([^,}]+)[,}]/.exec(line) ?? [];
  const text = (inner ?? line).trim();
  return /^\d+(\.\d+)?(e-?\d+)?$/i.test(text) ? Number(text) : null;
}
