/**
 * Drives one run: sends the requests of a workload in an open or a closed loop, until its time or
 * its number is over, its signal ends it, or the target has fallen away. Gives every record; never
 * throws for what a target does.
 */
import type { Call } from '../client/call.ts';
import type { TargetClient } from '../client/target-client.ts';
import type { RequestRecord, TimelineSample } from '../result.ts';
import { waitFor, waitUntil } from './wait.ts';
import type { Workload } from './workload.ts';

export interface DriveOptions {
  readonly client: TargetClient;
  readonly workload: Workload;
  readonly pace: Pace;
  /** performance.now() of the start. */
  readonly epoch: number;
  readonly signal: AbortSignal;
  /** After the last was sent, the rest may take so long; then it is cut off. */
  readonly drainMsMax: number;
  readonly onSample: (sample: TimelineSample, records: readonly RequestRecord[]) => void;
}

export type Pace =
  | { readonly mode: 'open'; readonly arrivals: readonly number[] }
  | {
      readonly mode: 'closed';
      readonly clients: number;
      readonly durationMs: number | null;
      readonly requests: number | null;
    };

export interface Driven {
  readonly records: readonly RequestRecord[];
  readonly timeline: readonly TimelineSample[];
  readonly wallMs: number;
  readonly sent: number;
  /** Why it ended before its time, in words; null where it did not. */
  readonly cutShort: string | null;
}

/** So many errors one after the other, with nothing good between, and the target counts as gone. */
export const ERRORS_IN_A_ROW_MAX = 100;
/** An open loop has no more requests than this on their way. */
export const IN_FLIGHT_MAX = 4096;
const SAMPLE_MS = 1000;
/** A client of a closed loop waits as long as Retry-After says, but no longer than this. */
const RETRY_AFTER_MS_MAX = 5000;
/**
 * After a refusal without Retry-After or a lost connection, so that a dead target is not
 * hammered.
 */
const BACKOFF_MS = 100;

export async function drive(options: DriveOptions): Promise<Driven> {
  const driver = new Driver(options);
  return driver.run();
}

class Driver {
  readonly #options: DriveOptions;
  readonly #records: RequestRecord[] = [];
  readonly #timeline: TimelineSample[] = [];
  /** Ends the sending: the caller's signal, or the target's end. */
  readonly #stop = new AbortController();
  #inFlight = 0;
  #sent = 0;
  #errors = 0;
  #errorsInARow = 0;
  #cutShort: string | null = null;

  constructor(options: DriveOptions) {
    this.#options = options;
  }

