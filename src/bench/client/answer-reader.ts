/**
 * Reads an HTTP/1.1 answer from the bytes of a connection as they come: its head, the bytes of its
 * body without their framing, its end. Says by a value what is not HTTP about it. It is small
 * because it runs between a token's arrival and its record; it knows no sockets and no limits but
 * that of a head.
 */

export interface AnswerSink {
  head(status: number, headers: ReadonlyMap<string, string>): void;
  body(bytes: Buffer): void;
  /** The answer is complete. */
  end(): void;
}

/** As Node's own client allows. */
const HEAD_BYTES_MAX = 16 << 10;
/** A chunk's size with its extension, or a trailer. */
const LINE_BYTES_MAX = 4096;

const LF = 0x0a;
const CR = 0x0d;
const PROTOCOL = Buffer.from('HTTP/1.');

type Part = 'head' | 'size' | 'chunk' | 'gap' | 'trailers' | 'counted' | 'rest' | 'over';

export class AnswerReader {
  readonly #sink: AnswerSink;
  #part: Part = 'head';
  /** Bytes of a head or line that are not all here. */
  #kept: Buffer | null = null;
  /** Of a chunk or a counted body, still to come. */
  #left = 0;
  #keepsAlive = false;
  #hasBegun = false;

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  /** Whether any byte came. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Once it is over: whether the connection may carry another request. */
  get keepsAlive(): boolean {
    return this.#keepsAlive;
  }

  /** Returns what is not HTTP about the bytes, or null; nothing may follow a fault. */
  push(bytes: Buffer): string | null {
    this.#hasBegun ||= bytes.length > 0;
    const all = this.#kept === null ? bytes : Buffer.concat([this.#kept, bytes]);
    this.#kept = null;
    let at = 0;
    while (at < all.length) {
      const next = this.#read(all, at);
      if (typeof next === 'string') return next;
      if (next === at) {
        this.#kept = at === 0 ? all : all.subarray(at);
        return null;
      }
      at = next;
    }
    return null;
  }

  /** The connection has ended, which is the end of an answer that does not say its length. */
  close(): void {
    if (this.#part === 'rest') this.#finish();
  }

  /** How far it read from `at` on: no further where more bytes are needed first. */
  #read(all: Buffer, at: number): number | string {
    switch (this.#part) {
      case 'head':
        return this.#head(all, at);
      case 'size':
        return this.#line(all, at, (line) => this.#size(line));
      case 'gap':
        return this.#line(all, at, (line) => {
          this.#part = 'size';
          return line === '' ? null : `"${line.slice(0, 40)}" after a chunk`;
        });
      case 'trailers':
        return this.#line(all, at, (line) => {
          if (line === '') this.#finish();
          return null;
        });
      case 'chunk':
      case 'counted':
        return this.#counted(all, at);
      case 'rest':
        this.#sink.body(at === 0 ? all : all.subarray(at));
        return all.length;
      case 'over':
        // Bytes that nobody asked for: what follows on this connection cannot be told apart.
        this.#keepsAlive = false;
        return all.length;
    }
  }

  #counted(all: Buffer, at: number): number {
    const end = Math.min(all.length, at + this.#left);
    this.#left -= end - at;
    const isLast = this.#left === 0;
    const wasChunk = this.#part === 'chunk';
    if (isLast && wasChunk) this.#part = 'gap';
    this.#sink.body(all.subarray(at, end));
    if (isLast && !wasChunk) this.#finish();
    return end;
  }

  #line(all: Buffer, at: number, take: (line: string) => string | null): number | string {
    const end = all.indexOf(LF, at);
    if (end === -1 || end - at > LINE_BYTES_MAX) {
      return all.length - at > LINE_BYTES_MAX ? `a line of over ${LINE_BYTES_MAX} bytes` : at;
    }
    const to = end > at && all[end - 1] === CR ? end - 1 : end;
    return take(all.toString('latin1', at, to)) ?? end + 1;
  }

  #size(line: string): string | null {
    const digits = /^[0-9a-f]{1,12}(?=\s*(;|$))/i.exec(line)?.[0];
    if (digits === undefined) return `"${line.slice(0, 40)}" where a chunk's size belongs`;
    this.#left = Number.parseInt(digits, 16);
    this.#part = this.#left === 0 ? 'trailers' : 'chunk';
    return null;
  }

  #head(all: Buffer, at: number): number | string {
    const known = Math.min(PROTOCOL.length, all.length - at);
    if (all.compare(PROTOCOL, 0, known, at, at + known) !== 0) {
      const begin = all.toString('latin1', at, Math.min(all.length, at + 40)).trim();
      return `"${begin}" is no HTTP/1 answer`;
    }
    const end = endOfHead(all, at);
    if (end === null) return all.length - at > HEAD_BYTES_MAX ? 'a head of over 16 KiB' : at;
    const [first = '', ...lines] = all.toString('latin1', at, end).trimEnd().split(/\r?\n/);
    const [, minor, digits] = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(first) ?? [];
    if (digits === undefined) return `"${first.slice(0, 40)}" is no status line`;
    const headers = headersOf(lines);
    if (headers === null) return 'a header without a colon';
    const status = Number(digits);
    // 100 to 199 only announce the answer.
    return status < 200 ? end : (this.#begin(status, headers, minor === '1') ?? end);
  }

  #begin(
    status: number,
    headers: ReadonlyMap<string, string>,
    isPersistent: boolean,
  ): string | null {
    const connection = headers.get('connection')?.toLowerCase() ?? '';
    const keeps = isPersistent ? !connection.includes('close') : connection.includes('keep-alive');
    const coding = headers.get('transfer-encoding')?.toLowerCase();
    const length = headers.get('content-length');
    if (coding === undefined && length !== undefined && !/^\d{1,15}$/.test(length)) {
      return `content-length is "${length.slice(0, 40)}"`;
    }
    const isBare = status === 204 || status === 304;
    if (isBare) this.#left = 0;
    else this.#left = coding === undefined && length !== undefined ? Number(length) : 0;
    const isChunked = !isBare && coding !== undefined && coding.endsWith('chunked');
    const isCounted = isBare || (coding === undefined && length !== undefined);
    this.#keepsAlive = keeps && (isChunked || isCounted);
    this.#part = isChunked ? 'size' : isCounted ? 'counted' : 'rest';
    this.#sink.head(status, headers);
    if (isCounted && this.#left === 0) this.#finish();
    return null;
  }

  #finish(): void {
    this.#part = 'over';
    this.#sink.end();
  }
}

/** The place after the empty line that ends a head; null where it is not here yet. */
function endOfHead(all: Buffer, from: number): number | null {
  for (let at = all.indexOf(LF, from); at !== -1; at = all.indexOf(LF, at + 1)) {
    const next = all[at + 1] === CR ? at + 2 : at + 1;
    if (all[next] === LF) return next + 1;
  }
  return null;
}

/** Names in lower case; what is there several times is joined. Null where a line is no header. */
function headersOf(lines: readonly string[]): Map<string, string> | null {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) return null;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return headers;
}
