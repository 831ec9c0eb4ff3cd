/**
 * Reads one streamed answer: when its pieces of text arrived, how it ended, what it counted. Says
 * by a value what was wrong with it; it knows no sockets and no limits of time.
 */
import type { ErrorKind } from '../result.ts';
import { readChunk, shorten, type Usage } from './chunk.ts';
import { PIECES_EXTRA_MAX, PIECES_PER_TOKEN_MAX } from './limits.ts';
import { LINE_BYTES_MAX, SseScanner } from './sse-scanner.ts';

export interface Fault {
  readonly kind: ErrorKind;
  readonly message: string;
}

export const QUIRKS = {
  noUsage: 'streams carry no usage: tokens are counted as pieces of text',
  noDone: 'streams end without [DONE]',
  noFinish: 'streams end without a finish_reason',
  roleFirst: 'the first chunk has a role and no text: it is not counted as the first token',
  comments: 'streams carry keep-alive comments',
  several: 'pieces of text hold several tokens: gaps are between pieces',
  staysOpen: 'the connection stays open after [DONE]',
  reconnects: 'idle connections are closed by the server: requests were sent again on a new one',
  noContentType: 'streams have no content type',
} as const;

export class StreamReader {
  readonly #scanner = new SseScanner({
    event: (data, name) => this.#event(data, name),
    comment: () => {
      this.quirks.add(QUIRKS.comments);
    },
    stray: (line) => {
      this.#stray ??= line;
    },
  });
  readonly #piecesMax: number;
  #at = 0;
  #firstAt: number | null = null;
  #lastAt = 0;
  #pieces = 0;
  #gapMax: number | null = null;
  #finish: string | null = null;
  #usage: Usage | null = null;
  #fault: Fault | null = null;
  #stray: string | null = null;
  #isDone = false;
  readonly gaps: number[] = [];
  readonly quirks = new Set<string>();

  constructor(outputTokensMax: number) {
    this.#piecesMax = outputTokensMax * PIECES_PER_TOKEN_MAX + PIECES_EXTRA_MAX;
  }

  get firstAt(): number | null {
    return this.#firstAt;
  }
  get pieces(): number {
    return this.#pieces;
  }
  get gapMax(): number | null {
    return this.#gapMax;
  }
  get finish(): string | null {
    return this.#finish;
  }
  get usage(): Usage | null {
    return this.#usage;
  }
  /** [DONE] was read: what follows is nobody's. */
  get isDone(): boolean {
    return this.#isDone;
  }
  /** What makes the answer a bad one; nothing good comes after it. */
  get fault(): Fault | null {
    return this.#fault;
  }

  push(bytes: Buffer, at: number): void {
    this.#at = at;
    if (this.#scanner.push(bytes)) return;
    this.#fault ??= { kind: 'garbage', message: `a line of more than ${LINE_BYTES_MAX} bytes` };
  }

  /** The stream has ended: what it lacks, if anything. */
  end(at: number): Fault | null {
    this.#at = at;
    this.#scanner.end();
    if (this.#fault !== null) return this.#fault;
    if (this.#finish === null && !this.#isDone) return this.#cutOff();
    if (this.#pieces === 0) {
      return { kind: 'empty', message: `no text; finish_reason ${this.#finish ?? 'missing'}` };
    }
    this.#noteQuirks();
    return null;
  }

  #cutOff(): Fault {
    if (this.#pieces === 0 && this.#stray !== null) {
      return { kind: 'garbage', message: `not server-sent events: ${shorten(this.#stray)}` };
    }
    const after = this.#pieces === 0 ? 'any text' : `[DONE], after ${this.#pieces} pieces of text`;
    return { kind: 'ended_early', message: `the stream ended before ${after}` };
  }

  #noteQuirks(): void {
    const counted = this.#usage?.outputTokens ?? null;
    if (counted === null) this.quirks.add(QUIRKS.noUsage);
    // Special tokens and the end of text are counted and have no text: a few more are no sign.
    else if (counted > this.#pieces * 1.5 + 2) this.quirks.add(QUIRKS.several);
    if (!this.#isDone) this.quirks.add(QUIRKS.noDone);
    if (this.#finish === null) this.quirks.add(QUIRKS.noFinish);
  }

  #event(data: string, name: string): void {
    if (this.#isDone || this.#fault !== null) return;
    if (data === '[DONE]') {
      this.#isDone = true;
      return;
    }
    const chunk = readChunk(data, name);
    if (chunk === null) {
      this.#fault = { kind: 'garbage', message: `an event that is not JSON: ${shorten(data)}` };
      return;
    }
    if (chunk.error !== null) {
      this.#fault = { kind: 'error_event', message: chunk.error };
      return;
    }
    if (chunk.usage !== null) this.#usage = chunk.usage;
    if (chunk.finish !== null) this.#finish = chunk.finish;
    if (chunk.hasText) this.#piece();
    else if (chunk.isBare && this.#pieces === 0) this.quirks.add(QUIRKS.roleFirst);
  }

  #piece(): void {
    if (this.#firstAt === null) this.#firstAt = this.#at;
    else {
      const gap = this.#at - this.#lastAt;
      this.gaps.push(gap);
      if (this.#gapMax === null || gap > this.#gapMax) this.#gapMax = gap;
    }
    this.#lastAt = this.#at;
    this.#pieces += 1;
    if (this.#pieces <= this.#piecesMax) return;
    const message = `${this.#pieces} pieces of text, over ${this.#piecesMax} that were to be expected`;
    this.#fault = { kind: 'endless', message };
  }
}
