/**
 * Keeps one model's host alive: starts it, watches its heartbeat, starts it again when it dies, at
 * once the first time and then ever later, and says why it is not ready. It holds no requests: a
 * request that arrives while there is no host is refused with the reason.
 */
import type { Clock } from '../base/clock.ts';
import { type ErrorRecord, PlenumError } from '../base/errors.ts';
import { formatMillis } from '../base/units.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';
import type { GenerateEvent, GenerateRequest } from '../wire/generation.ts';
import type { HostFacts, HostSpec } from '../wire/host.ts';
import type { ModelState } from '../wire/model-info.ts';
import type { LoadReport } from '../wire/report.ts';
import type { TurnOrder } from '../wire/turn.ts';
import type { TurnSeat } from './arbiter-driver.ts';
import { HostChannel } from './channel.ts';

export interface SupervisorOptions {
  readonly spec: HostSpec;
  readonly clock: Clock;
  /** A place at the time arbiter for each life of the host; null = there is none. */
  readonly takeSeat: ((post: (order: TurnOrder) => void) => TurnSeat) | null;
  /** Something that an operator wants to know. */
  readonly onChange: (change: SupervisorChange) => void;
}

export type SupervisorChange =
  | { readonly kind: 'ready'; readonly facts: HostFacts }
  | { readonly kind: 'progress'; readonly fraction: number }
  | { readonly kind: 'died'; readonly error: ErrorRecord; readonly retryMs: number | null }
  | { readonly kind: 'stopped' };

/** First restart at once, then 0.5 s, 1 s, 2 s … at most this. */
const BACKOFF_MS_FIRST = 500;
const BACKOFF_MS_MAX = 60_000;
/** A host that lived this long begins again with the shortest wait. */
const HEALTHY_MS = 60_000;
/** Heartbeats missed before the host counts as hung. */
const HEARTBEATS_MISSED_MAX = 15;
/** These do not go away by trying again. */
const PERMANENT: ReadonlySet<string> = new Set([
  'library_missing',
  'binding_mismatch',
  'file_not_found',
  'file_foreign',
  'file_truncated',
  'file_corrupt',
  'model_unsupported',
]);

export class HostSupervisor {
  readonly #options: SupervisorOptions;
  #channel: HostChannel | null = null;
  #state: ModelState = 'starting';
  #error: ErrorRecord | null = null;
  #facts: HostFacts | null = null;
  #report: LoadReport | null = null;
  #loadFraction: number | null = null;
  #restarts = 0;
  /** Deaths since the host was last healthy. */
  #deaths = 0;
  #readyAt = 0;
  #heardAt = 0;
  #retryAt = 0;
  #retry: NodeJS.Timeout | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #stopWaiters: (() => void)[] = [];

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get state(): ModelState {
    return this.#state;
  }

  get facts(): HostFacts | null {
    return this.#facts;
  }

  get report(): LoadReport | null {
    return this.#report;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get pid(): number | null {
    return this.#channel?.pid ?? null;
  }

  get loadFraction(): number | null {
    return this.#loadFraction;
  }

