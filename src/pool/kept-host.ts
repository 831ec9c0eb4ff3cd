/**
 * One model of the pool with its host: what is started and ended, measured and counted. It does not
 * decide when: the residency does, by way of the keeper.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { PlenumError } from '../base/errors.ts';
import type { Misprediction, PoolModel } from '../wire/pool.ts';
import type { KeeperOptions, KeptModel } from './keeper-types.ts';
import { HostMeter, TokenRate } from './observer.ts';
import { bytesInUse, Exercise, misprediction } from './reconcile.ts';
import type { HostSupervisor } from './supervisor.ts';

const LINGER_POLL_MS = 20;
const LINGER_POLL_MS_MAX = 1000;
const LINGER_WARN_MS = 2000;

type Standing = Pick<
  PoolModel,
  'state' | 'reason' | 'pinned' | 'reservedBytes' | 'neededBytes' | 'inUse' | 'idleMs'
>;
type Surroundings = Pick<KeeperOptions, 'clock' | 'footprintOf' | 'onEvent'>;

export class KeptHost {
  readonly model: KeptModel;
  readonly host: HostSupervisor;
  /** Requests that wait until it is loaded. */
  waiting = 0;
  /** Resolves when a host that leaves is gone. */
  leaving: Promise<void> = Promise.resolve();
  readonly #around: Surroundings;
  readonly #rate = new TokenRate();
  #meter: HostMeter | null = null;
  /** Whose bytes the meter counts. */
  #followed: number | null = null;
  #exercise: Exercise;
  #mispredicted: Misprediction | null = null;
  readonly #warned = new Set<Misprediction>();
  #loads = 0;

  constructor(model: KeptModel, host: HostSupervisor, around: Surroundings) {
    this.model = model;
    this.host = host;
    this.#around = around;
    this.#exercise = new Exercise(model.spec);
  }

  /** Its host is down and not about to come up. */
  get isStruggling(): boolean {
    return this.host.state === 'backing_off' || this.host.state === 'failed';
  }

  start(): void {
    this.#loads += 1;
    this.#warned.clear();
    this.host.start();
    this.#follow();
  }

  /** Forgets that the host could not be started, so that it is tried again. */
  forgive(): void {
    if (this.host.state === 'failed') this.host.forgive();
  }

  /** The host is up: the next one after a crash is another process. */
  arrived(): void {
    this.#follow();
    this.#meter?.outdate();
  }

  died(): void {
    this.#meter = null;
  }

  /** Throws `model_unavailable` when waiting would be in vain. */
  requireHope(nearMs: number): void {
    if (!this.isStruggling) return;
    if (this.host.state === 'backing_off' && this.host.retryInMs <= nearMs) return;
    const message = `model ${this.model.id}: ${this.host.reason ?? 'it cannot be loaded'}`;
    const retryAfterMs = Math.max(1000, this.host.retryInMs);
    throw new PlenumError('model_unavailable', message, { retryAfterMs });
  }

  /** Ends the host; `gone` is called when the system counts no byte for it any more. */
  leave(limitMs: number, gone: () => void): void {
    this.leaving = this.#leave(limitMs).then(gone);
  }

  async end(limitMs: number): Promise<void> {
    await this.host.stop(limitMs);
  }

  async observe(predictedBytes: number): Promise<void> {
    const { report } = this.host;
    this.#rate.sample(this.#around.clock.now(), report);
    if (report !== null) this.#exercise.sample(report);
    const meter = this.#meter;
    if (meter === null || !(await meter.refresh(this.#around.clock))) return;
    if (meter === this.#meter) this.#reconcile(predictedBytes);
  }

  view(standing: Standing): PoolModel {
    const { id, class: modelClass, preload, priority, ttlMs, items } = this.model;
    const { report } = this.host;
    return {
      ...standing,
      id,
      class: modelClass,
      preload: preload !== 'no',
      priority,
      ttlMs,
      items,
      measuredBytes: this.#meter?.counted?.bytes ?? null,
      mispredicted: this.#meter === null ? null : this.#mispredicted,
      pid: this.host.pid,
      waiting: this.waiting,
      queued: report?.waiting ?? null,
      running: report?.running ?? null,
      tokensPerSecond: this.#rate.perSecond,
      loads: this.#loads,
      restarts: this.host.restarts,
    };
  }

  #follow(): void {
    const { pid } = this.host;
    if (this.#meter !== null && pid === this.#followed) return;
    this.#followed = pid;
    this.#exercise = new Exercise(this.model.spec);
    this.#mispredicted = null;
    this.#meter = pid === null ? null : new HostMeter(this.#around.footprintOf(pid));
  }

  /** Warns once per load and direction; the view has it as long as it is so. */
  #reconcile(predictedBytes: number): void {
    const counted = this.#meter?.counted ?? null;
    if (counted === null) return;
    const exercised = { items: this.model.items, share: this.#exercise.share };
    const found = misprediction(counted, exercised);
    // A host that loads has not taken what it will take.
    const direction = found === 'below' && this.host.state !== 'ready' ? null : found;
    this.#mispredicted = direction;
    if (direction === null || this.#warned.has(direction)) return;
    this.#warned.add(direction);
    this.#around.onEvent({
      kind: 'mispredicted',
      model: this.model.id,
      direction,
      predictedBytes,
      inUseBytes: Math.round(bytesInUse(exercised)),
      measuredBytes: counted.bytes,
      wholeBytes: counted.wholeBytes,
    });
  }

  async #leave(limitMs: number): Promise<void> {
    const { clock, onEvent } = this.#around;
    const meter = this.#meter;
    const from = clock.now();
    const known = meter?.counted?.bytes ?? null;
    // Told to go at once: a host that dies meanwhile is one that left.
    const [seen] = await Promise.all([meter?.look(), this.host.stop(limitMs)]);
    const freedBytes = seen?.bytes ?? known;
    let pollMs = LINGER_POLL_MS;
    let warnAt = from + LINGER_WARN_MS;
    for (;;) {
      const bytes = (await meter?.look())?.bytes ?? null;
      const now = clock.now();
      if (bytes === null) break;
      if (now >= warnAt) {
        onEvent({ kind: 'lingering', model: this.model.id, bytes, ms: now - from });
        warnAt = now + 10 * LINGER_WARN_MS;
      }
      await delay(pollMs);
      pollMs = Math.min(LINGER_POLL_MS_MAX, 2 * pollMs);
    }
    this.#meter = null;
    onEvent({ kind: 'unloaded', model: this.model.id, freedBytes, ms: clock.now() - from });
  }
}
