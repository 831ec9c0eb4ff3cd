/**
 * The client of one target: sends calls over kept-alive connections and gives a record for each.
 * Owns its sockets and the watch over limits. A request never rejects and never hangs; the client
 * adds no queue of its own.
 */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { RequestRecord } from '../result.ts';
import type { Call } from './call.ts';
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
  readonly #headers: Readonly<Record<string, string>>;
  readonly #limits: RequestLimits;
  readonly #agent: HttpAgent | HttpsAgent;
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
    this.#headers = {
      'content-type': 'application/json',
      'user-agent': 'plenum-bench',
      ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    };
    this.#limits = limits;
    const agent = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 4096 };
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(agent) : new HttpAgent(agent);
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
    const first = await this.#try(call, times);
    // A server may close an idle connection at the moment in which it is used again: no answer was
    // begun, so nothing was served. Its time still counts from the first try.
    const ended = first.stale ? await this.#try(call, times) : first;
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
    this.#agent.destroy();
  }

  #try(
    call: Call,
    times: Pick<ExchangeOptions, 'epoch' | 'intendedAt' | 'sentAt'>,
  ): Promise<Ended> {
    return new Promise((resolve) => {
      const options = {
        ...times,
        call,
        limits: this.#limits,
        meter: this.#meter,
        keepGaps: (count: number) => this.#keepGaps(count),
        onPiece: (pieces: number) => {
          this.#pieces += pieces;
        },
      };
      const request = this.#request(call);
      this.#open.add(new Exchange(options, request, resolve));
      request.end(call.body);
    });
  }

  #request({ path, body }: Call): ClientRequest {
    const { protocol, hostname, port, pathname } = this.#url;
    const send = protocol === 'https:' ? httpsRequest : httpRequest;
    return send({
      method: 'POST',
      agent: this.#agent,
      protocol,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path: pathname === '/' ? path : `${pathname}${path}`,
      headers: { ...this.#headers, 'content-length': Buffer.byteLength(body) },
    });
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
