/** Stop strings against the plainest search over the whole text, however it is cut. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstStop } from './fixture.ts';
import { StopMatcher } from './stop-matcher.ts';

/** Pushes until a stop, then the end; the texts released, and what stopped it. */
function run(stops: readonly string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(stops);
  const released: string[] = [];
  for (const piece of pieces) {
    const cut = matcher.push(piece);
    released.push(cut.text);
    if (cut.stopped !== null) return { released, stopped: cut.stopped };
  }
  const cut = matcher.finish();
  released.push(cut.text);
  return { released, stopped: cut.stopped };
}

describe('StopMatcher', () => {
  it('passes everything on at once without stop strings', () => {
    expect(run([], ['a', 'b'])).toEqual({ released: ['a', 'b', ''], stopped: null });
  });

  it('finds a stop string across pieces and leaks no part of it', () => {
    const result = run(['</s>'], ['ab<', '/', 's', '>cd']);
    expect(result).toEqual({ released: ['ab', '', '', ''], stopped: '</s>' });
  });

  it('releases what was withheld when it turns out to be something else', () => {
    const result = run(['</s>'], ['ab</', 'x', 'y']);
    expect(result).toEqual({ released: ['ab', '</x', 'y', ''], stopped: null });
  });

  it('releases the withheld beginning at the end of the text', () => {
    expect(run(['stop'], ['a st'])).toEqual({ released: ['a ', 'st'], stopped: null });
  });

  it('lets the match that begins first win over the one that ends first', () => {
    expect(run(['bc', 'abcd'], ['xabc', 'd'])).toEqual({ released: ['x', ''], stopped: 'abcd' });
    expect(run(['bc', 'abcd'], ['xabc', 'e'])).toEqual({ released: ['x', 'a'], stopped: 'bc' });
    expect(run(['bc', 'abcd'], ['xabc'])).toEqual({ released: ['x', 'a'], stopped: 'bc' });
  });

  it('reports the shorter of two that begin together', () => {
    expect(run(['abc', 'ab'], ['xabc']).stopped).toBe('ab');
  });

  it('refuses an empty stop string and a lone surrogate by its place', () => {
    expect(() => new StopMatcher(['a', ''])).toThrow(/stop\[1\] is empty/);
    expect(() => new StopMatcher(['\ud83d'])).toThrow(/stop\[0\] has a lone UTF-16 surrogate/);
  });

  it('takes no text after a stop', () => {
    const matcher = new StopMatcher(['x']);
    matcher.push('x');
    expect(() => matcher.push('a')).toThrow(/after the end/);
    expect(matcher.finish()).toEqual({ text: '', stopped: null });
  });

  it('agrees with the plain search on every cut; withholds less than the longest stop', () => {
    const letters = fc.constantFrom('a', 'b', '😀');
    const word = fc.array(letters, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
    const pieces = fc.array(
      fc.array(letters, { maxLength: 5 }).map((parts) => parts.join('')),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), pieces, (stops, texts) => {
        const whole = texts.join('');
        const place = firstStop(whole, stops);
        const expected = place < 0 ? whole : whole.slice(0, place);
        const longest = Math.max(...stops.map((stop) => stop.length));
        const { released, stopped } = run(stops, texts);
        expect(released.join('')).toBe(expected);
        expect(stopped !== null).toBe(place >= 0);
        if (stopped !== null) expect(whole.startsWith(stopped, place)).toBe(true);
        let seen = 0;
        let shown = 0;
        for (const [i, text] of texts.entries()) {
          if (i >= released.length - 1) break;
          seen += text.length;
          shown += released[i]?.length ?? 0;
          expect(seen - shown).toBeLessThan(longest);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('costs no more per character with 100,000 stop strings', () => {
    const stops = Array.from({ length: 100_000 }, (_, i) => `q${i.toString(36)}z`);
    const matcher = new StopMatcher(stops);
    let shown = '';
    for (let i = 0; i < 20_000; i++) shown += matcher.push('some q words ').text;
    expect(shown + matcher.finish().text).toBe('some q words '.repeat(20_000));
    expect(new StopMatcher(stops).push('some q1z words').stopped).toBe('q1z');
  });
});
