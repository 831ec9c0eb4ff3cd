/** One sequence's text: what is released, when, and with which tokens. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutBytes, cutPoints, firstStop, richText } from './fixture.ts';
import { type TextDelta, TextStream } from './text-stream.ts';

const utf8 = new TextEncoder();

/** Token i of the list has the id i; its score is -i. */
function run(stop: readonly string[], tokens: readonly Uint8Array[], scored = true): TextDelta[] {
  const tokenBytes = (id: number): Uint8Array => tokens[id] ?? new Uint8Array();
  const stream = new TextStream({ stop, tokenBytes });
  const deltas: TextDelta[] = [];
  for (const [id, bytes] of tokens.entries()) {
    const score = { token: id, logprob: -id, top: [{ token: id, logprob: -id }] };
    const delta = stream.push(bytes, scored ? score : null);
    deltas.push(delta);
    if (delta.stopped !== null) return deltas;
  }
  return [...deltas, stream.finish()];
}

const ids = (delta: TextDelta | undefined): number[] =>
  (delta?.logprobs ?? []).map((entry) => entry.tokenId);
const textOf = (deltas: readonly TextDelta[]): string => deltas.map((d) => d.text).join('');

describe('TextStream', () => {
  it('gives a plain token out at once, with its count and score', () => {
    const [delta] = run([], [utf8.encode('Hi')]);
    expect(delta).toEqual({
      text: 'Hi',
      tokens: 1,
      stopped: null,
      logprobs: [
        {
          token: 'Hi',
          tokenId: 0,
          bytes: [72, 105],
          logprob: -0,
          top: [{ token: 'Hi', tokenId: 0, bytes: [72, 105], logprob: -0 }],
        },
      ],
    });
  });

  it('gives the parts of a character out together, lossy as strings and exact as bytes', () => {
    const euro = utf8.encode('€');
    const deltas = run([], [euro.subarray(0, 1), euro.subarray(1)]);
    expect(deltas.map((d) => [d.text, d.tokens])).toEqual([
      ['', 0],
      ['€', 2],
      ['', 0],
    ]);
    const entries = deltas[1]?.logprobs ?? [];
    expect(entries.map((e) => [e.token, e.bytes])).toEqual([
      ['\ufffd', [0xe2]],
      ['\ufffd\ufffd', [0x82, 0xac]],
    ]);
  });

  it('keeps a token that begins before the stop and drops those inside it', () => {
    const deltas = run(
      ['STOP'],
      ['a', 'bST', 'O', 'Px'].map((t) => utf8.encode(t)),
    );
    expect(textOf(deltas)).toBe('ab');
    expect(deltas.flatMap((d) => ids(d))).toEqual([0, 1]);
    expect(deltas.at(-1)).toEqual({ text: '', tokens: 0, logprobs: [], stopped: 'STOP' });
  });

  it('releases scores with the text when the withheld text is no stop', () => {
    const deltas = run(
      ['STOP'],
      ['ST', 'OX'].map((t) => utf8.encode(t)),
    );
    expect(deltas.map((d) => [d.text, ids(d)])).toEqual([
      ['', []],
      ['STOX', [0, 1]],
      ['', []],
    ]);
  });

  it('releases all that is held at the end, a broken character included', () => {
    const deltas = run(['STOP'], [utf8.encode('xS'), utf8.encode('T'), Uint8Array.of(0xe2)]);
    expect(textOf(deltas)).toBe('xST\ufffd');
    expect(deltas.map((d) => d.tokens)).toEqual([1, 0, 0, 2]);
  });

  it('decides at the end a match that an earlier one could have overtaken', () => {
    const deltas = run(['bc', 'abcd'], [utf8.encode('abc')]);
    expect(deltas.at(-1)).toMatchObject({ text: 'a', tokens: 1, stopped: 'bc' });
  });

  it('counts a token without text in its place', () => {
    const empty = new Uint8Array();
    const deltas = run(
      ['ST'],
      [utf8.encode('a'), empty, utf8.encode('S'), empty, utf8.encode('x')],
    );
    expect(deltas.map((d) => d.tokens)).toEqual([1, 1, 0, 0, 3, 0]);
  });

  it('takes no token after a stop; finish then is empty', () => {
    const stream = new TextStream({ stop: ['x'], tokenBytes: () => new Uint8Array() });
    expect(stream.push(utf8.encode('x'), null).stopped).toBe('x');
    expect(() => stream.push(utf8.encode('a'), null)).toThrow(/after the end/);
    expect(stream.finish()).toEqual({ text: '', tokens: 0, logprobs: [], stopped: null });
  });

  it('never retracts: each moment shows a prefix of the text before the first stop', () => {
    const stopsIn = (text: string): fc.Arbitrary<string[]> => {
      const chars = [...text];
      const part = fc
        .tuple(fc.nat(chars.length), fc.integer({ min: 1, max: 4 }))
        .map(([from, count]) => chars.slice(from, from + count).join('') || 'zzz');
      return fc.array(
        fc.oneof(
          part,
          part.map((p) => `${p}\u0000!`),
        ),
        { maxLength: 4 },
      );
    };
    const cases = richText.chain((text) => fc.tuple(fc.constant(text), stopsIn(text), cutPoints));
    fc.assert(
      fc.property(cases, ([text, stops, cuts]) => {
        const tokens = cutBytes(utf8.encode(text), cuts);
        const place = firstStop(text, stops);
        const expected = place < 0 ? text : text.slice(0, place);
        const deltas = run(stops, tokens);
        let shown = '';
        for (const delta of deltas) {
          shown += delta.text;
          expect(expected.startsWith(shown)).toBe(true);
          expect(delta.text.isWellFormed()).toBe(true);
          expect(delta.logprobs.length).toBe(delta.tokens);
        }
        expect(shown).toBe(expected);
        const stopped = deltas.at(-1)?.stopped ?? null;
        expect(stopped !== null).toBe(place >= 0);
        const out = deltas.flatMap((delta) => ids(delta));
        expect(out).toEqual(out.map((_, i) => i));
        if (place < 0) expect(out.length).toBe(tokens.length);
        else expect(out).toEqual(expectedTokens(tokens, utf8.encode(expected).length));
      }),
      { numRuns: 2000 },
    );
  });
});

/** Ids of tokens whose first byte lies before `end`; empty ones whose character begins by it. */
function expectedTokens(tokens: readonly Uint8Array[], end: number): number[] {
  const all = Uint8Array.from(tokens.flatMap((bytes) => [...bytes]));
  const kept: number[] = [];
  let from = 0;
  for (const [id, bytes] of tokens.entries()) {
    let place = from;
    while (bytes.length === 0 && ((all[place] ?? 0) & 0xc0) === 0x80) place -= 1;
    if (bytes.length === 0 ? place > end : place >= end) break;
    kept.push(id);
    from += bytes.length;
  }
  return kept;
}
