/**
 * Drives the residency with real hosts: performs its actions with supervisors, sees the bytes of an
 * unloaded host back with the system before they are given away again, and lets requests wait for a
 * model that is on its way, within their limits.
 *
 * Promises: what is loaded has its whole declaration reserved; a host that dies keeps its bytes
 * while it is started again, and gives them up when it is given up. It computes nothing and knows
 * nothing of requests but that they use a model.
 */
import { assert, defined } from '../base/assert.ts';
import { PlenumError } from '../base/errors.ts';
import { formatBytes } from '../base/units.ts';
import type { ModelState } from '../wire/model-info.ts';
import type { PoolModel, PoolView } from '../wire/pool.ts';
import type { KeeperOptions, KeptModel } from './keeper-types.ts';
import { KeptHost } from './kept-host.ts';
import type { Reservation } from './ledger.ts';
import { PressureGauge } from './observer.ts';
import { isTransient, refusalError } from './refusal.ts';
import { type Action, Residency, type Wish } from './residency.ts';
import { HostSupervisor, type SupervisorChange } from './supervisor.ts';
import { type Patience, WaitingRoom } from './waiting.ts';

/** A request's hold on a resident model; to be released once, when the request is over. */
export interface Lease {
  release(): void;
}

export interface UseLimits {
  readonly signal: AbortSignal | null;
  /** The client's own; null = it has none. */
  readonly deadlineMs: number | null;
}

