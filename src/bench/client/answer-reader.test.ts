/** Answers as they come over a wire: whole, in any pieces, and what is no HTTP. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerReader } from './answer-reader.ts';

interface Read {
  readonly status: number | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly ends: number;
  readonly keepsAlive: boolean;
  readonly fault: string | null;
}

/** `closes`: the connection ends after the last piece. */
function read(pieces: readonly Uint8Array[], closes = false): Read {
  let status: number | null = null;
  let headers: Readonly<Record<string, string>> = {};
  const body: Buffer[] = [];
  let ends = 0;
  const reader = new AnswerReader({
    head: (code, fields) => {
      status = code;
      headers = Object.fromEntries(fields);
    },
    body: (bytes) => body.push(Buffer.from(bytes)),
    end: () => {
      ends += 1;
    },
  });
  let fault: string | null = null;
  for (const piece of pieces) {
    fault ??= reader.push(Buffer.from(piece));
  }
  if (closes) reader.close();
  const { keepsAlive } = reader;
  return { status, headers, body: Buffer.concat(body).toString(), ends, keepsAlive, fault };
}

const readText = (text: string, closes = false): Read => read([Buffer.from(text)], closes);

const HEAD = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n`;
const ANSWERS = {
  chunked: `${CHUNKED}5;name=value\r\nhello\r\n1\r\n \r\n6\r\nwörld\r\n0\r\ntrailer: x\r\n\r\n`,
  counted: `${HEAD}content-length: 12\r\n\r\nhello wörld`,
  announced: `HTTP/1.1 100 Continue\r\n\r\n${HEAD}content-length: 12\r\n\r\nhello wörld`,
  'with bare line feeds': `${HEAD}content-length: 12\r\n\r\nhello wörld`.replaceAll('\r', ''),
};

describe('an answer', () => {
  it.each(Object.entries(ANSWERS))('%s is read whole', (_, text) => {
    expect(readText(text)).toMatchObject({
      ...{ status: 200, body: 'hello wörld', ends: 1, keepsAlive: true, fault: null },
    });
  });

  it.each(Object.entries(ANSWERS))('%s is the same in whatever pieces it comes', (_, text) => {
    const bytes = Buffer.from(text);
    const cuts = fc.array(fc.nat(bytes.length), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, (places) => {
        const at = [0, ...places.toSorted((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((to, i) => bytes.subarray(at[i], to));
        expect(read(pieces)).toEqual(readText(text));
      }),
    );
    expect(read([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(readText(text));
  });

  it('that does not say its length ends with its connection, which carries no other', () => {
    const text = `${HEAD}\r\nhello`;
    expect(readText(text)).toMatchObject({ body: 'hello', ends: 0 });
    expect(readText(text, true)).toMatchObject({ body: 'hello', ends: 1, keepsAlive: false });
  });

  it('that was cut off has no end', () => {
    expect(readText(`${HEAD}content-length: 9\r\n\r\nhello`, true).ends).toBe(0);
    expect(readText(`${CHUNKED}5\r\nhello\r\n`, true).ends).toBe(0);
  });

  it('without a body is over with its head', () => {
    for (const rest of ['200 OK\r\ncontent-length: 0', '204 No Content', '304 Not Modified']) {
      expect(readText(`HTTP/1.1 ${rest}\r\n\r\n`)).toMatchObject({ ends: 1, keepsAlive: true });
    }
  });

  it('joins headers of one name', () => {
    expect(readText(CHUNKED).headers).toMatchObject({ 'x-a': '1, 2' });
  });

  it.each([
    ['says close', `${HEAD}connection: Close\r\ncontent-length: 0\r\n\r\n`, false],
    ['is of HTTP/1.0', 'HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n', false],
    [
      'is of HTTP/1.0 and says keep-alive',
      'HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n',
      true,
    ],
    ['is followed by bytes', `${HEAD}content-length: 2\r\n\r\nok!`, false],
  ])('that %s keeps its connection or not', (_, text, keeps) => {
    expect(readText(text)).toMatchObject({ ends: 1, keepsAlive: keeps });
  });

  it.each([
    ['SSH-2.0-OpenSSH', /"SSH-2.0-OpenSSH" is no HTTP\/1 answer/],
    ['HTTP/1.1 two hundred\r\n\r\n', /no status line/],
    [`${HEAD}no colon here\r\n\r\n`, /a header without a colon/],
    [`${HEAD}content-length: many\r\n\r\n`, /content-length is "many"/],
    [`${CHUNKED}xyz\r\n`, /"xyz" where a chunk's size belongs/],
    [`${CHUNKED}2\r\nok?\r\n`, /"\?" after a chunk/],
    [`${HEAD}x: ${'y'.repeat(20_000)}`, /a head of over 16 KiB/],
    [`${CHUNKED}1;${'x'.repeat(5000)}`, /a line of over 4096 bytes/],
  ])('%# that is no HTTP is said to be none', (text, why) => {
    expect(readText(text).fault).toMatch(why);
  });
});
