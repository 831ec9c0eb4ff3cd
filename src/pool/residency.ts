/**
 * Which models are in memory: a pure state machine driven by events. It acts only through what it
 * returns; the driver (the node) performs the actions and reports back. The rule that keeps machines
 * alive: unload *before* load, and the bytes of an unloaded model count until its host is gone and
 * the operating system has been seen to have them back.
 *
 *   unloaded ──want──► loading ──loaded──► resident ──leave──► unloading ──gone──► unloaded
 *                         └───────────died──────────────────────────────────────────┘
 *
 * Promises: the ledger never exceeds the pool; floors hold; nothing that serves, is pinned or has a
 * higher priority than the newcomer is asked to leave.
 */
import { assert, defined } from '../base/assert.ts';
import type { ByteItem, ModelClass, ResidencyState } from '../wire/pool.ts';
import { ByteLedger, type Fit, type Floors } from './ledger.ts';

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
  /** It cannot come; `fit` is the sum with everything gone that may be asked to go. */
  | { readonly kind: 'refused'; readonly fit: Fit; readonly blockers: readonly Blocker[] }
  /** Admission is paused, for memory pressure. */
  | { readonly kind: 'paused'; readonly reason: string };

export interface Blocker {
  readonly model: string;
  readonly bytes: number;
  readonly because: 'serving' | 'pinned' | 'priority' | 'loading';
}

interface Member extends Declaration {
  bytes: number;
  state: ResidencyState;
  pin: boolean;
  inUse: number;
  usedAt: number;
  /** Comes back as soon as there is room: it was wanted while something had to leave. */
  wanted: boolean;
}

export class Residency {
  readonly ledger: ByteLedger;
  readonly #members = new Map<string, Member>();
  #pausedBy: string | null = null;

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
      usedAt: now,
      wanted: false,
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
    const victims = m.state === 'unloading' ? [] : this.#victims(m);
    if (victims === null) return { wish: this.#refusal(m), actions: [] };
    m.wanted = true;
    for (const victim of victims) victim.state = 'unloading';
    const unloads = victims.map((v): Action => ({ kind: 'unload', model: v.model }));
    const leaving = victims.map((v) => v.model);
    return { wish: { kind: 'coming', leaving }, actions: [...unloads, ...this.#advance()] };
  }

  /** A request begins to use the model; it must be resident. */
  acquire(model: string, now: number): void {
    const m = this.#member(model);
    assert(m.state === 'resident', `${model} is used while it is ${m.state}`);
    m.inUse += 1;
    m.usedAt = now;
  }

  /** The request is over. */
  release(model: string, now: number): void {
    const m = this.#member(model);
    // Its host may have died meanwhile, which ended all its requests.
    if (m.inUse > 0) m.inUse -= 1;
    m.usedAt = now;
  }

  loaded(model: string, now: number): void {
    const m = this.#member(model);
    assert(m.state === 'loading', `${model} was loaded while it was ${m.state}`);
    m.state = 'resident';
    m.usedAt = now;
  }

  /** Its host is gone, as asked or by a crash, and its bytes are free again. */
  gone(model: string): Action[] {
    const m = this.#member(model);
    assert(m.state !== 'unloaded', `${model} is gone twice`);
    this.ledger.release(model);
    m.state = 'unloaded';
    m.inUse = 0;
    return this.#advance();
  }

  /** An operator wants it out. Refused, with the reason, while it serves. */
  evict(model: string): { refused: Blocker | null; actions: Action[] } {
    const m = this.#member(model);
    m.wanted = false;
    if (m.state !== 'resident') return { refused: null, actions: [] };
    if (m.inUse > 0) {
      return { refused: { model, bytes: m.bytes, because: 'serving' }, actions: [] };
    }
    m.state = 'unloading';
    return { refused: null, actions: [{ kind: 'unload', model }] };
  }

  /** Models whose time to live is over leave. */
  tick(now: number): Action[] {
    const actions: Action[] = [];
    for (const m of this.#members.values()) {
      if (m.state !== 'resident' || m.pin || m.inUse > 0 || m.ttlMs === null) continue;
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
    }
  }

  /** Whoever is wanted and fits now is loaded, in order of priority, then of wanting. */
  #advance(): Action[] {
    const actions: Action[] = [];
    if (this.#pausedBy !== null) return actions;
    const waiting = [...this.#members.values()]
      .filter((m) => m.wanted && m.state === 'unloaded')
      .sort((a, b) => b.priority - a.priority);
    for (const m of waiting) {
      const need = { model: m.model, class: m.class, bytes: m.bytes };
      if (!this.ledger.fit(need).fits) continue;
      this.ledger.reserve(need);
      m.state = 'loading';
      m.wanted = false;
      actions.push({ kind: 'load', model: m.model });
    }
    return actions;
  }

  /**
   * The fewest least recently used idle models whose leaving makes room, counting what leaves
   * already; null when even all of them are not enough.
   */
  #victims(m: Member): Member[] | null {
    const need = { model: m.model, class: m.class, bytes: m.bytes + this.#promisedBytes(m) };
    const without = new Set<string>();
    for (const other of this.#members.values()) {
      if (other.state === 'unloading') without.add(other.model);
    }
    const victims: Member[] = [];
    const candidates = [...this.#members.values()]
      .filter((other) => this.#blocker(other, m) === null && other.state === 'resident')
      .sort((a, b) => a.priority - b.priority || a.usedAt - b.usedAt);
    for (const candidate of candidates) {
      if (this.ledger.fit(need, without).fits) break;
      without.add(candidate.model);
      victims.push(candidate);
    }
    if (!this.ledger.fit(need, without).fits) return null;
    return victims.filter((victim) => {
      without.delete(victim.model);
      const spare = this.ledger.fit(need, without).fits;
      if (!spare) without.add(victim.model);
      return !spare;
    });
  }

  /** Bytes of models that are wanted already and will be loaded when there is room. */
  #promisedBytes(except: Member): number {
    let sum = 0;
    for (const m of this.#members.values()) if (m.wanted && m !== except) sum += m.bytes;
    return sum;
  }

  /** Why `other` cannot be asked to leave for `m`; null when it can. */
  #blocker(other: Member, m: Member): Blocker['because'] | null {
    if (other === m || other.state === 'unloaded' || other.state === 'unloading') return null;
    if (other.state === 'loading') return 'loading';
    if (other.inUse > 0) return 'serving';
    if (other.pin) return 'pinned';
    return other.priority > m.priority ? 'priority' : null;
  }

  #refusal(m: Member): Wish {
    const without = new Set<string>();
    const blockers: Blocker[] = [];
    for (const other of this.#members.values()) {
      if (other === m || other.state === 'unloaded') continue;
      const because = this.#blocker(other, m);
      if (because === null) without.add(other.model);
      else blockers.push({ model: other.model, bytes: other.bytes, because });
    }
    const need = { model: m.model, class: m.class, bytes: m.bytes };
    return { kind: 'refused', fit: this.ledger.fit(need, without), blockers };
  }

  #member(model: string): Member {
    return defined(this.#members.get(model), `model ${model}`);
  }
}
