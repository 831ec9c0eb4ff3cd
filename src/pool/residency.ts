/**
 * Which models are in memory: a pure state machine driven by events. It acts only through what it
 * returns; the driver (keeper.ts) performs the actions and reports back. The rule that keeps
 * machines alive: unload *before* load, and the bytes of an unloaded model count until its host is
 * gone and the operating system has been seen to have them back.
 *
 *   unloaded ──want──► loading ──loaded──► resident ──leave──► unloading ──gone──► unloaded
 *                         ▲ └─────────died──┼───────────────────────────────────────┘
 *                         └───crashed───────┘
 *
 * Promises: the ledger never exceeds the pool; floors hold; nothing that serves, is pinned or has a
 * higher priority than the newcomer is asked to leave. Whoever was told `coming` has its room
 * promised: what stays and what is still to come fit together, whatever the order of events.
 */
import { assert, defined } from '../base/assert.ts';
import type { ByteItem, ModelClass, ResidencyState } from '../wire/pool.ts';
import { ByteLedger, type Fit, type Floors, type Reservation } from './ledger.ts';

export interface Declaration {
  readonly model: string;
  readonly class: ModelClass;
  readonly items: readonly ByteItem[];
  readonly pinned: boolean;
  /** Higher stays longer; a newcomer never displaces a higher one. */
  readonly priority: number;
  /** Leaves by itself this long after its last use; null = never. */
  readonly ttlMs: number | null;
}

export type Action =
  | { readonly kind: 'load'; readonly model: string }
  | { readonly kind: 'unload'; readonly model: string };

export type Wish =
  /** It is resident: go on. */
  | { readonly kind: 'resident' }
  /** It comes as soon as the actions are done; the caller waits for it. */
  | { readonly kind: 'coming'; readonly leaving: readonly string[] }
  /**
   * It cannot come; `fit` is the sum with everything gone that may be asked to go, and the
   * blockers are those whose bytes are in that sum. None: floors or its own size forbid it.
   */
  | { readonly kind: 'refused'; readonly fit: Fit; readonly blockers: readonly Blocker[] }
  /** Admission is paused, for memory pressure. */
  | { readonly kind: 'paused'; readonly reason: string };

export interface Blocker {
  readonly model: string;
  readonly bytes: number;
  /** `loading`: it loads, or waits for the room that it was promised. */
  readonly because: 'serving' | 'pinned' | 'priority' | 'loading';
}

/** One request's hold on the host that it uses; void once that host is gone. */
export interface Use {
  readonly model: string;
  readonly life: number;
}

interface Member extends Declaration {
  bytes: number;
  state: ResidencyState;
  pin: boolean;
  inUse: number;
  /** Which of its hosts, one after the other, this is. */
  life: number;
  usedAt: number;
  /** Comes back as soon as there is room: it was wanted while something had to leave. */
  wanted: boolean;
  /** Its place among those who wait, in order of wanting. */
  turn: number;
}

const reservationOf = (m: Member): Reservation => ({
  model: m.model,
  class: m.class,
  bytes: m.bytes,
});

export class Residency {
  readonly ledger: ByteLedger;
  readonly #members = new Map<string, Member>();
  #pausedBy: string | null = null;
  #turns = 0;

  constructor(availableBytes: number, floors: Floors) {
    this.ledger = new ByteLedger(availableBytes, floors);
  }

  get pausedBy(): string | null {
    return this.#pausedBy;
  }

