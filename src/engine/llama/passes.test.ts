/** Which slices are decoded together: cut where it is cheaper, never what is computed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Slice } from '../../scheduler/plan.ts';
import { cellsPerPass, type DecodeGroup, decodeGroups, type PassTerms } from './passes.ts';

const PASS_CELLS = 1400;

function slice(seq: number, start: number, length: number): Slice {
  return { request: seq, seq, start, tokens: new Int32Array(length), output: 'last' };
}

/** Whoever computes nothing holds nothing. */
const terms = (own: Partial<PassTerms> = {}): PassTerms => ({
  passCells: PASS_CELLS,
  rowsMax: 512,
  bridgedEnd: () => 1,
  ...own,
});

const seqsOf = (groups: readonly DecodeGroup[]): number[][] =>
  groups.map(({ slices }) => slices.map(({ seq }) => seq));
const bridgesOf = (groups: readonly DecodeGroup[]) => groups.map(({ bridges }) => bridges);

describe('decodeGroups', () => {
  it('keeps streams of about the same length together', () => {
    const streams = [slice(2, 190, 1), slice(0, 180, 1), slice(1, 240, 1)];
    const groups = decodeGroups(streams, terms());
    expect(seqsOf(groups)).toEqual([[0, 1, 2]]);
    expect(bridgesOf(groups)).toEqual([[]]);
  });

  it('takes a piece of a long prompt apart from the streams beside it', () => {
    const streams = [0, 1, 2, 3].map((seq) => slice(seq, 180, 1));
    expect(seqsOf(decodeGroups([...streams, slice(4, 2000, 1)], terms()))).toEqual([
      [0, 1, 2, 3],
      [4],
    ]);
    expect(seqsOf(decodeGroups([...streams, slice(4, 100, 8)], terms()))).toEqual([
      [0, 1, 2, 3],
      [4],
    ]);
  });

  it('cuts where the idle cells cost more than another pass over the weights', () => {
    const pair = [slice(0, 100, 1), slice(1, 1500, 1)];
    // Together the first passes over 5 blocks of 256 cells for nothing.
    expect(seqsOf(decodeGroups(pair, terms({ passCells: 5 * 256 + 1 })))).toEqual([[0, 1]]);
    expect(seqsOf(decodeGroups(pair, terms({ passCells: 5 * 256 - 1 })))).toEqual([[0], [1]]);
  });

  it('joins streams over sequences that compute nothing, or a prompt', () => {
    const streams = [slice(0, 180, 1), slice(1, 175, 1), slice(3, 181, 1)];
    const idle = decodeGroups(streams, terms());
    expect([seqsOf(idle), bridgesOf(idle)]).toEqual([[[0, 1, 3]], [[2]]]);
    const prompt = decodeGroups([...streams, slice(2, 0, 40)], terms());
    expect([seqsOf(prompt), bridgesOf(prompt)]).toEqual([
      [[0, 1, 3], [2]],
      [[2], []],
    ]);
  });

  it('leaves them apart over many, a deep one, or one without room for a token', () => {
    const far = decodeGroups([slice(0, 180, 1), slice(4, 180, 1)], terms());
    expect(seqsOf(far)).toEqual([[0], [4]]);
    const pair = [slice(0, 180, 1), slice(2, 180, 1)];
    const deep = decodeGroups(pair, terms({ bridgedEnd: () => 900 }));
    expect(seqsOf(deep)).toEqual([[0], [2]]);
    const full = decodeGroups(pair, terms({ passCells: 1e9, bridgedEnd: () => null }));
    expect(seqsOf(full)).toEqual([[0], [2]]);
    const most = decodeGroups(pair, terms({ passCells: 1e9, rowsMax: 2 }));
    expect(seqsOf(most)).toEqual([[0], [2]]);
  });

  it('has every slice once, and in a group all sequences from its first to its last', () => {
    const step = fc.uniqueArray(
      fc.record({ seq: fc.nat(15), start: fc.nat(4000), length: fc.constantFrom(1, 1, 1, 4, 30) }),
      { selector: ({ seq }) => seq, maxLength: 12 },
    );
    fc.assert(
      fc.property(step, fc.nat(5000), fc.integer({ min: 1, max: 64 }), (entries, cells, most) => {
        const slices = entries.map(({ seq, start, length }) => slice(seq, start, length));
        const full = (seq: number): boolean => seq % 5 === 4;
        const bridgedEnd = (seq: number): number | null => (full(seq) ? null : 1 + 300 * seq);
        const groups = decodeGroups(slices, { passCells: cells, rowsMax: most, bridgedEnd });
        const bySeq = (a: Slice, b: Slice): number => a.seq - b.seq;
        const all = groups.flatMap((group) => group.slices);
        expect(all.toSorted(bySeq)).toEqual(slices.toSorted(bySeq));
        for (const { slices: own, bridges } of groups) {
          const [first] = own;
          const seqs = [...own.map(({ seq }) => seq), ...bridges].toSorted((a, b) => a - b);
          expect(seqs).toEqual(seqs.map((_, i) => (first?.seq ?? -1) + i));
          expect(own).toEqual(own.toSorted(bySeq));
          for (const { tokens } of own) expect(tokens).toHaveLength(first?.tokens.length ?? -1);
          if (bridges.length > 0) expect(first?.tokens).toHaveLength(1);
          expect(bridges.some(full)).toBe(false);
          if (own.length > 1) expect(seqs.length).toBeLessThanOrEqual(most);
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
