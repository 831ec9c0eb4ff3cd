/**
 * A histogram of durations in bounded memory, after HdrHistogram's idea (G. Tene): the range is cut
 * into octaves and each octave into equal parts, so that the relative error is the same everywhere.
 * A percentile is within 0.1 % of the exact one (or half a microsecond, where that is more);
 * count, sum, least and greatest are exact. Two histograms add up to the one of both.
 */
import { z } from 'zod';
import { assert } from '../../base/assert.ts';

/** Parts of an octave. The middle of a part is at most 1 / (2 · 512) of its value off. */
const PARTS = 512;
/** Values are counted in microseconds. */
const UNITS_PER_MS = 1000;
/** 2^33 µs are 2.4 hours; a longer time is counted as `above`. */
const OCTAVES = 24;
const SLOTS = PARTS * (OCTAVES + 1);
const UNITS_MAX = PARTS * 2 ** OCTAVES;

/** Largest relative error of a percentile, for values from 0.5 ms. */
export const RELATIVE_ERROR = 1 / (2 * PARTS);

/** Counts as [slot, count, slot, count, …] of those that are not 0. */
export const histogramSchema = z.object({
  partsPerOctave: z.literal(PARTS),
  unit: z.literal('us'),
  counts: z.array(z.int().nonnegative()),
  above: z.int().nonnegative(),
  sumMs: z.number(),
  minMs: z.number().nullable(),
  maxMs: z.number().nullable(),
});
export type HistogramJson = z.infer<typeof histogramSchema>;

export class Histogram {
  readonly #counts = new Float64Array(SLOTS);
  #above = 0;
  #count = 0;
  #sumMs = 0;
  #minMs = Number.POSITIVE_INFINITY;
  #maxMs = Number.NEGATIVE_INFINITY;

  get count(): number {
    return this.#count;
  }

  /** Null while it is empty, as the least and the greatest are. */
  get meanMs(): number | null {
    return this.#count === 0 ? null : this.#sumMs / this.#count;
  }

  get minMs(): number | null {
    return this.#count === 0 ? null : this.#minMs;
  }

  get maxMs(): number | null {
    return this.#count === 0 ? null : this.#maxMs;
  }

  record(ms: number): void {
    assert(ms >= 0 && Number.isFinite(ms), `a duration of ${ms} ms`);
    const units = Math.round(ms * UNITS_PER_MS);
    if (units >= UNITS_MAX) this.#above += 1;
    else this.#add(slotOf(units), 1);
    this.#count += 1;
    this.#sumMs += ms;
    this.#minMs = Math.min(this.#minMs, ms);
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  merge(other: Histogram): void {
    other.#counts.forEach((count, slot) => {
      if (count > 0) this.#add(slot, count);
    });
    this.#above += other.#above;
    this.#count += other.#count;
    this.#sumMs += other.#sumMs;
    this.#minMs = Math.min(this.#minMs, other.#minMs);
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs);
  }

  /** The least value that `share` of all values do not exceed; null while it is empty. */
  percentile(share: number): number | null {
    assert(share >= 0 && share <= 1, `percentile at ${share}`);
    if (this.#count === 0) return null;
    const rank = Math.max(1, Math.ceil(share * this.#count - 1e-9));
    if (rank === this.#count) return this.#maxMs;
    let seen = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      seen += this.#counts[slot] ?? 0;
      if (seen >= rank) return Math.min(this.#maxMs, Math.max(this.#minMs, middleOf(slot)));
    }
    return this.#maxMs;
  }

  toJSON(): HistogramJson {
    const counts: number[] = [];
    this.#counts.forEach((count, slot) => {
      if (count > 0) counts.push(slot, count);
    });
    return {
      partsPerOctave: PARTS,
      unit: 'us',
      counts,
      above: this.#above,
      sumMs: this.#sumMs,
      minMs: this.minMs,
      maxMs: this.maxMs,
    };
  }

  /** Of JSON that `histogramSchema` accepted. */
  static from(json: HistogramJson): Histogram {
    const histogram = new Histogram();
    for (let at = 0; at + 1 < json.counts.length; at += 2) {
      const count = json.counts[at + 1] ?? 0;
      histogram.#add(json.counts[at] ?? 0, count);
      histogram.#count += count;
    }
    histogram.#above = json.above;
    histogram.#count += json.above;
    histogram.#sumMs = json.sumMs;
    if (json.minMs !== null) histogram.#minMs = json.minMs;
    if (json.maxMs !== null) histogram.#maxMs = json.maxMs;
    return histogram;
  }

  #add(slot: number, count: number): void {
    assert(slot >= 0 && slot < SLOTS, `slot ${slot} of a histogram`);
    this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
  }
}

/** [0, 512) one by one; then each octave [512 · 2^k, 1024 · 2^k) in 512 parts. */
function slotOf(units: number): number {
  if (units < PARTS) return units;
  const octave = 31 - Math.clz32(Math.floor(units / PARTS));
  return PARTS * (octave + 1) + Math.floor((units - PARTS * 2 ** octave) / 2 ** octave);
}

function middleOf(slot: number): number {
  if (slot < PARTS) return slot / UNITS_PER_MS;
  const octave = Math.floor(slot / PARTS) - 1;
  const width = 2 ** octave;
  return (PARTS * width + (slot % PARTS) * width + (width - 1) / 2) / UNITS_PER_MS;
}
