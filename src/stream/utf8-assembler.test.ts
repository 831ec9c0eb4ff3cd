/** The assembler against the platform's decoder on whole inputs, cut at random places. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutBytes, cutPoints, richText } from './fixture.ts';
import { Utf8Assembler } from './utf8-assembler.ts';

const utf8 = new TextEncoder();
const whole = new TextDecoder('utf-8', { ignoreBOM: true });

function assemble(chunks: readonly Uint8Array[]): string[] {
  const assembler = new Utf8Assembler();
  return [...chunks.map((chunk) => assembler.push(chunk)), assembler.finish()];
}

describe('Utf8Assembler', () => {
  it('holds an incomplete character over token borders', () => {
    const [e2, x82, xac] = utf8.encode('€');
    const parts = [e2, x82, xac].map((byte) => Uint8Array.of(byte ?? 0));
    expect(assemble(parts)).toEqual(['', '', '€', '']);
  });

  it('flushes an incomplete character at the end as one U+FFFD', () => {
    expect(assemble([utf8.encode('a😀').subarray(0, 3)])).toEqual(['a', '\ufffd']);
  });

  it('turns a sequence that is broken off into U+FFFD and keeps what follows', () => {
    expect(assemble([Uint8Array.of(0xe2, 0x82), utf8.encode('x')])).toEqual(['', '\ufffdx', '']);
  });

  it('keeps a leading U+FEFF as text', () => {
    expect(assemble([utf8.encode('\ufeffa')])).toEqual(['\ufeffa', '']);
  });

  it('is usable again after finish, with nothing left over', () => {
    const assembler = new Utf8Assembler();
    assembler.push(Uint8Array.of(0xf0));
    expect(assembler.finish()).toBe('\ufffd');
    expect(assembler.push(utf8.encode('ok'))).toBe('ok');
    expect(assembler.finish()).toBe('');
  });

  it('gives any valid text back, whole characters in each piece', () => {
    fc.assert(
      fc.property(richText, cutPoints, (text, cuts) => {
        const pieces = assemble(cutBytes(utf8.encode(text), cuts));
        expect(pieces.join('')).toBe(text);
        for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('decodes any bytes as the whole decoder does', () => {
    const lead = fc.constantFrom(0x41, 0x80, 0xbf, 0xc0, 0xc3, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff);
    const nasty = fc.array(fc.oneof(lead, fc.integer({ min: 0, max: 255 })), { maxLength: 40 });
    fc.assert(
      fc.property(nasty, cutPoints, (values, cuts) => {
        const bytes = Uint8Array.from(values);
        expect(assemble(cutBytes(bytes, cuts)).join('')).toBe(whole.decode(bytes));
      }),
      { numRuns: 2000 },
    );
  });
});