  declare(declaration: Declaration, now: number): void {
    assert(!this.#members.has(declaration.model), `${declaration.model} is declared twice`);
    this.#members.set(declaration.model, {
      ...declaration,
      bytes: declaration.items.reduce((sum, { bytes }) => sum + bytes, 0),
      state: 'unloaded',
      pin: declaration.pinned,
      inUse: 0,
      life: 0,
      usedAt: now,
      wanted: false,
      turn: 0,
    });
  }

  stateOf(model: string): ResidencyState {
    return this.#member(model).state;
  }

  bytesOf(model: string): number {
    return this.#member(model).bytes;
  }

  view(model: string): Readonly<Member> {
    return this.#member(model);
  }

  models(): string[] {
    return [...this.#members.keys()];
  }

  pin(model: string, pinned: boolean): void {
    this.#member(model).pin = pinned;
  }

  /** Memory pressure: nothing new comes in until `resume`. */
  pause(reason: string): void {
    this.#pausedBy = reason;
  }

  resume(): Action[] {
    this.#pausedBy = null;
    return this.#advance();
  }

  /** Somebody needs the model. The actions are to be performed whatever the answer is. */
  want(model: string, now: number): { wish: Wish; actions: Action[] } {
    const m = this.#member(model);
    m.usedAt = Math.max(m.usedAt, now);
    if (m.state === 'resident') return { wish: { kind: 'resident' }, actions: [] };
    if (m.state === 'loading' || m.wanted) {
      return { wish: { kind: 'coming', leaving: [] }, actions: [] };
    }
    if (this.#pausedBy !== null) {
      return { wish: { kind: 'paused', reason: this.#pausedBy }, actions: [] };
    }
    const victims = this.#victims(m);
    if (victims === null) return { wish: this.#refusal(m), actions: [] };
    m.wanted = true;
    this.#turns += 1;
    m.turn = this.#turns;
    for (const victim of victims) victim.state = 'unloading';
    const unloads = victims.map((v): Action => ({ kind: 'unload', model: v.model }));
    const leaving = victims.map((v) => v.model);
    return { wish: { kind: 'coming', leaving }, actions: [...unloads, ...this.#advance()] };
  }

  /** A request begins to use the model, which must be resident; `release` takes what it returns. */
  acquire(model: string, now: number): Use {
    const m = this.#member(model);
    assert(m.state === 'resident', `${model} is used while it is ${m.state}`);
    m.inUse += 1;
    m.usedAt = now;
    return { model, life: m.life };
  }

  /** The request is over. */
  release(use: Use, now: number): void {
    const m = this.#member(use.model);
    // Its host died, which ended it; it must not hide a request of the next host.
    if (use.life !== m.life) return;
    assert(m.inUse > 0, `${m.model} is released more often than acquired`);
    m.inUse -= 1;
    m.usedAt = now;
  }

  loaded(model: string, now: number): void {
    const m = this.#member(model);
    assert(m.state === 'loading', `${model} was loaded while it was ${m.state}`);
    m.state = 'resident';
    m.usedAt = now;
  }

  /**
   * Its host died and is being started again at once: the bytes stay its own, what used it has
   * ended. A host that was on its way out is reported by `gone` alone.
   */
  crashed(model: string): void {
    const m = this.#member(model);
    assert(m.state === 'resident' || m.state === 'loading', `${model} crashed while ${m.state}`);
    m.state = 'loading';
    m.inUse = 0;
    m.life += 1;
  }

  /** It is given up while it loads, because its host does not come up. */
  abandon(model: string): Action[] {
    const m = this.#member(model);
    m.wanted = false;
    if (m.state !== 'loading') return [];
    m.state = 'unloading';
    return [{ kind: 'unload', model }];
  }

  /** Its host is gone for good, as asked or by a crash, and its bytes are free again. */
  gone(model: string): Action[] {
    const m = this.#member(model);
    assert(m.state !== 'unloaded', `${model} is gone twice`);
    this.ledger.release(model);
    m.state = 'unloaded';
    m.inUse = 0;
    m.life += 1;
    return this.#advance();
  }

  /**
   * An operator wants it out, or not to come any more. Refused, with the reason, while it is
   * pinned, loads or serves.
   */
  evict(model: string): { refused: Blocker | null; actions: Action[] } {
    const m = this.#member(model);
    m.wanted = false;
    if (m.state === 'unloaded' || m.state === 'unloading') return { refused: null, actions: [] };
    const because = this.#holds(m);
    if (because !== null) return { refused: { model, bytes: m.bytes, because }, actions: [] };
    m.state = 'unloading';
    return { refused: null, actions: [{ kind: 'unload', model }] };
  }

  /** Models whose time to live is over leave. */
  tick(now: number): Action[] {
    const actions: Action[] = [];
    for (const m of this.#members.values()) {
      if (m.state !== 'resident' || this.#holds(m) !== null || m.ttlMs === null) continue;
      if (now - m.usedAt < m.ttlMs) continue;
      m.state = 'unloading';
      actions.push({ kind: 'unload', model: m.model });
    }
    return actions;
  }

  check(): void {
    this.ledger.check();
    for (const m of this.#members.values()) {
      assert(this.ledger.has(m.model) === (m.state !== 'unloaded'), `${m.model} is ${m.state}`);
      assert(m.inUse === 0 || m.state === 'resident', `${m.model} serves while ${m.state}`);
      assert(!m.wanted || m.state === 'unloaded' || m.state === 'unloading', `${m.model} waits`);
      if (!m.wanted) continue;
      const { fits } = this.ledger.fit(reservationOf(m), this.#leaving(), this.#promised(m));
      assert(fits, `${m.model} was promised room that is not there`);
    }
  }

  /** Whoever is wanted and fits now is loaded, in order of priority, then of wanting. */
  #advance(): Action[] {
    const actions: Action[] = [];
    if (this.#pausedBy !== null) return actions;
    const waiting = [...this.#members.values()]
      .filter((m) => m.wanted && m.state === 'unloaded')
      .sort((a, b) => b.priority - a.priority || a.turn - b.turn);
    for (const m of waiting) {
      const need = reservationOf(m);
      if (!this.ledger.fit(need).fits) continue;
      this.ledger.reserve(need);
      m.state = 'loading';
      m.wanted = false;
      actions.push({ kind: 'load', model: m.model });
    }
    return actions;
  }

  /**
   * Idle models whose leaving makes room, the lowest priority and the least recently used first,
   * none to spare, counting what leaves already and what is promised to others; null when even all
   * of them are not enough.
   */
  #victims(m: Member): Member[] | null {
    const need = reservationOf(m);
    const promised = this.#promised(m);
    const without = this.#leaving();
    const fits = (): boolean => this.ledger.fit(need, without, promised).fits;
    const victims: Member[] = [];
    const candidates = [...this.#members.values()]
      .filter((other) => other.state === 'resident' && this.#blocker(other, m) === null)
      .sort((a, b) => a.priority - b.priority || a.usedAt - b.usedAt);
    for (const candidate of candidates) {
      if (fits()) break;
      without.add(candidate.model);
      victims.push(candidate);
    }
    if (!fits()) return null;
    // Spared from the most valuable down.
    for (const victim of [...victims].reverse()) {
      without.delete(victim.model);
      if (!fits()) without.add(victim.model);
    }
    return victims.filter((victim) => without.has(victim.model));
  }

  #leaving(): Set<string> {
    const leaving = new Set<string>();
    for (const m of this.#members.values()) if (m.state === 'unloading') leaving.add(m.model);
    return leaving;
  }

  /** What will be loaded when there is room: models that are wanted already. */
  #promised(except: Member): Reservation[] {
    const promised: Reservation[] = [];
    for (const m of this.#members.values()) {
      if (m.wanted && m !== except) promised.push(reservationOf(m));
    }
    return promised;
  }

  /** Why a model stays, whoever asks; null when it is idle. What time does not end goes first. */
  #holds(m: Member): Blocker['because'] | null {
    if (m.pin) return 'pinned';
    if (m.state === 'loading') return 'loading';
    return m.inUse > 0 ? 'serving' : null;
  }

  /** Why the bytes of `other` are not to be had for `m`; null when they are. */
  #blocker(other: Member, m: Member): Blocker['because'] | null {
    if (other === m) return null;
    if (other.wanted) return other.pin ? 'pinned' : 'loading';
    if (other.state === 'unloaded' || other.state === 'unloading') return null;
    return this.#holds(other) ?? (other.priority > m.priority ? 'priority' : null);
  }

  #refusal(m: Member): Wish {
    const without = this.#leaving();
    const stays: { other: Member; because: Blocker['because'] }[] = [];
    for (const other of this.#members.values()) {
      const because = this.#blocker(other, m);
      if (because !== null) stays.push({ other, because });
      else without.add(other.model);
    }
    const fit = this.ledger.fit(reservationOf(m), without, this.#promised(m));
    // A class within its floor takes nothing that the newcomer could have.
    const beyond = fit.otherClasses.filter((c) => c.usedBytes > c.floorBytes).map((c) => c.class);
    const blockers = stays
      .filter(({ other }) => other.class === m.class || beyond.includes(other.class))
      .map(({ other, because }): Blocker => ({ model: other.model, bytes: other.bytes, because }));
    return { kind: 'refused', fit, blockers };
  }

  #member(model: string): Member {
    return defined(this.#members.get(model), `model ${model}`);
  }
}
