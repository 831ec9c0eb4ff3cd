/** Which slices are decoded together: cut where it is cheaper, never what is computed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Slice } from '../../scheduler/plan.ts';
import { cellsPerPass, decodeGroups } from './passes.ts';

const PASS_CELLS = 1400;

function slice(seq: number, start: number, length: number): Slice {
  return { request: seq, seq, start, tokens: new Int32Array(length), output: 'last' };
}

const seqsOf = (groups: readonly Slice[][]): number[][] =>
  groups.map((group) => group.map(({ seq }) => seq));

describe('decodeGroups', () => {
  it('keeps streams of about the same length together', () => {
    const streams = [slice(2, 190, 1), slice(0, 180, 1), slice(1, 240, 1)];
    expect(seqsOf(decodeGroups(streams, PASS_CELLS))).toEqual([[0, 1, 2]]);
  });

  it('takes a piece of a long prompt apart from the streams beside it', () => {
    const streams = [0, 1, 2, 3].map((seq) => slice(seq, 180, 1));
    expect(seqsOf(decodeGroups([...streams, slice(4, 2000, 1)], PASS_CELLS))).toEqual([
      [0, 1, 2, 3],
      [4],
    ]);
    expect(seqsOf(decodeGroups([...streams, slice(4, 100, 8)], PASS_CELLS))).toEqual([
      [0, 1, 2, 3],
      [4],
    ]);
  });

  it('cuts where the idle cells cost more than another pass over the weights', () => {
    const pair = [slice(0, 100, 1), slice(1, 1500, 1)];
    // Together the first passes over 5 blocks of 256 cells for nothing.
    expect(seqsOf(decodeGroups(pair, 5 * 256 + 1))).toEqual([[0, 1]]);
    expect(seqsOf(decodeGroups(pair, 5 * 256 - 1))).toEqual([[0], [1]]);
  });

  it('has every slice once, ascending, and in a group only neighbours of one length', () => {
    const step = fc.uniqueArray(
      fc.record({ seq: fc.nat(15), start: fc.nat(4000), length: fc.constantFrom(1, 1, 1, 4, 30) }),
      { selector: ({ seq }) => seq, maxLength: 12 },
    );
    fc.assert(
      fc.property(step, fc.nat(5000), (entries, passCells) => {
        const slices = entries.map(({ seq, start, length }) => slice(seq, start, length));
        const groups = decodeGroups(slices, passCells);
        expect(groups.flat()).toEqual(slices.toSorted((a, b) => a.seq - b.seq));
        for (const group of groups) {
          for (const [i, one] of group.entries()) {
            expect(one.seq).toBe((group[0]?.seq ?? -1) + i);
            expect(one.tokens).toHaveLength(group[0]?.tokens.length ?? -1);
          }
        }
      }),
    );
  });
});

describe('cellsPerPass', () => {
  it('is what SmolLM2-135M (Q4_1, 30 layers of width 576) reads in weights', () => {
    const facts = { weightsBytes: 97e6, layers: 30, embedding: 576 };
    expect(cellsPerPass(facts)).toBeCloseTo(1403, 0);
  });
});
