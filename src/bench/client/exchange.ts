/**
 * One request and its answer on the wire, to exactly one end: good, an error with its kind, or
 * aborted. Never throws and never waits for ever: `check` is called by the client's watch and ends
 * what is over a limit.
 */
import type { RequestRecord } from '../result.ts';
import { judgeAnswer, judgeRefusal, judgeSocket, retryAfterMs } from './answer.ts';
import { AnswerReader } from './answer-reader.ts';
import { type Call, streams } from './call.ts';
import { shorten, type Usage } from './chunk.ts';
import type { Connection, Connections } from './connections.ts';
import { REFUSAL_BYTES_MAX, type RequestLimits } from './limits.ts';
import type { ClientMeter } from './meter.ts';
import { type Fault, QUIRKS, StreamReader } from './stream-reader.ts';

export interface ExchangeOptions {
  readonly call: Call;
  readonly limits: RequestLimits;
  readonly meter: ClientMeter | null;
  /** performance.now() of: the run's start, the moment intended, the moment sent. */
  readonly epoch: number;
  readonly intendedAt: number;
  readonly sentAt: number;
  /** Head and body, as they go over the wire. */
  readonly message: string;
  readonly connections: Connections;
  /** On a new connection, whatever is idle. */
  readonly isFresh: boolean;
  /** Whether the list of gaps may be kept: their number is limited over all requests. */
  readonly keepGaps: (count: number) => boolean;
  readonly onPiece: (pieces: number) => void;
}

export interface Ended {
  readonly record: RequestRecord;
  readonly quirks: ReadonlySet<string>;
  /** Nothing of an answer came on a connection that had served before: worth another try. */
  readonly stale: boolean;
}

/** The connection may stay open so long after [DONE] before it is closed from here. */
const LINGER_MS_MAX = 1000;

