/**
 * What is said of repeated measurements: the mean of the middle half, and how far the quartiles are
 * apart. A core whose sibling works for somebody else at times has two speeds; a median falls on
 * one of them by chance, where long steps see the mixture.
 */
import { assert } from '../../base/assert.ts';
import type { Timing } from './messages.ts';

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** The mean without the lowest and the highest quarter. */
export function middleMean(values: readonly number[]): number {
  assert(values.length > 0, 'a mean of nothing');
  const cut = Math.floor(values.length / 4);
  const middle = [...values].sort((a, b) => a - b).slice(cut, values.length - cut);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}

/** Distance of the quartiles in percent of the median. */
export function spreadPct(values: readonly number[]): number {
  return (100 * (quantile(values, 0.75) - quantile(values, 0.25))) / median(values);
}

function quantile(values: readonly number[], share: number): number {
  assert(values.length > 0, 'a quantile of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? 0;
  const high = sorted[Math.ceil(at)] ?? 0;
  return low + (at - Math.floor(at)) * (high - low);
}

/**
 * How long a step took without what others took away: a single thread that computes has the
 * processor time that its step needs, however often it was set aside. Of several threads, which
 * wait for each other, and of a GPU only the clock tells.
 */
export function stepMs({ wallMs, cpuMs }: Timing, how: 'one-thread' | 'clock'): number {
  return how === 'one-thread' ? Math.min(wallMs, cpuMs) : wallMs;
}