const TICK_MS = 500;
/** What an idle host may take to end by itself. */
const UNLOAD_MS = 2000;
const RETRY_PRESSURE_MS = 10_000;
/** A restart that is this near is waited for. */
const NEAR_RESTART_MS = 250;
/** An operator's load may be of a model of any size. */
const LOAD_MS_MAX = 30 * 60_000;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #residency: Residency;
  readonly #kept = new Map<string, KeptHost>();
  readonly #waiting = new WaitingRoom();
  readonly #pressure: PressureGauge;
  #ticker: NodeJS.Timeout | undefined;
  #draining = false;

  /** The floors must fit into what is available: `floorsProblem` says so beforehand. */
  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#residency = new Residency(options.availableBytes, options.floors);
    this.#pressure = new PressureGauge(options.pressure);
    const { clock, turns } = options;
    for (const model of options.models) {
      const { id, spec, items, pinned, priority, ttlMs } = model;
      const declared = { model: id, class: model.class, items, pinned, priority, ttlMs };
      this.#residency.declare(declared, clock.now());
      const host = new HostSupervisor({
        spec,
        clock,
        takeSeat: turns && ((post) => turns.seat(id, model.class, post)),
        onChange: (change) => this.#changed(id, change),
      });
      this.#kept.set(id, new KeptHost(model, host, options));
    }
  }

  host(id: string): HostSupervisor {
    return this.#of(id).host;
  }

  /**
   * Loads what is to be there from the start; returns whose host is being started. Throws
   * `model_does_not_fit` or `pool_full` with the sum when a model can never come, or must and has
   * no room; then nothing was started.
   */
  boot(): readonly string[] {
    for (const { model } of this.#kept.values()) this.#requirePossible(model);
    const order = [...this.#kept.values()].map(({ model }) => model).sort(byUrgency);
    const actions: Action[] = [];
    for (const model of order) {
      if (model.preload === 'no') continue;
      const wanted = this.#residency.want(model.id, this.#now());
      actions.push(...wanted.actions);
      if (wanted.wish.kind !== 'refused') continue;
      const refusal = this.#refusal(model, wanted.wish);
      if (model.preload === 'must') throw refusal;
      const reason = refusal.message;
      this.#options.onEvent({ kind: 'on_demand', model: model.id, reason });
    }
    this.#perform(actions);
    this.#ticker = setInterval(() => void this.#tick(), TICK_MS);
    this.#ticker.unref();
    return actions.flatMap(({ kind, model }) => (kind === 'load' ? [model] : []));
  }

  /** A lease at once if the model is resident and its host answers; null otherwise. */
  tryUse(id: string): Lease | null {
    if (this.#draining) throw drainingError();
    const { host } = this.#of(id);
    if (this.#residency.stateOf(id) !== 'resident' || host.state !== 'ready') return null;
    return this.#lease(id);
  }

  /**
   * A lease as soon as the model is resident, loading it if it must. Rejects with pool_full,
   * model_does_not_fit, memory_pressure, model_unavailable, queue_full, wait_expired,
   * deadline_exceeded, client_closed or draining.
   */
  async use(id: string, { signal, deadlineMs }: UseLimits): Promise<Lease> {
    const kept = this.#of(id);
    const { waitMsMax, queueMax } = kept.model.spec;
    const limitMs = deadlineMs === null ? waitMsMax : Math.min(deadlineMs, waitMsMax);
    const patience = {
      untilMs: this.#now() + limitMs,
      limitMs,
      isDeadline: limitMs === deadlineMs,
      signal,
    };
    const room = Math.max(1, queueMax + kept.model.spec.parallel);
    if (kept.waiting >= room) {
      const message = `${kept.waiting} requests wait for ${id} to be loaded; the limit is ${room}`;
      throw new PlenumError('queue_full', message, { retryAfterMs: 1000 });
    }
    kept.waiting += 1;
    try {
      return await this.#arrive(kept, patience, () => this.#lease(id));
    } finally {
      kept.waiting -= 1;
    }
  }

  /** An operator wants it resident. Rejects as `use` does; resolves when it is. */
  async load(id: string, signal: AbortSignal | null): Promise<void> {
    const kept = this.#of(id);
    // What cannot be repaired by trying again is tried again for an operator.
    kept.forgive();
    const untilMs = this.#now() + LOAD_MS_MAX;
    const patience = { untilMs, limitMs: LOAD_MS_MAX, isDeadline: false, signal };
    await this.#arrive(kept, patience, () => undefined);
  }

  /**
   * An operator wants it out. Rejects with model_in_use, saying why, while it serves, loads or is
   * pinned; resolves when the system has its bytes back.
   */
  async unload(id: string): Promise<void> {
    const kept = this.#of(id);
    if (this.#residency.stateOf(id) === 'loading' && kept.isStruggling) {
      this.#perform(this.#residency.abandon(id));
    } else {
      const { refused, actions } = this.#residency.evict(id);
      if (refused !== null) throw inUseError(id, refused.because);
      this.#perform(actions);
    }
    await kept.leaving;
  }

  pin(id: string, pinned: boolean): void {
    this.#residency.pin(id, pinned);
    this.#waiting.wake();
  }

  /** How the model stands, for /ready and for errors. */
  stateOf(id: string): { readonly state: ModelState; readonly reason: string | null } {
    const { host } = this.#of(id);
    const { state, wanted } = this.#residency.view(id);
    if (this.#draining || state === 'loading' || state === 'resident') {
      return { state: host.state, reason: host.reason };
    }
    if (state === 'unloading') {
      return { state: 'unloading', reason: 'its memory is being given back' };
    }
    if (wanted) return { state: 'starting', reason: 'it waits until others have left' };
    if (host.state === 'failed') return { state: 'failed', reason: host.reason };
    return { state: 'unloaded', reason: 'it is loaded when a request needs it' };
  }

  view(): PoolView {
    const { availableSource, floors } = this.#options;
    const { ledger, pausedBy } = this.#residency;
    const models = [...this.#kept.values()].map((kept) => this.modelView(kept.model.id));
    return {
      availableBytes: ledger.availableBytes,
      availableSource,
      reservedBytes: ledger.reservedBytes,
      measuredBytes: models.reduce((sum, { measuredBytes }) => sum + (measuredBytes ?? 0), 0),
      pausedBy,
      floors,
      models,
    };
  }

  modelView(id: string): PoolModel {
    const kept = this.#of(id);
    const member = this.#residency.view(id);
    const { reason } = this.stateOf(id);
    return kept.view({
      state: member.state,
      reason,
      pinned: member.pin,
      reservedBytes: this.#residency.ledger.has(id) ? member.bytes : 0,
      neededBytes: member.bytes,
      inUse: member.inUse,
      idleMs: member.inUse > 0 ? 0 : Math.max(0, this.#now() - member.usedAt),
    });
  }

  /** The ledger is what its parts are; an AssertionError when it is not. */
  check(): void {
    this.#residency.check();
  }

  /** Takes nothing new, lets what runs finish within `limitMs`, then ends every host. */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    clearInterval(this.#ticker);
    this.#waiting.wake();
    await Promise.all([...this.#kept.values()].map((kept) => kept.end(limitMs)));
  }

  /**
   * What `there` returns as soon as the model is resident and its host answers. It is called in the
   * turn in which that was seen: a turn later the model may be leaving.
   */
  async #arrive<T>(kept: KeptHost, patience: Patience, there: () => T): Promise<T> {
    const { id } = kept.model;
    for (;;) {
      if (this.#draining) throw drainingError();
      kept.requireHope(NEAR_RESTART_MS);
      const { wish, actions } = this.#residency.want(id, this.#now());
      this.#perform(actions);
      if (wish.kind === 'resident' && kept.host.state === 'ready') return there();
      if (wish.kind === 'paused') {
        const message = `model ${id} is not loaded: ${wish.reason}`;
        throw new PlenumError('memory_pressure', message, { retryAfterMs: RETRY_PRESSURE_MS });
      }
      const refusal = wish.kind === 'refused' ? this.#refusal(kept.model, wish) : null;
      if (refusal !== null && wish.kind === 'refused' && !isTransient(wish)) throw refusal;
      try {
        await this.#waiting.wait(this.#now(), patience, () => this.stateOf(id).reason ?? '');
      } catch (error) {
        const isLate = error instanceof PlenumError && error.code === 'wait_expired';
        throw isLate && refusal !== null ? refusal : error;
      }
    }
  }

  #lease(id: string): Lease {
    const use = this.#residency.acquire(id, this.#now());
    let isOpen = true;
    return {
      release: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#residency.release(use, this.#now());
        if (this.#residency.view(id).inUse === 0) this.#waiting.wake();
      },
    };
  }

  #changed(id: string, change: SupervisorChange): void {
    const kept = this.#of(id);
    if (change.kind === 'ready') {
      kept.arrived();
      // A host that was told to leave while it loaded may still say that it is ready.
      if (this.#residency.stateOf(id) === 'loading') this.#residency.loaded(id, this.#now());
    } else if (change.kind === 'died') {
      const { state } = this.#residency.view(id);
      assert(state === 'loading' || state === 'resident', `the host of ${id} died ${state}`);
      if (change.retryMs === null) this.#perform(this.#residency.gone(id));
      else this.#residency.crashed(id);
      kept.died();
    }
    this.#options.onChange(id, change);
    if (change.kind !== 'progress') this.#waiting.wake();
  }

  #perform(actions: readonly Action[]): void {
    for (const { kind, model } of actions) {
      const kept = this.#of(model);
      if (kind === 'load') {
        const bytes = this.#residency.bytesOf(model);
        this.#options.onEvent({ kind: 'loading', model, bytes });
        kept.start();
      } else {
        kept.leave(UNLOAD_MS, () => {
          this.#perform(this.#residency.gone(model));
          this.#waiting.wake();
        });
      }
    }
  }

  async #tick(): Promise<void> {
    if (this.#draining) return;
    const now = this.#now();
    this.#perform(this.#residency.tick(now));
    const reason = await this.#pressure.refresh(now);
    if (this.#draining) return;
    if (reason !== null && this.#residency.pausedBy === null) {
      this.#options.onEvent({ kind: 'paused', reason });
    }
    if (reason !== null) {
      this.#residency.pause(reason);
    } else if (this.#residency.pausedBy !== null) {
      this.#options.onEvent({ kind: 'resumed' });
      this.#perform(this.#residency.resume());
      this.#waiting.wake();
    }
    await Promise.all(
      [...this.#kept.values()].map((kept) => kept.observe(this.#residency.bytesOf(kept.model.id))),
    );
  }

  /** A model that the empty pool could not take is a mistake of the configuration. */
  #requirePossible(model: KeptModel): void {
    const need = this.#need(model);
    const fit = this.#residency.ledger.fit(need);
    if (!fit.fits) throw this.#refusal(model, { kind: 'refused', fit, blockers: [] });
  }

  #refusal(model: KeptModel, wish: Extract<Wish, { kind: 'refused' }>): PlenumError {
    const { availableSource, smaller } = this.#options;
    const context = { availableSource, smaller: (room: number) => smaller(model.id, room) };
    return refusalError(this.#need(model), wish, context);
  }

  #need({ id, class: modelClass }: KeptModel): Reservation {
    return { model: id, class: modelClass, bytes: this.#residency.bytesOf(id) };
  }

  #now(): number {
    return this.#options.clock.now();
  }

  #of(id: string): KeptHost {
    return defined(this.#kept.get(id), `model ${id}`);
  }
}

const drainingError = (): PlenumError => new PlenumError('draining', 'the server is shutting down');

function inUseError(id: string, because: string): PlenumError {
  const why =
    because === 'pinned'
      ? 'is pinned: unpin it first'
      : because === 'serving'
        ? 'serves requests: unload it when they are done'
        : 'is being loaded: unload it when it is there';
  return new PlenumError('model_in_use', `${id} ${why}`, { retryAfterMs: 1000 });
}

/** Pinned ones, then those that must be there, then by priority, then as configured. */
function byUrgency(a: KeptModel, b: KeptModel): number {
  const rank = ({ pinned, preload }: KeptModel): number =>
    pinned ? 0 : preload === 'must' ? 1 : 2;
  return rank(a) - rank(b) || b.priority - a.priority;
}

/** `8.00 GB reserved of 16.0 GB`, for the log. */
export function poolLine({ reservedBytes, availableBytes, availableSource }: PoolView): string {
  const of = `${formatBytes(availableBytes)} (${availableSource})`;
  return `${formatBytes(reservedBytes)} reserved of ${of}`;
}
