/**
 * Passes over one row of logits: its maximum, the sum of exponentials, its largest entries, the
 * logit down to which a count or a share of probability reaches; and a draw, which needs none. For
 * the machine, since they run for every token of every request: no allocation per row, a table for
 * exp, and blocks whose maximum shows that nothing in them matters.
 */
import { PlenumError } from '../../base/errors.ts';
import type { Prng } from '../../base/prng.ts';

/** Logits per block. */
const BLOCK = 512;
/** What lies this far below the maximum has less than 1e-13 of its probability, and counts as 0. */
const RANGE = 30;
/** Entries per unit of the table of exp(-x). */
const STEPS = 256;
const EXP_TABLE = Float64Array.from({ length: RANGE * STEPS + 2 }, (_, i) => Math.exp(-i / STEPS));
/** Table entries per bin of a histogram: 1/16 of a logit. */
const BIN_SHIFT = 4;
const BINS = ((RANGE * STEPS) >> BIN_SHIFT) + 1;

/**
 * exp(-t / STEPS) for 0 <= t <= RANGE * STEPS: a table entry times two terms of the series for the
 * rest, which is below 1/256; the first term left out is below 1e-8 of the value.
 */
function tableExp(t: number): number {
  const i = t | 0;
  const f = (t - i) * (1 / STEPS);
  return (EXP_TABLE[i] as number) * (1 - f + f * f * 0.5);
}

/** 53 random bits: 32 would leave out tokens rarer than 2e-10. */
function fraction(prng: Prng): number {
  return (prng.uint32() * 2 ** 21 + (prng.uint32() >>> 11)) / 2 ** 53;
}

export interface Slope {
  readonly temperature: number;
  /** Logits below it count as 0; -Infinity for all. */
  readonly floor: number;
}

/** Scratch for rows of one length. `begin` a row, then ask about that same row. */
export class RowScan {
  /** The largest logit of the row. */
  max = 0;
  readonly #size: number;
  readonly #blockMax: Float32Array;
  /** Running sums, up to and with each block, of what its exponentials cannot exceed. */
  readonly #bounds: Float64Array;
  readonly #counts = new Uint32Array(BINS);
  readonly #masses = new Float64Array(BINS);
  readonly #edge: Float32Array;

  constructor(size: number) {
    this.#size = size;
    this.#blockMax = new Float32Array(Math.ceil(size / BLOCK));
    this.#bounds = new Float64Array(this.#blockMax.length);
    this.#edge = new Float32Array(size);
  }

