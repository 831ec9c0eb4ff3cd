/**
 * Which slices of a step are decoded together where every sequence has a cache of its own. There
 * the library computes neighbouring sequences as one matrix with equally many tokens of each, and
 * all of them attend as far as the longest: a single token of a long prompt beside four short
 * streams makes each of them pass over thousands of cells that hold nothing (measured: 54 ms for
 * four streams, 22 for a token 2,000 deep, 136 for both in one decode; 135M, AVX2, one thread).
 * What is decoded apart reads the weights again. So a step is cut where that costs less. Pure.
 *
 *   sequence   0    1    2    3    4            one matrix: 5 rows × 2048 cells
 *   end      180  175  190  181  2001    ->     cut:        4 rows × 256, then 1 × 2048
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

/** The slices in groups, one decode each; ascending by sequence, as the library wants them. */
export function decodeGroups(slices: readonly Slice[], passCells: number): Slice[][] {
  const sorted = slices.toSorted((a, b) => a.seq - b.seq);
  // best[i]: the least cost of the first i slices, and where its last group begins.
  const best: { cost: number; from: number }[] = [{ cost: 0, from: 0 }];
  for (let end = 1; end <= sorted.length; end++) {
    let least = { cost: Infinity, from: end - 1 };
    let deepest = 0;
    for (let from = end - 1; from >= 0; from--) {
      const slice = defined(sorted[from], 'slice of a group');
      if (from < end - 1 && !areNeighbours(slice, defined(sorted[from + 1], 'its neighbour')))
        break;
      deepest = Math.max(deepest, slice.start + slice.tokens.length);
      const rows = (end - from) * slice.tokens.length;
      const own = passCells + rows * Math.ceil(deepest / BLOCK_CELLS) * BLOCK_CELLS;
      const cost = defined(best[from], 'cost of what is before').cost + own;
      if (cost < least.cost) least = { cost, from };
    }
    best.push(least);
  }
  const groups: Slice[][] = [];
  for (let end = sorted.length; end > 0; ) {
    const { from } = defined(best[end], 'last group');
    groups.unshift(sorted.slice(from, end));
    end = from;
  }
  return groups;
}

/** Only these can be one matrix. */
function areNeighbours(a: Slice, b: Slice): boolean {
  return b.seq === a.seq + 1 && a.tokens.length === b.tokens.length;
}
