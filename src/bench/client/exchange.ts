/**
 * One request and its answer on the wire, to exactly one end: good, an error with its kind, or
 * aborted. Never throws and never waits for ever: `check` is called by the client's watch and ends
 * what is over a limit.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { RequestRecord } from '../result.ts';
import { judgeAnswer, judgeRefusal, judgeSocket, retryAfterMs } from './answer.ts';
import { type Call, streams } from './call.ts';
import type { Usage } from './chunk.ts';
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

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #request: ClientRequest;
  readonly #settle: (ended: Ended) => void;
  readonly #reader: StreamReader | null;
  readonly #parts: Buffer[] = [];
  #isConnected = false;
  #response: IncomingMessage | null = null;
  #status: number | null = null;
  #headersAt: number | null = null;
  #lastByteAt: number;
  #size = 0;
  #isSettled = false;
  #lingerFrom: number | null = null;
  #isClosed = false;

  constructor(options: ExchangeOptions, request: ClientRequest, settle: (ended: Ended) => void) {
    this.#options = options;
    this.#request = request;
    this.#settle = settle;
    this.#lastByteAt = options.sentAt;
    this.#reader = streams(options.call) ? new StreamReader(options.call.outputTokensMax) : null;
    request.on('socket', (socket) => {
      if (!socket.connecting) this.#isConnected = true;
      else
        socket.once('connect', () => {
          this.#isConnected = true;
        });
    });
    request.on('response', (response) => this.#answer(response));
    request.on('error', (error) => this.#broken(error));
    request.on('close', () => {
      this.#isClosed = true;
    });
  }

  /** Over, and its connection with it or back among the idle ones: `check` need not be called. */
  get isOver(): boolean {
    return this.#isSettled && this.#isClosed;
  }

  abort(): void {
    this.#finish('aborted', null);
    this.#request.destroy();
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
    this.#request.destroy();
  }

  #late(now: number): Fault | null {
    const { limits, sentAt } = this.#options;
    const over = (since: number, limit: number): boolean => now - since > limit;
    if (!this.#isConnected && over(sentAt, limits.connectMsMax)) {
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
    if (hasBegun && over(this.#lastByteAt, limits.stallMsMax)) {
      return { kind: 'stalled', message: `nothing more for ${limits.stallMsMax} ms` };
    }
    return null;
  }

  #answer(response: IncomingMessage): void {
    this.#response = response;
    this.#headersAt = performance.now();
    this.#lastByteAt = this.#headersAt;
    this.#status = response.statusCode ?? null;
    response.on('error', (error) => this.#broken(error));
    response.on('close', () => {
      if (!response.complete) this.#broken(new Error('the connection closed before the end'));
    });
    if (this.#status !== 200) {
      response.on('data', (bytes: Buffer) => this.#collect(bytes, REFUSAL_BYTES_MAX));
      response.on('end', () => this.#refused());
      return;
    }
    const fault = this.#typeFault(response.headers['content-type']);
    if (fault !== null) this.#fail(fault);
    else if (this.#reader === null) {
      response.on('data', (bytes: Buffer) => this.#collect(bytes, this.#options.limits.bytesMax));
      response.on('end', () => this.#whole());
    } else {
      response.on('data', (bytes: Buffer) => this.#stream(bytes));
      response.on('end', () => this.#streamEnd());
    }
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

  #stream(bytes: Buffer): void {
    const at = performance.now();
    const { meter, limits, onPiece } = this.#options;
    const reader = this.#reader;
    if (reader === null || this.#isSettled) return;
    meter?.arrived(at);
    this.#lastByteAt = at;
    this.#size += bytes.length;
    const before = reader.pieces;
    reader.push(bytes, at);
    if (reader.pieces > before) onPiece(reader.pieces - before);
    meter?.parsed(performance.now());
    if (reader.fault !== null) this.#fail(reader.fault);
    else if (this.#size > limits.bytesMax) {
      this.#fail({ kind: 'endless', message: `more than ${limits.bytesMax} bytes` });
    } else if (reader.isDone) {
      this.#lingerFrom = at;
      this.#streamEnd();
    }
  }

  #streamEnd(): void {
    this.#lingerFrom = this.#response?.complete === true ? null : this.#lingerFrom;
    if (this.#isSettled || this.#reader === null) return;
    const fault = this.#reader.end(performance.now());
    if (fault === null) this.#finish('ok', null);
    else this.#fail(fault);
  }

  #collect(bytes: Buffer, limit: number): void {
    if (this.#isSettled) return;
    this.#lastByteAt = performance.now();
    this.#size += bytes.length;
    if (this.#size <= limit) {
      this.#parts.push(bytes);
      return;
    }
    if (this.#status === 200) {
      this.#fail({ kind: 'endless', message: `more than ${limit} bytes` });
      return;
    }
    this.#refused();
    this.#request.destroy();
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

  #broken(error: NodeJS.ErrnoException): void {
    if (this.#isSettled) return;
    const stale = this.#request.reusedSocket && this.#response === null && error.code !== undefined;
    this.#finish('error', judgeSocket(error, this.#isConnected), { stale });
  }

  #fail(fault: Fault): void {
    this.#finish('error', fault);
    this.#request.destroy();
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
    const retry = this.#response?.headers['retry-after'];
    const status = this.#status;
    return {
      index: call.index,
      kind: call.kind,
      conversation: call.conversation,
      turn: call.turn,
      intendedMs: since(intendedAt),
      sentMs: since(sentAt),
      headersMs: sinceOrNull(this.#headersAt),
      firstTokenMs: sinceOrNull(reader?.firstAt ?? null),
      endMs: since(performance.now()),
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