  /** Until the next start of a host that died; 0 when none is due. */
  get retryInMs(): number {
    if (this.#state !== 'backing_off') return 0;
    return Math.max(0, this.#retryAt - this.#options.clock.now());
  }

  /** A host that failed for good may be started again. */
  forgive(): void {
    if (this.#state === 'failed') this.#state = 'stopping';
  }

  /** Why the model is not ready; null when it is. */
  get reason(): string | null {
    if (this.#state === 'ready') return null;
    if (this.#state === 'stopping') return 'the server is shutting down';
    const why = this.#error?.message ?? null;
    if (this.#state === 'failed') return why ?? 'it cannot be loaded';
    const loading = `it is being loaded (${Math.round((this.#loadFraction ?? 0) * 100)} %)`;
    if (this.#state === 'starting') return why === null ? loading : `${loading}; before: ${why}`;
    const inMs = this.retryInMs;
    const times = `${this.#deaths} ${this.#deaths === 1 ? 'crash' : 'crashes'} in a row`;
    return `${why ?? 'it died'}; ${times}, next try in ${formatMillis(inMs)}`;
  }

  start(): void {
    this.#state = 'starting';
    this.#loadFraction = 0;
    this.#heardAt = this.#options.clock.now();
    // A host that comes back is waited for; it goes on learning from its own steps.
    const isBack = this.#facts !== null;
    const { spec } = this.#options;
    const wanted = isBack ? { ...spec, calibrationMsMax: CALIBRATION_BACK_MS_MAX } : spec;
    const channel = new HostChannel(wanted, {
      onProgress: (fraction) => {
        this.#heard();
        this.#loadFraction = fraction;
        this.#options.onChange({ kind: 'progress', fraction });
      },
      onReady: (facts) => this.#ready(facts),
      onReport: (report) => {
        this.#heard();
        this.#report = report;
      },
      onTurn: (report) => seat?.heard(report),
      onFatal: (error) => {
        // What arrives from now on would die with it: the next host is as good as being started.
        this.#error = error;
        if (this.#state === 'ready') this.#state = 'starting';
      },
      onExit: (error) => {
        seat?.gone();
        this.#exited(error);
      },
    });
    const seat = this.#options.takeSeat?.((order) => channel.turn(order));
    if (channel.pid !== null) seat?.runs(channel.pid);
    this.#channel = channel;
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => this.#watch(channel), this.#options.spec.heartbeatMs);
    this.#watchdog.unref();
  }

  /** Throws PlenumError model_loading, model_unavailable or draining when there is no host. */
  submit(id: string, request: GenerateRequest, listener: (event: GenerateEvent) => void): void {
    this.#live().submit(id, request, listener);
  }

  cancel(id: string, code: 'client_closed' | 'slow_reader'): void {
    this.#channel?.cancel(id, code);
  }

  tokenize(input: Parameters<HostChannel['tokenize']>[0]): ReturnType<HostChannel['tokenize']> {
    return this.#live().tokenize(input);
  }

  detokenize(tokens: Int32Array): Promise<string> {
    return this.#live().detokenize(tokens);
  }

  /** Throws and rejects as `submit` and HostChannel.encode do; `signal` cancels it. */
  async encode(request: EncodeRequest, signal?: AbortSignal): Promise<EncodeReply> {
    return this.#live().encode(request, signal);
  }

  /** Finishes what is accepted, at most for `limitMs`, then ends the host. */
  async stop(limitMs: number): Promise<void> {
    clearTimeout(this.#retry);
    this.#state = 'stopping';
    // Whoever starts it again means it: what it died of before is no reason to wait.
    this.#deaths = 0;
    const channel = this.#channel;
    if (channel === null) return;
    const gone = new Promise<void>((resolve) => this.#stopWaiters.push(resolve));
    channel.drain();
    const close = setTimeout(() => channel.close(), limitMs);
    const kill = setTimeout(() => channel.kill(), limitMs + KILL_AFTER_MS);
    await gone;
    clearTimeout(close);
    clearTimeout(kill);
  }

  #live(): HostChannel {
    if (this.#state === 'ready' && this.#channel !== null) return this.#channel;
    const message = `model ${this.#options.spec.modelId}: ${this.reason ?? 'it is not ready'}`;
    if (this.#state === 'stopping') throw new PlenumError('draining', message);
    if (this.#state === 'starting') {
      throw new PlenumError('model_loading', message, { retryAfterMs: 1000 });
    }
    const retryAfterMs = Math.max(1000, this.#retryAt - this.#options.clock.now());
    throw new PlenumError('model_unavailable', message, { retryAfterMs });
  }

  #heard(): void {
    this.#heardAt = this.#options.clock.now();
  }

  #ready(facts: HostFacts): void {
    this.#heard();
    this.#readyAt = this.#options.clock.now();
    if (this.#state !== 'stopping') this.#state = 'ready';
    this.#facts = facts;
    this.#loadFraction = null;
    this.#options.onChange({ kind: 'ready', facts });
  }

  #watch(channel: HostChannel): void {
    const silentMs = this.#options.clock.now() - this.#heardAt;
    const { heartbeatMs } = this.#options.spec;
    if (this.#state !== 'ready' || silentMs < heartbeatMs * HEARTBEATS_MISSED_MAX) return;
    this.#error = {
      code: 'host_crashed',
      message: `the model’s host process was silent for ${formatMillis(silentMs)}`,
    };
    channel.kill();
  }

  #exited(error: ErrorRecord | null): void {
    clearInterval(this.#watchdog);
    this.#channel = null;
    this.#report = null;
    this.#loadFraction = null;
    if (this.#state === 'stopping' || error === null) {
      this.#state = 'stopping';
      this.#options.onChange({ kind: 'stopped' });
      for (const resolve of this.#stopWaiters.splice(0)) resolve();
      return;
    }
    this.#error = error;
    const now = this.#options.clock.now();
    const wasHealthy = this.#readyAt > 0 && now - this.#readyAt >= HEALTHY_MS;
    this.#deaths = wasHealthy ? 1 : this.#deaths + 1;
    this.#readyAt = 0;
    if (PERMANENT.has(error.code)) {
      this.#state = 'failed';
      this.#options.onChange({ kind: 'died', error, retryMs: null });
      return;
    }
    this.#state = 'backing_off';
    const retryMs = backoffMs(this.#deaths);
    this.#retryAt = now + retryMs;
    this.#options.onChange({ kind: 'died', error, retryMs });
    this.#retry = setTimeout(() => {
      this.#restarts += 1;
      this.start();
    }, retryMs);
  }
}

const KILL_AFTER_MS = 10_000;
/** A host that was there before tries its engine out no longer than this. */
const CALIBRATION_BACK_MS_MAX = 100;

/** Milliseconds before the next start after `deaths` deaths in a row. */
export function backoffMs(deaths: number): number {
  if (deaths <= 1) return 0;
  return Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** (deaths - 2));
}
