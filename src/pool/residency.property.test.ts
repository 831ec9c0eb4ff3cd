/**
 * Residency over random orders of events, against a machine that keeps its own books: hosts that
 * load, die and give back their bytes late, requests that outlive their host, an operator who pins
 * and evicts. Each seed is one world; a failure names its seed.
 */
import { expect, it } from 'vitest';
import { assert, defined } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';
import type { Floors } from './ledger.ts';
import {
  type Action,
  type Blocker,
  type Declaration,
  Residency,
  type Use,
  type Wish,
} from './residency.ts';

const SEEDS = 10_000;
const EVENTS = 60;

interface Host {
  readonly life: number;
  phase: 'loading' | 'resident' | 'unloading';
  requests: number;
}

/** What the test knows of a model, without asking the residency. */
interface Known extends Declaration {
  readonly class: ModelClass;
  readonly bytes: number;
  pin: boolean;
  usedAt: number;
  /** Somebody was told `coming` and no host has been started for it yet. */
  awaited: boolean;
  host: Host | null;
}

const counts = { resident: 0, coming: 0, leaving: 0, refused: 0, paused: 0, loads: 0, ttl: 0 };
const crashes = { loading: 0, resident: 0, unloading: 0 };
const because = { serving: 0, pinned: 0, priority: 0, loading: 0 };

class World {
  readonly #rng: Prng;
  readonly #available: number;
  readonly #floors: Floors;
  readonly #residency: Residency;
  readonly #models: Known[] = [];
  readonly #open: { readonly model: Known; readonly life: number; readonly use: Use }[] = [];
  #lives = 0;
  #now = 0;
  #paused = false;

  constructor(seed: number) {
    this.#rng = new Prng(seed);
    const rng = this.#rng;
    this.#available = rng.int(20, 100);
    const floor = (): number =>
      rng.float() < 0.3 ? rng.int(0, Math.floor(this.#available / 4)) : 0;
    this.#floors = { chat: floor(), embed: floor(), rerank: floor(), guard: floor() };
    this.#residency = new Residency(this.#available, this.#floors);
    for (let i = rng.int(2, 8); i > 0; i--) this.#declare(`m${i}`);
  }

  #declare(model: string): void {
    const rng = this.#rng;
    const weights = rng.int(0, Math.floor(this.#available * rng.float()));
    const cache = rng.int(0, 10);
    const declaration = {
      model,
      class: rng.pick(MODEL_CLASSES),
      items: [
        { name: 'weights', bytes: weights, source: 'sim' },
        { name: 'kv cache', bytes: cache, source: 'sim' },
      ],
      pinned: rng.float() < 0.1,
      priority: rng.int(0, 2),
      ttlMs: rng.float() < 0.3 ? rng.int(0, 30) : null,
    };
    this.#residency.declare(declaration, this.#now);
    this.#models.push({
      ...declaration,
      bytes: weights + cache,
      pin: declaration.pinned,
      usedAt: this.#now,
      awaited: false,
      host: null,
    });
  }

  run(): void {
    for (let i = 0; i < EVENTS; i++) {
      this.#now += this.#rng.int(0, 5);
      this.#event();
      this.#check();
    }
    this.#settle();
  }

  #event(): void {
    const roll = this.#rng.float();
    const m = this.#rng.pick(this.#models);
    if (roll < 0.4) this.#want(m);
    else if (roll < 0.52) this.#progress();
    else if (roll < 0.7) this.#finishRequest();
    else if (roll < 0.78) this.#tick();
    else if (roll < 0.85) this.#evict(m);
    else if (roll < 0.92) this.#crash(m);
    else if (roll < 0.96) {
      m.pin = this.#rng.float() < 0.3;
      this.#residency.pin(m.model, m.pin);
    } else this.#togglePause();
  }

