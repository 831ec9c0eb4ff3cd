/**
 * Which slices of a step are decoded together where every sequence has a cache of its own. There
 * the library computes neighbouring sequences as one matrix with equally many tokens of each, and
 * all of them attend as far as the longest: a single token of a long prompt beside four short
 * streams makes each of them pass over thousands of cells that hold nothing (measured: 54 ms for
 * four streams, 22 for a token 2,000 deep, 136 for both in one decode; 135M, AVX2, one thread).
 * What is decoded apart reads the weights again. So a step is cut where that costs less.
 *
 *   sequence   0    1    2    3    4            one matrix: 5 rows × 2048 cells
 *   end      180  175  190  181  2001    ->     cut:        4 rows × 256, then 1 × 2048
 *
 * Streams that are no neighbours are joined where that costs less: each sequence between them
 * computes a token that is forgotten afterwards, a row instead of a pass over the weights. Pure.
 *
 *   sequence   0    1    2    3                 two matrices: 2 rows, then 1
 *   end      180  175   -   181          ->     one:          4 rows, of which one is a bridge
 */
import { defined } from '../../base/assert.ts';
import { BLOCK_CELLS } from '../../planner/engine-shape.ts';
import type { Slice } from '../../scheduler/plan.ts';

/** What the cost of a pass over the weights is weighed by. */
interface PassFacts {
  readonly weightsBytes: number;
  /** That attend. */
  readonly layers: number;
  /** Width of a token between the layers. */
  readonly embedding: number;
}

/**
 * Cells to which one token could attend in the time that reading the weights takes. An attended
 * cell costs 4 operations per layer and number of the width (two products, multiplied and added); a
 * processor's plain attention computes about as many of them as it reads bytes of weights in the
 * same time (one thread, AVX2: 9.3 G/s against roughly 10 GB/s).
 */
export function cellsPerPass({ weightsBytes, layers, embedding }: PassFacts): number {
  return weightsBytes / (4 * layers * embedding);
}

/**
 * What a row more costs of a pass over the weights, beside attention: 0.1 to 0.5 of one row's time
 * from 4 to 8 rows, by kind of weights and kernels (`plenum measure`, AMX and AVX2).
 */
const ROW_SHARE = 0.35;

export interface PassTerms {
  /** Cells whose attention takes as long as reading the weights. */
  readonly passCells: number;
  /** Rows that one decode takes. */
  readonly rowsMax: number;
  /** Cells of a sequence with one more token; null where it has no room for one. */
  readonly bridgedEnd: (seq: number) => number | null;
}

/** What is decoded together. */
export interface DecodeGroup {
  /** Ascending by sequence. */
  readonly slices: readonly Slice[];
  /** Sequences between them that compute a token to be forgotten. */
  readonly bridges: readonly number[];
}

/**
 * The slices in groups, one decode each: streams first, so that a sequence which is a bridge still
 * ends where it did before the step, then what has several tokens.
 */
export function decodeGroups(slices: readonly Slice[], terms: PassTerms): DecodeGroup[] {
  const sorted = slices.toSorted((a, b) => a.seq - b.seq);
  const streams = sorted.filter(({ tokens }) => tokens.length === 1);
  const pieces = sorted.filter(({ tokens }) => tokens.length > 1);
  return [...cheapest(streams, terms), ...cheapest(pieces, terms)];
}

/** The least cost over all ways to cut the list. */
function cheapest(sorted: readonly Slice[], terms: PassTerms): DecodeGroup[] {
  // best[i]: the least cost of the first i slices, and where its last group begins.
  const best: { cost: number; from: number }[] = [{ cost: 0, from: 0 }];
  for (let end = 1; end <= sorted.length; end++) {
    let least = { cost: Infinity, from: end - 1 };
    const last = defined(sorted[end - 1], 'last slice of a group');
    let deepest = 0;
    for (let from = end - 1; from >= 0; from--) {
      const slice = defined(sorted[from], 'slice of a group');
      const next = from === end - 1 ? null : defined(sorted[from + 1], 'its neighbour');
      const between = next === null ? 0 : deepestBetween(slice, next, terms);
      const rows = (last.seq - slice.seq + 1) * slice.tokens.length;
      if (between === null || rows > terms.rowsMax) break;
      deepest = Math.max(deepest, between, slice.start + slice.tokens.length);
      const bridges = last.seq - slice.seq + 1 - (end - from);
      const attended = rows * Math.ceil(deepest / BLOCK_CELLS) * BLOCK_CELLS;
      const own = terms.passCells * (1 + ROW_SHARE * bridges) + attended;
      const cost = defined(best[from], 'cost of what is before').cost + own;
      if (cost < least.cost) least = { cost, from };
    }
    best.push(least);
  }
  const groups: DecodeGroup[] = [];
  for (let end = sorted.length; end > 0; ) {
    const { from } = defined(best[end], 'last group');
    const own = sorted.slice(from, end);
    groups.unshift({ slices: own, bridges: missing(own) });
    end = from;
  }
  return groups;
}

/**
 * The cells of the deepest sequence between two slices, with one token more each; null where the
 * two cannot be one matrix.
 */
function deepestBetween(a: Slice, b: Slice, { bridgedEnd }: PassTerms): number | null {
  if (a.tokens.length !== b.tokens.length) return null;
  if (a.tokens.length > 1) return b.seq === a.seq + 1 ? 0 : null;
  let deepest = 0;
  for (let seq = a.seq + 1; seq < b.seq; seq++) {
    const end = bridgedEnd(seq);
    if (end === null) return null;
    deepest = Math.max(deepest, end);
  }
  return deepest;
}

function missing(slices: readonly Slice[]): number[] {
  const bridges: number[] = [];
  for (const [i, { seq }] of slices.entries()) {
    const before = slices[i - 1]?.seq ?? seq;
    for (let between = before + 1; between < seq; between++) bridges.push(between);
  }
  return bridges;
}