/** A server that says how long it keeps an idle connection is believed, less this. */
const IDLE_MARGIN_MS = 1000;

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #connection: Connection;
  readonly #settle: (ended: Ended) => void;
  readonly #answer: AnswerReader;
  readonly #reader: StreamReader | null;
  readonly #parts: Buffer[] = [];
  #status: number | null = null;
  #headers: ReadonlyMap<string, string> = new Map();
  #headersAt: number | null = null;
  /** Of the bytes that are being looked at. */
  #at: number;
  #size = 0;
  #isSettled = false;
  #lingerFrom: number | null = null;
  #isClosed = false;

  /** Sends at once. */
  constructor(options: ExchangeOptions, settle: (ended: Ended) => void) {
    this.#options = options;
    this.#settle = settle;
    this.#at = options.sentAt;
    this.#reader = streams(options.call) ? new StreamReader(options.call.outputTokensMax) : null;
    this.#answer = new AnswerReader({
      head: (status, headers) => this.#head(status, headers),
      body: (bytes) => this.#body(bytes),
      end: () => this.#complete(),
    });
    const user = {
      data: (bytes: Buffer, at: number) => this.#data(bytes, at),
      closed: (error: NodeJS.ErrnoException | null) => this.#closed(error),
    };
    this.#connection = options.connections.take(user, options);
    this.#connection.send(options.message);
  }

  /** Over, and its connection with it or back among the idle ones: `check` need not be called. */
  get isOver(): boolean {
    return this.#isSettled && this.#isClosed;
  }

  abort(): void {
    this.#finish('aborted', null);
    this.#hangUp();
  }

  /** Ends it where a limit is passed. */
  check(now: number): void {
    if (this.#isSettled) {
      if (this.#lingerFrom !== null && now - this.#lingerFrom > LINGER_MS_MAX) this.#hangUp();
      return;
    }
    const fault = this.#late(now);
    if (fault !== null) this.#fail(fault);
  }

  #hangUp(): void {
    this.#lingerFrom = null;
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.destroy();
  }

  #late(now: number): Fault | null {
    const { limits, sentAt } = this.#options;
    const over = (since: number, limit: number): boolean => now - since > limit;
    if (!this.#connection.isConnected && over(sentAt, limits.connectMsMax)) {
      return { kind: 'connect_failed', message: `no connection in ${limits.connectMsMax} ms` };
    }
    if (over(sentAt, limits.totalMsMax)) {
      return { kind: 'too_long', message: `not complete in ${limits.totalMsMax} ms` };
    }
    const hasBegun = (this.#reader?.firstAt ?? null) !== null;
    if (!hasBegun && over(sentAt, limits.firstMsMax)) {
      const kind = this.#headersAt === null ? 'no_answer' : 'stalled';
      const what = this.#reader === null ? 'no answer' : 'no text';
      return { kind, message: `${what} in ${limits.firstMsMax} ms` };
    }
    if (hasBegun && over(this.#at, limits.stallMsMax)) {
      return { kind: 'stalled', message: `nothing more for ${limits.stallMsMax} ms` };
    }
    return null;
  }

  #data(bytes: Buffer, at: number): void {
    this.#options.meter?.arrived(at);
    this.#at = at;
    const fault = this.#answer.push(bytes);
    this.#options.meter?.parsed(performance.now());
    if (fault !== null) this.#fail({ kind: 'garbage', message: `not HTTP: ${shorten(fault)}` });
  }

  #head(status: number, headers: ReadonlyMap<string, string>): void {
    this.#headersAt = this.#at;
    this.#status = status;
    this.#headers = headers;
    if (status !== 200) return;
    const fault = this.#typeFault(headers.get('content-type'));
    if (fault !== null) this.#fail(fault);
  }

  #body(bytes: Buffer): void {
    if (this.#status !== 200) this.#collect(bytes, REFUSAL_BYTES_MAX);
    else if (this.#reader === null) this.#collect(bytes, this.#options.limits.bytesMax);
    else this.#stream(bytes, this.#reader);
  }

  /** The answer is all here: its connection is free. */
  #complete(): void {
    this.#lingerFrom = null;
    if (!this.#isClosed) {
      this.#isClosed = true;
      if (this.#answer.keepsAlive) this.#connection.release(idleMsMax(this.#headers));
      else this.#connection.destroy();
    }
    if (this.#status !== 200) this.#refused();
    else if (this.#reader === null) this.#whole();
    else this.#streamEnd();
  }

  #closed(error: NodeJS.ErrnoException | null): void {
    this.#isClosed = true;
    if (error === null) this.#answer.close();
    if (this.#isSettled) return;
    const stale = this.#connection.isReused && !this.#answer.hasBegun;
    const broken = error ?? new Error('the connection closed before the end');
    this.#finish('error', judgeSocket(broken, this.#connection.isConnected), { stale });
  }

  #typeFault(type: string | undefined): Fault | null {
    const wanted = this.#reader === null ? 'application/json' : 'text/event-stream';
    if (type === undefined) {
      this.#reader?.quirks.add(QUIRKS.noContentType);
      return null;
    }
    if (type.toLowerCase().startsWith(wanted)) return null;
    return { kind: 'wrong_content_type', message: `content type ${type} instead of ${wanted}` };
  }

  #stream(bytes: Buffer, reader: StreamReader): void {
    if (this.#isSettled) return;
    const { limits, onPiece } = this.#options;
    this.#size += bytes.length;
    const before = reader.pieces;
    reader.push(bytes, this.#at);
    if (reader.pieces > before) onPiece(reader.pieces - before);
    if (reader.fault !== null) this.#fail(reader.fault);
    else if (this.#size > limits.bytesMax) {
      this.#fail({ kind: 'endless', message: `more than ${limits.bytesMax} bytes` });
    } else if (reader.isDone) {
      this.#lingerFrom = this.#at;
      this.#streamEnd();
    }
  }

  #streamEnd(): void {
    if (this.#isSettled || this.#reader === null) return;
    const fault = this.#reader.end(this.#at);
    if (fault === null) this.#finish('ok', null);
    else this.#fail(fault);
  }

  #collect(bytes: Buffer, limit: number): void {
    if (this.#isSettled) return;
    this.#size += bytes.length;
    if (this.#size <= limit) this.#parts.push(bytes);
    else if (this.#status === 200) {
      this.#fail({ kind: 'endless', message: `more than ${limit} bytes` });
    } else {
      this.#refused();
      this.#hangUp();
    }
  }

  #text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }

  #whole(): void {
    if (this.#isSettled) return;
    const { usage, fault } = judgeAnswer(this.#text(), this.#options.call.items);
    this.#finish(fault === null ? 'ok' : 'error', fault, { usage });
  }

  #refused(): void {
    if (!this.#isSettled) this.#finish('error', judgeRefusal(this.#status ?? 0, this.#text()));
  }

  #fail(fault: Fault): void {
    this.#finish('error', fault);
    this.#hangUp();
  }

  #finish(
    outcome: RequestRecord['outcome'],
    fault: Fault | null,
    { usage, stale }: { readonly usage?: Usage | null; readonly stale?: boolean } = {},
  ): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const record = this.#record(outcome, fault, usage ?? this.#reader?.usage ?? null);
    this.#settle({ record, quirks: this.#reader?.quirks ?? new Set(), stale: stale === true });
  }

  #record(
    outcome: RequestRecord['outcome'],
    fault: Fault | null,
    usage: Usage | null,
  ): RequestRecord {
    const { call, epoch, intendedAt, sentAt, keepGaps } = this.#options;
    const reader = this.#reader;
    const pieces = reader?.pieces ?? 0;
    const counted = usage?.outputTokens ?? null;
    const since = (at: number): number => rounded(at - epoch);
    const sinceOrNull = (at: number | null): number | null => (at === null ? null : since(at));
    const retry = this.#headers.get('retry-after');
    const status = this.#status;
    const isGood = outcome === 'ok';
    return {
      index: call.index,
      kind: call.kind,
      conversation: call.conversation,
      turn: call.turn,
      intendedMs: since(intendedAt),
      sentMs: since(sentAt),
      headersMs: sinceOrNull(this.#headersAt),
      firstTokenMs: sinceOrNull(reader?.firstAt ?? null),
      endMs: since(isGood ? this.#at : performance.now()),
      promptTokens: usage?.promptTokens ?? null,
      cachedTokens: usage?.cachedTokens ?? null,
      outputTokens: reader === null ? null : (counted ?? pieces),
      outputTokensFrom: reader === null ? null : counted === null ? 'chunks' : 'usage',
      chunks: pieces,
      gapsMs: reader !== null && keepGaps(reader.gaps.length) ? reader.gaps.map(rounded) : null,
      gapMaxMs: reader?.gapMax == null ? null : rounded(reader.gapMax),
      outcome,
      finish: reader?.finish ?? null,
      error: fault === null ? null : { ...fault, status },
      retryAfterMs: status === 200 ? null : retryAfterMs(retry, Date.now()),
    };
  }
}

/** To a microsecond: what is finer is noise. */
const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;

/** `Keep-Alive: timeout=5` is five seconds; without one a connection is kept until it closes. */
function idleMsMax(headers: ReadonlyMap<string, string>): number {
  const seconds = /\btimeout=(\d+)/.exec(headers.get('keep-alive') ?? '')?.[1];
  if (seconds === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(0, Number(seconds) * 1000 - IDLE_MARGIN_MS);
}