  #want(m: Known): void {
    const { wish, actions } = this.#residency.want(m.model, this.#now);
    m.usedAt = this.#now;
    counts[wish.kind] += 1;
    if (m.host?.phase === 'resident') {
      assert(wish.kind === 'resident', `${m.model} is resident, not ${wish.kind}`);
      assert(actions.length === 0, 'a resident model needs no action');
      this.#acquire(m);
      return;
    }
    if (m.host?.phase === 'loading' || m.awaited) {
      assert(wish.kind === 'coming', `${m.model} was coming, not ${wish.kind}`);
      assert(actions.length === 0, 'what comes needs no action');
      return;
    }
    if (this.#paused) {
      assert(wish.kind === 'paused' && actions.length === 0, `${wish.kind} while paused`);
      return;
    }
    this.#judge(m, wish, actions);
  }

  /** The answer to a newcomer: right, and with the right victims or the right reasons. */
  #judge(m: Known, wish: Wish, actions: readonly Action[]): void {
    const stays = this.#models.filter((o) => o !== m && this.#reason(o, m) !== null);
    const short = this.#shortBy(m, stays);
    if (wish.kind === 'refused') {
      assert(actions.length === 0, 'a refusal acts on nothing');
      assert(short > 0, `${m.model} is refused, but fits`);
      assert(wish.fit.shortBytes === short && !wish.fit.fits, `short ${wish.fit.shortBytes}`);
      this.#judgeSum(m, wish);
      this.#judgeBlockers(m, stays, wish.blockers);
      return;
    }
    assert(wish.kind === 'coming', `${m.model} is ${wish.kind}`);
    assert(short === 0, `${m.model} is ${short} short, but coming`);
    const unloads = actions.filter(({ kind }) => kind === 'unload').map(({ model }) => model);
    assert(unloads.join() === wish.leaving.join(), 'those who leave are those who are told to');
    const victims = unloads.map((model) => this.#known(model));
    for (const v of victims) {
      assert(!stays.includes(v), `${v.model} (${this.#reason(v, m)}) is to leave for ${m.model}`);
    }
    const left = this.#models.filter((o) => o !== m && this.#isStaying(o) && !victims.includes(o));
    assert(this.#shortBy(m, left) === 0, `room for ${m.model} is not made`);
    for (const v of victims) {
      assert(this.#shortBy(m, [...left, v]) > 0, `${v.model} leaves for nothing`);
    }
    if (victims.length > 0) counts.leaving += 1;
    m.awaited = true;
    this.#perform(actions);
  }

  #judgeSum(m: Known, { fit }: Extract<Wish, { kind: 'refused' }>): void {
    const kept = fit.otherClasses.reduce((sum, c) => sum + Math.max(c.usedBytes, c.floorBytes), 0);
    const sum = fit.neededBytes + fit.ownClassBytes + kept;
    assert(sum - fit.availableBytes === fit.shortBytes, 'the terms make the sum');
    assert(fit.neededBytes === m.bytes && fit.availableBytes === this.#available, 'its terms');
    for (const c of fit.otherClasses) {
      assert(c.floorBytes === this.#floors[c.class], `the floor of ${c.class}`);
    }
    const own = this.#used(
      m.class,
      this.#models.filter((o) => this.#reason(o, m) !== null),
    );
    assert(own + m.bytes > this.#floors[m.class], `${m.model} is refused within its floor`);
  }

  /** Exactly those whose leaving would shorten what is missing, each with its true reason. */
  #judgeBlockers(m: Known, stays: readonly Known[], blockers: readonly Blocker[]): void {
    const told = new Map(blockers.map((b) => [b.model, b]));
    const short = this.#shortBy(m, stays);
    for (const o of stays) {
      const blocker = told.get(o.model);
      const rest = stays.filter((other) => other !== o);
      if (this.#shortBy(m, rest) < short) assert(blocker !== undefined, `${o.model} blocks`);
      else assert(blocker === undefined || o.bytes === 0, `${o.model} does not block`);
      if (blocker === undefined) continue;
      assert(blocker.because === this.#reason(o, m), `${o.model} is not ${blocker.because}`);
      assert(blocker.bytes === o.bytes, `bytes of ${o.model}`);
      because[blocker.because] += 1;
      told.delete(o.model);
    }
    assert(told.size === 0, `no blockers: ${[...told.keys()].join()}`);
  }

  /** Why the bytes of `o` are not to be had for `m`. */
  #reason(o: Known, m: Known): Blocker['because'] | null {
    if (o === m) return null;
    if (!o.awaited && o.host?.phase !== 'loading' && o.host?.phase !== 'resident') return null;
    if (o.pin) return 'pinned';
    if (o.awaited || o.host?.phase === 'loading') return 'loading';
    if ((o.host?.requests ?? 0) > 0) return 'serving';
    return o.priority > m.priority ? 'priority' : null;
  }

  #isStaying(o: Known): boolean {
    return o.awaited || o.host?.phase === 'loading' || o.host?.phase === 'resident';
  }

  #used(c: ModelClass, models: readonly Known[]): number {
    return models.reduce((sum, o) => sum + (o.class === c ? o.bytes : 0), 0);
  }

  #shortBy(m: Known, others: readonly Known[]): number {
    let sum = 0;
    for (const c of MODEL_CLASSES) {
      const used = this.#used(c, others);
      sum += c === m.class ? used + m.bytes : Math.max(used, this.#floors[c]);
    }
    return Math.max(0, sum - this.#available);
  }

  #perform(actions: readonly Action[]): void {
    for (const { kind, model } of actions) {
      const m = this.#known(model);
      if (kind === 'unload') {
        assert(m.host?.phase === 'resident', `${model} is to leave while ${m.host?.phase}`);
        assert(m.host.requests === 0, `${model} is to leave while it serves`);
        assert(!m.pin, `${model} is to leave, pinned`);
        m.host.phase = 'unloading';
        continue;
      }
      assert(m.host === null, `${model} is loaded while ${m.host?.phase}`);
      assert(m.awaited, `${model} is loaded for nobody`);
      assert(!this.#paused, `${model} is loaded while paused`);
      this.#lives += 1;
      m.host = { life: this.#lives, phase: 'loading', requests: 0 };
      m.awaited = false;
      counts.loads += 1;
      this.#checkMachine();
    }
  }

  /** Some host comes to the end of its loading or of its leaving. */
  #progress(): boolean {
    const busy = this.#models.filter((m) => m.host !== null && m.host.phase !== 'resident');
    if (busy.length === 0) return false;
    const m = this.#rng.pick(busy);
    if (m.host?.phase === 'loading') {
      m.host.phase = 'resident';
      m.usedAt = this.#now;
      this.#residency.loaded(m.model, this.#now);
      if (this.#rng.float() < 0.5) this.#acquire(m);
    } else {
      this.#gone(m);
    }
    return true;
  }

  #acquire(m: Known): void {
    const host = defined(m.host, 'host');
    host.requests += 1;
    m.usedAt = this.#now;
    const use = this.#residency.acquire(m.model, this.#now);
    this.#open.push({ model: m, life: host.life, use });
  }

  /** Any open request ends, also one whose host is dead. */
  #finishRequest(): void {
    if (this.#open.length === 0) return;
    const [request] = this.#open.splice(this.#rng.int(0, this.#open.length - 1), 1);
    const { model, life, use } = defined(request, 'request');
    this.#residency.release(use, this.#now);
    if (model.host?.life !== life) return;
    model.host.requests -= 1;
    model.usedAt = this.#now;
  }

  #crash(m: Known): void {
    if (m.host === null) return;
    crashes[m.host.phase] += 1;
    if (m.host.phase === 'unloading' || this.#rng.float() < 0.5) {
      this.#gone(m);
      return;
    }
    // The next host is started at once, with the bytes of the last one.
    this.#lives += 1;
    m.host = { life: this.#lives, phase: 'loading', requests: 0 };
    this.#residency.crashed(m.model);
  }

  #gone(m: Known): void {
    m.host = null;
    const actions = this.#residency.gone(m.model);
    assert(
      actions.every(({ kind }) => kind === 'load'),
      'nobody leaves because another is gone',
    );
    this.#perform(actions);
  }

  #tick(): void {
    const actions = this.#residency.tick(this.#now);
    const due = this.#models.filter(
      ({ host, pin, ttlMs, usedAt }) =>
        host?.phase === 'resident' &&
        host.requests === 0 &&
        !pin &&
        ttlMs !== null &&
        this.#now - usedAt >= ttlMs,
    );
    const left = actions.map(({ kind, model }) => `${kind} ${model}`);
    assert(left.join() === due.map(({ model }) => `unload ${model}`).join(), `tick: ${left}`);
    counts.ttl += due.length;
    this.#perform(actions);
  }

  #evict(m: Known): void {
    const { refused, actions } = this.#residency.evict(m.model);
    m.awaited = false;
    const stays =
      m.host !== null && m.host.phase !== 'unloading' ? this.#reason(m, { ...m }) : null;
    assert((refused?.because ?? null) === stays, `evict ${m.model}: ${refused?.because}`);
    const leaves = m.host?.phase === 'resident' && stays === null;
    assert(actions.length === (leaves ? 1 : 0), `evict ${m.model}: ${actions.length} actions`);
    this.#perform(actions);
  }

  #togglePause(): void {
    this.#paused = !this.#paused;
    if (this.#paused) this.#residency.pause('pressure');
    else this.#perform(this.#residency.resume());
  }

  /** All that is under way ends: whoever was told `coming` is resident then. */
  #settle(): void {
    if (this.#paused) this.#togglePause();
    const coming = this.#models.filter((m) => m.awaited || m.host?.phase === 'loading');
    while (this.#progress()) this.#check();
    for (const m of coming) {
      assert(!m.awaited && m.host?.phase === 'resident', `${m.model} was told to come: lost`);
    }
    while (this.#open.length > 0) this.#finishRequest();
    for (const m of this.#models) {
      assert(this.#residency.view(m.model).inUse === 0, `${m.model} serves nobody`);
      if (m.host !== null) this.#gone(m);
    }
    this.#check();
    assert(this.#residency.ledger.reservedBytes === 0, 'the ledger is empty');
  }

  #check(): void {
    this.#residency.check();
    this.#checkMachine();
    let held = 0;
    for (const m of this.#models) {
      const state = this.#residency.stateOf(m.model);
      assert(state === (m.host?.phase ?? 'unloaded'), `${m.model} is ${state}`);
      const { inUse } = this.#residency.view(m.model);
      assert(inUse === (m.host?.requests ?? 0), `${m.model} serves ${inUse}`);
      if (m.host !== null) held += m.bytes;
    }
    const { reservedBytes } = this.#residency.ledger;
    assert(reservedBytes === held, `ledger ${reservedBytes}, machine ${held}`);
  }

  /** Every host, whatever its phase, has its bytes; and each floor is whole. */
  #checkMachine(): void {
    const hosts = this.#models.filter((m) => m.host !== null);
    let sum = 0;
    for (const c of MODEL_CLASSES) sum += Math.max(this.#used(c, hosts), this.#floors[c]);
    assert(sum <= this.#available, `${sum} of ${this.#available} bytes`);
  }

  #known(model: string): Known {
    return defined(
      this.#models.find((m) => m.model === model),
      model,
    );
  }
}

it(`holds its promises in ${SEEDS} worlds`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      new World(seed).run();
    } catch (cause) {
      throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
  // The worlds are worth something only if all of this happens in them, and often.
  for (const [what, n] of Object.entries({ ...counts, ...crashes, ...because })) {
    expect(n, what).toBeGreaterThan(SEEDS / 50);
  }
}, 60_000);
