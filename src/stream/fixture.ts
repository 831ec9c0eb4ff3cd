/** Generators that the tests of this room share. Not part of what ships. */
import fc from 'fast-check';

/** Text with everything that is hard to cut: ZWJ emoji, flags, CJK, combining marks, U+FFFD. */
export const richText: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 6 }),
      fc.constantFrom(
        '👩‍👩‍👧‍👦',
        '🇩🇪',
        '漢字仮名',
        'e\u0301',
        '\ufffd',
        'ß',
        ' ',
        '\n\n',
        '€',
        '𝔘',
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join('').toWellFormed());

/** Lengths of pieces; a cut repeats them over the input. */
export const cutPoints: fc.Arbitrary<number[]> = fc.array(fc.integer({ min: 0, max: 7 }), {
  minLength: 1,
  maxLength: 20,
});

/** Pieces of the given lengths, in turn; zero is an empty token. */
export function cutBytes(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let from = 0, turn = 0; from < bytes.length; turn++) {
    const wanted = lengths[turn % lengths.length] ?? 1;
    const length = turn >= lengths.length && wanted === 0 ? 1 : wanted;
    pieces.push(bytes.subarray(from, from + length));
    from += length;
  }
  return pieces;
}

/** Where the first stop string begins, or -1; by the plainest means. */
export function firstStop(text: string, stops: readonly string[]): number {
  const places = stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
  return places.length === 0 ? -1 : Math.min(...places);
}
