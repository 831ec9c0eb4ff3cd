/**
 * Server-sent events out of bytes as they arrive, at the cost of one scan for line ends. Hands over
 * the `data` of every event and counts what is no event; it does not read JSON. Borders of chunks
 * may lie anywhere, in the middle of a character too.
 */

export interface SseSink {
  /** `name` is the event's name where it has one, otherwise ''. */
  event(data: string, name: string): void;
  /** A line that begins with a colon: sent to keep a connection alive. */
  comment(): void;
  /** A line that is none of the fields of an event. */
  stray(line: string): void;
}

/** Longest line that is kept, in bytes; a longer one is no event of any model. */
export const LINE_BYTES_MAX = 8 << 20;

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const LETTER_D = 0x64;

export class SseScanner {
  readonly #sink: SseSink;
  #rest: Buffer | null = null;
  #data: string | null = null;
  #name = '';

  constructor(sink: SseSink) {
    this.#sink = sink;
  }

  /** Returns false where a line is longer than `LINE_BYTES_MAX`; nothing may follow then. */
  push(bytes: Buffer): boolean {
    const all = this.#rest === null ? bytes : Buffer.concat([this.#rest, bytes]);
    let start = 0;
    for (;;) {
      const end = all.indexOf(LF, start);
      if (end === -1) break;
      this.#line(all, start, end > start && all[end - 1] === CR ? end - 1 : end);
      start = end + 1;
    }
    this.#rest = start === all.length ? null : all.subarray(start);
    return this.#rest === null || this.#rest.length <= LINE_BYTES_MAX;
  }

  /** The stream is over: an event without its empty line counts, as many servers end so. */
  end(): void {
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null) this.#line(rest, 0, rest.length);
    this.#dispatch();
  }

  #line(all: Buffer, start: number, end: number): void {
    if (end === start) {
      this.#dispatch();
      return;
    }
    const first = all[start];
    // "data:" is nearly every line there is.
    if (first === LETTER_D && all[start + 4] === COLON) {
      const from = all[start + 5] === SPACE ? start + 6 : start + 5;
      const text = all.toString('utf8', Math.min(from, end), end);
      this.#data = this.#data === null ? text : `${this.#data}\n${text}`;
    } else if (first === COLON) this.#sink.comment();
    else this.#other(all.toString('utf8', start, end));
  }

  #other(line: string): void {
    const [, field = '', value = ''] = /^(event|id|retry|data)(?::\s?(.*))?$/.exec(line) ?? [];
    if (field === 'event') this.#name = value;
    else if (field === '') this.#sink.stray(line);
  }

  #dispatch(): void {
    const data = this.#data;
    const name = this.#name;
    this.#data = null;
    this.#name = '';
    if (data !== null) this.#sink.event(data, name);
  }
}