  async run(): Promise<Driven> {
    const { signal, epoch, pace, client } = this.#options;
    const onAbort = (): void => {
      this.#end('interrupted');
      client.abortAll();
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
    const sampler = setInterval(() => this.#sample(), SAMPLE_MS);
    try {
      await (pace.mode === 'open' ? this.#open(pace.arrivals) : this.#closed(pace));
    } finally {
      clearInterval(sampler);
      signal.removeEventListener('abort', onAbort);
    }
    this.#sample();
    const wallMs = Math.max(0, ...this.#records.map(({ endMs }) => endMs));
    return {
      records: this.#records.toSorted((a, b) => a.index - b.index),
      timeline: this.#timeline,
      wallMs: wallMs > 0 ? wallMs : performance.now() - epoch,
      sent: this.#sent,
      cutShort: this.#cutShort,
    };
  }

  async #open(arrivals: readonly number[]): Promise<void> {
    const { workload, epoch } = this.#options;
    const pending = new Set<Promise<unknown>>();
    for (const [index, at] of arrivals.entries()) {
      // Made before its time, so that making it does not delay it.
      const call = workload.at(index);
      if (!(await waitUntil(epoch + at, this.#stop.signal))) break;
      if (this.#inFlight >= IN_FLIGHT_MAX) {
        this.#keep(tooMany(call, at, performance.now() - epoch));
        continue;
      }
      const sending = this.#send(call, epoch + at).finally(() => pending.delete(sending));
      pending.add(sending);
    }
    await this.#drain(Promise.all(pending));
  }

  async #closed({ clients, durationMs, requests }: Pace & { mode: 'closed' }): Promise<void> {
    const { epoch } = this.#options;
    const until = durationMs === null ? Number.POSITIVE_INFINITY : epoch + durationMs;
    const ends = Array.from({ length: clients }, (_, lane) =>
      this.#lane(lane, { clients, until, requests: requests ?? Number.POSITIVE_INFINITY }),
    );
    const all = Promise.all(ends);
    if (durationMs !== null) {
      const over = new AbortController();
      await Promise.race([all, waitFor(until - performance.now(), over.signal)]);
      over.abort();
    }
    await (durationMs === null ? all : this.#drain(all));
  }

  async #lane(
    lane: number,
    given: { readonly clients: number; readonly until: number; readonly requests: number },
  ): Promise<void> {
    const { clients, until, requests } = given;
    const { workload } = this.#options;
    let next = lane < requests ? workload.at(lane) : null;
    while (next !== null && performance.now() < until && !this.#stop.signal.aborted) {
      const call = next;
      const sending = this.#send(call, performance.now());
      const after = call.index + clients;
      // The next is made while this one is on its way.
      next = after < requests ? workload.at(after) : null;
      const pauseMs = pauseAfter(await sending);
      if (pauseMs > 0) await waitFor(pauseMs, this.#stop.signal);
    }
  }

  /** Waits for what is on its way, and cuts off what takes too long. */
  async #drain(all: Promise<unknown>): Promise<void> {
    const { drainMsMax, client } = this.#options;
    const over = new AbortController();
    const isLate = waitFor(drainMsMax, over.signal).then((elapsed) => elapsed);
    const isDone = all.then(() => false);
    if (await Promise.race([isDone, isLate])) client.abortAll();
    over.abort();
    await all;
  }

  async #send(call: Call, intendedAt: number): Promise<RequestRecord> {
    this.#inFlight += 1;
    this.#sent += 1;
    const record = await this.#options.client.send(call, intendedAt);
    this.#inFlight -= 1;
    this.#keep(record);
    return record;
  }

  #keep(record: RequestRecord): void {
    this.#records.push(record);
    if (record.outcome === 'ok') this.#errorsInARow = 0;
    if (record.outcome !== 'error') return;
    this.#errors += 1;
    this.#errorsInARow += 1;
    if (this.#errorsInARow < ERRORS_IN_A_ROW_MAX) return;
    const last = `${record.error?.kind}: ${record.error?.message}`;
    this.#end(`${ERRORS_IN_A_ROW_MAX} errors one after the other, the last ${last}`);
  }

  #end(reason: string): void {
    this.#cutShort ??= reason;
    this.#stop.abort();
  }

  #sample(): void {
    const sample = {
      atMs: Math.round(performance.now() - this.#options.epoch),
      inFlight: this.#inFlight,
      completed: this.#records.length,
      errors: this.#errors,
      outputTokens: this.#options.client.pieces,
    };
    this.#timeline.push(sample);
    this.#options.onSample(sample, this.#records);
  }
}

function pauseAfter({ outcome, error, retryAfterMs }: RequestRecord): number {
  if (outcome !== 'error') return 0;
  if (retryAfterMs !== null) return Math.min(retryAfterMs, RETRY_AFTER_MS_MAX);
  const isRefusal = error?.kind === 'rate_limited' || error?.kind === 'overloaded';
  return isRefusal || error?.kind === 'connect_failed' || error?.kind === 'connection_lost'
    ? BACKOFF_MS
    : 0;
}

/** The row of a request that this client did not send. */
function tooMany(call: Call, intendedMs: number, nowMs: number): RequestRecord {
  const message = `${IN_FLIGHT_MAX} requests are on their way already`;
  const { index, kind, conversation, turn } = call;
  return {
    ...{ index, kind, conversation, turn, intendedMs, sentMs: nowMs, endMs: nowMs },
    ...{ headersMs: null, firstTokenMs: null, promptTokens: null, cachedTokens: null },
    ...{ outputTokens: null, outputTokensFrom: null, chunks: 0, gapsMs: null, gapMaxMs: null },
    ...{ outcome: 'error', finish: null, error: { kind: 'client', message, status: null } },
    retryAfterMs: null,
  };
}