  /** Finds the maximum. Throws PlenumError `engine_failed` when there is no finite one. */
  begin(row: Float32Array): void {
    let max = Number.NEGATIVE_INFINITY;
    for (let block = 0; block < this.#blockMax.length; block++) {
      const found = maxOf(row, block * BLOCK, this.#endOf(block));
      this.#blockMax[block] = found;
      max = Math.max(max, found);
    }
    this.max = max;
    if (!Number.isFinite(max)) {
      throw new PlenumError('engine_failed', `the largest logit is ${max}: no token can be chosen`);
    }
  }

  /** The token of the maximum; of equals the lowest. */
  argmax(row: Float32Array): number {
    const from = this.#blockMax.indexOf(this.max) * BLOCK;
    return from + row.subarray(from, from + BLOCK).indexOf(this.max);
  }

  /** The sum of exp(logit - max) over the row. */
  sumExp(row: Float32Array): number {
    const max = this.max;
    const floor = max - RANGE;
    let sum = 0;
    for (let block = 0; block < this.#blockMax.length; block++) {
      if ((this.#blockMax[block] as number) < floor) continue;
      const end = this.#endOf(block);
      let part = 0;
      for (let i = block * BLOCK; i < end; i++) {
        const logit = row[i] as number;
        if (logit >= floor) part += tableExp((max - logit) * STEPS);
      }
      sum += part;
    }
    return sum;
  }

  /**
   * A token with a probability proportional to exp(logit / temperature) among those that are at
   * least `floor`, by rejection: a block by its bound, which is its length times the exponential of
   * its maximum; one of its tokens, each as likely; kept with the ratio of their exponentials. No
   * pass over the row, and since a block holds its maximum, BLOCK tries or fewer on average.
   */
  draw(row: Float32Array, { temperature, floor }: Slope, prng: Prng): number {
    let total = 0;
    for (let block = 0; block < this.#bounds.length; block++) {
      const most = this.#blockMax[block] as number;
      const length = this.#endOf(block) - block * BLOCK;
      if (most >= floor) total += length * Math.exp((most - this.max) / temperature);
      this.#bounds[block] = total;
    }
    for (;;) {
      const block = this.#blockAt(fraction(prng) * total);
      const start = block * BLOCK;
      const token = start + Math.floor(prng.float() * (this.#endOf(block) - start));
      const logit = row[token] as number;
      const most = this.#blockMax[block] as number;
      const isKept = fraction(prng) < Math.exp((logit - most) / temperature);
      if (isKept && logit >= floor) return token;
    }
  }

  /** The block whose part of the sum of bounds `target` lies in. */
  #blockAt(target: number): number {
    let low = 0;
    let high = this.#bounds.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (target < (this.#bounds[middle] as number)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The `count` largest logits in order. For small counts: each new one moves the others. */
  largest(row: Float32Array, count: number): Largest {
    const found = new Largest(count);
    // There are at least `count` logits as large as the count-th largest of the blocks' maxima.
    const maxima = this.#blockMax.slice().sort();
    const floor = maxima[maxima.length - count] ?? Number.NEGATIVE_INFINITY;
    for (let block = 0; count > 0 && block < this.#blockMax.length; block++) {
      const most = this.#blockMax[block] as number;
      if (!(most >= floor && most > found.threshold)) continue;
      const end = this.#endOf(block);
      for (let i = block * BLOCK; i < end; i++) {
        const logit = row[i] as number;
        if (logit >= floor && logit > found.threshold) found.offer(i, logit);
      }
    }
    return found;
  }

  /** The `count`-th largest logit, or -Infinity when fewer are within range. */
  floorOfCount(row: Float32Array, count: number): number {
    this.#histogram(row, Number.NEGATIVE_INFINITY);
    let left = count;
    let bin = 0;
    while (bin < BINS && left > (this.#counts[bin] as number)) {
      left -= this.#counts[bin] as number;
      bin += 1;
    }
    if (bin === BINS) return Number.NEGATIVE_INFINITY;
    const edge = this.#sortedBin(row, bin, Number.NEGATIVE_INFINITY);
    return edge[edge.length - left] as number;
  }

  /**
   * The logit down to which the likeliest tokens together have `share` of the probability of those
   * that are at least `floor`.
   */
  floorOfShare(row: Float32Array, share: number, floor: number): number {
    this.#histogram(row, floor);
    let left = share * this.#masses.reduce((sum, mass) => sum + mass, 0);
    let bin = 0;
    while (bin < BINS - 1 && left > (this.#masses[bin] as number)) {
      left -= this.#masses[bin] as number;
      bin += 1;
    }
    const edge = this.#sortedBin(row, bin, floor);
    let at = edge.length;
    do {
      at -= 1;
      left -= Math.exp((edge[at] as number) - this.max);
    } while (left > 0 && at > 0);
    return edge[Math.max(at, 0)] ?? this.max;
  }

  #endOf(block: number): number {
    return Math.min(this.#size, (block + 1) * BLOCK);
  }

  /** How many logits lie in each bin of distance from the maximum, and their exponentials' sum. */
  #histogram(row: Float32Array, lowest: number): void {
    const counts = this.#counts.fill(0);
    const masses = this.#masses.fill(0);
    const max = this.max;
    const floor = Math.max(lowest, max - RANGE);
    for (let block = 0; block < this.#blockMax.length; block++) {
      if ((this.#blockMax[block] as number) < floor) continue;
      const end = this.#endOf(block);
      for (let i = block * BLOCK; i < end; i++) {
        const logit = row[i] as number;
        if (!(logit >= floor)) continue;
        const t = (max - logit) * STEPS;
        const bin = (t | 0) >> BIN_SHIFT;
        masses[bin] = (masses[bin] as number) + tableExp(t);
        counts[bin] = (counts[bin] as number) + 1;
      }
    }
  }

  /** The logits of one bin of the histogram that was just made, smallest first. */
  #sortedBin(row: Float32Array, bin: number, lowest: number): Float32Array {
    const floor = Math.max(lowest, this.max - RANGE);
    const max = this.max;
    let count = 0;
    for (let block = 0; block < this.#blockMax.length; block++) {
      const least = max - (this.#blockMax[block] as number);
      if (((least * STEPS) | 0) >> BIN_SHIFT > bin) continue;
      const end = this.#endOf(block);
      for (let i = block * BLOCK; i < end; i++) {
        const logit = row[i] as number;
        if (logit >= floor && (((max - logit) * STEPS) | 0) >> BIN_SHIFT === bin) {
          this.#edge[count++] = logit;
        }
      }
    }
    return this.#edge.subarray(0, count).sort();
  }
}

/** Four running maxima, which a processor computes side by side: 0.4 to 0.7 of the time of one. */
function maxOf(row: Float32Array, from: number, to: number): number {
  let a = Number.NEGATIVE_INFINITY;
  let b = a;
  let c = a;
  let d = a;
  let i = from;
  for (; i + 3 < to; i += 4) {
    const w = row[i] as number;
    const x = row[i + 1] as number;
    const y = row[i + 2] as number;
    const z = row[i + 3] as number;
    if (w > a) a = w;
    if (x > b) b = x;
    if (y > c) c = y;
    if (z > d) d = z;
  }
  for (; i < to; i++) if ((row[i] as number) > a) a = row[i] as number;
  return Math.max(a, b, c, d);
}

/** The largest logits offered, largest first; of equals the first offered. */
export class Largest {
  readonly tokens: number[] = [];
  readonly logits: number[] = [];
  /** A logit must exceed it to enter; the smallest kept once there are enough. */
  threshold = Number.NEGATIVE_INFINITY;
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  offer(token: number, logit: number): void {
    const { tokens, logits } = this;
    if (logits.length < this.#count) {
      tokens.push(token);
      logits.push(logit);
    }
    let at = logits.length - 1;
    for (; at > 0 && logit > (logits[at - 1] as number); at--) {
      logits[at] = logits[at - 1] as number;
      tokens[at] = tokens[at - 1] as number;
    }
    logits[at] = logit;
    tokens[at] = token;
    if (logits.length === this.#count) this.threshold = logits[this.#count - 1] as number;
  }
}
