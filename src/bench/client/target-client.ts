/**
 * The client of one target: sends calls over kept-alive connections and gives a record for each.
 * Owns its sockets and the watch over limits. A request never rejects and never hangs; the client
 * adds no queue of its own.
 */
import { validateHeaderValue } from 'node:http';
import type { RequestRecord } from '../result.ts';
import type { Call } from './call.ts';
import { Connections } from './connections.ts';
import { type Ended, Exchange, type ExchangeOptions } from './exchange.ts';
import type { RequestLimits } from './limits.ts';
import type { ClientMeter } from './meter.ts';
import { QUIRKS } from './stream-reader.ts';

export interface ClientOptions {
  /** Without /v1 and without a slash at its end. */
  readonly url: string;
  readonly apiKey: string | null;
  readonly limits: RequestLimits;
}

/**
 * Gaps that the records of one client keep, over all requests; later ones keep their worst
 * alone.
 */
export const GAPS_KEPT_MAX = 5_000_000;
/** Limits are looked at so often, or four times within the shortest of them. */
const WATCH_MS = 250;

export class TargetClient {
  readonly #url: URL;
  /** Header lines of every request, but for its length. */
  readonly #headers: string;
  readonly #limits: RequestLimits;
  readonly #connections: Connections;
  readonly #open = new Set<Exchange>();
  readonly #watch: NodeJS.Timeout;
  #meter: ClientMeter | null = null;
  #epoch = performance.now();
  #gapsKept = 0;
  #pieces = 0;
  /** What is unusual about the target, seen so far. */
  readonly quirks = new Set<string>();

  constructor({ url, apiKey, limits }: ClientOptions) {
    this.#url = new URL(url);
    this.#headers = headerLines({
      host: this.#url.host,
      connection: 'keep-alive',
      'content-type': 'application/json',
      'user-agent': 'plenum-bench',
      ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    });
    this.#connections = new Connections(this.#url);
    this.#limits = limits;
    const { connectMsMax, firstMsMax, stallMsMax, totalMsMax } = limits;
    const shortest = Math.min(connectMsMax, firstMsMax, stallMsMax, totalMsMax);
    const period = Math.max(5, Math.min(WATCH_MS, shortest / 4));
    this.#watch = setInterval(() => this.#check(), period).unref();
  }

  /**
   * Requests from now on are of a new run: their times count from `epoch`, their cost on
   * `meter`.
   */
  begin(epoch: number, meter: ClientMeter | null): void {
    this.#epoch = epoch;
    this.#meter = meter;
    this.#pieces = 0;
  }

  /** Pieces of text since `begin`. */
  get pieces(): number {
    return this.#pieces;
  }

  async send(call: Call, intendedAt: number): Promise<RequestRecord> {
    const sentAt = performance.now();
    this.#meter?.sent(intendedAt, sentAt);
    const times = { epoch: this.#epoch, intendedAt, sentAt };
    const first = await this.#try(call, times, false);
    // A server may close an idle connection at the moment in which it is used again: no answer was
    // begun, so nothing was served. Its time still counts from the first try.
    const ended = first.stale ? await this.#try(call, times, true) : first;
    if (first.stale) this.quirks.add(QUIRKS.reconnects);
    for (const quirk of ended.quirks) this.quirks.add(quirk);
    return ended.record;
  }

  abortAll(): void {
    for (const exchange of this.#open) exchange.abort();
  }

  close(): void {
    this.abortAll();
    clearInterval(this.#watch);
    this.#connections.close();
  }

  #try(
    call: Call,
    times: Pick<ExchangeOptions, 'epoch' | 'intendedAt' | 'sentAt'>,
    isFresh: boolean,
  ): Promise<Ended> {
    return new Promise((resolve) => {
      const options = {
        ...times,
        call,
        isFresh,
        message: this.#message(call),
        connections: this.#connections,
        limits: this.#limits,
        meter: this.#meter,
        keepGaps: (count: number) => this.#keepGaps(count),
        onPiece: (pieces: number) => {
          this.#pieces += pieces;
        },
      };
      this.#open.add(new Exchange(options, resolve));
    });
  }

  #message({ path, body }: Call): string {
    const { pathname } = this.#url;
    const whole = pathname === '/' ? path : `${pathname}${path}`;
    const length = Buffer.byteLength(body);
    return `POST ${whole} HTTP/1.1\r\n${this.#headers}content-length: ${length}\r\n\r\n${body}`;
  }

  #keepGaps(count: number): boolean {
    if (this.#gapsKept + count > GAPS_KEPT_MAX) return false;
    this.#gapsKept += count;
    return true;
  }

  #check(): void {
    const now = performance.now();
    for (const exchange of this.#open) {
      exchange.check(now);
      if (exchange.isOver) this.#open.delete(exchange);
    }
  }
}

/** Throws where a value would break the head of a request, as a key with a line break does. */
function headerLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => {
      validateHeaderValue(name, value);
      return `${name}: ${value}\r\n`;
    })
    .join('');
}
