/**
 * The time arbiter: which hosts of one machine may compute now. A pure state machine: events in,
 * actions out, no clock and no timer of its own. Who goes next is arbiter-pick.ts, what a class has
 * had is arbiter-accounts.ts, what it should have is arbiter-policy.ts.
 *
 *              woke                     granted | free
 *   asleep ───────────► waiting ─────────────────────────► running
 *      ▲                   ▲                                  │ spent
 *      └───────────────────┴──────────────────────────────────┘
 *
 * A licence is limited (`grant`) or not (`free`). While no more hosts want to compute than may,
 * each has an unlimited one, which it keeps when it falls asleep: one busy model sends and receives
 * nothing. When one more wakes, unlimited licences are called back (`hold`), and time is measured
 * out until the contention is over.
 *
 * Invariants: licences that are out and not written off ≤ concurrency; nobody waits while one is to
 * be had; a host that is gone or overdue holds nobody up.
 */
import { assert, defined } from '../base/assert.ts';
import type { ModelClass } from '../wire/pool.ts';
import { MODEL_CLASSES } from '../wire/pool.ts';
import type { TimeView, TurnNeed } from '../wire/turn.ts';
import { ClassAccounts } from './arbiter-accounts.ts';
import { type Candidate, type Choice, choose } from './arbiter-pick.ts';
import { type ArbiterPolicy, policyProblem } from './arbiter-policy.ts';

export type ArbiterAction =
  /** Run without asking until `hold`. */
  | { readonly kind: 'free'; readonly host: string; readonly turn: number }
  | { readonly kind: 'hold'; readonly host: string }
  | { readonly kind: 'grant'; readonly host: string; readonly turn: number; readonly ms: number };

export interface Spent {
  readonly turn: number;
  /** Computed on this licence. */
  readonly ms: number;
  readonly more: TurnNeed | null;
}

interface Licence {
  readonly turn: number;
  /** Infinity: unlimited. */
  readonly ms: number;
  readonly at: number;
}

interface Seat {
  readonly host: string;
  readonly class: ModelClass;
  /** Has work and no licence. */
  waiting: boolean;
  need: TurnNeed;
  since: number;
  servedAt: number;
  /** At most two: the one that is being used and its extension. */
  licences: Licence[];
  recalledAt: number | null;
  writtenOff: boolean;
}

const NOTHING: TurnNeed = { stepMs: 0, leastMs: 0 };
/** A licence is overdue after so many times what it was good for. */
const OVERDUE_FACTOR = 10;

export class TimeArbiter {
  readonly #policy: ArbiterPolicy;
  readonly #accounts: ClassAccounts;
  readonly #seats = new Map<string, Seat>();
  #nextTurn = 1;
  #strays = 0;

  constructor(policy: ArbiterPolicy) {
    const problem = policyProblem(policy);
    assert(problem === null, `arbiter: ${problem}`);
    this.#policy = policy;
    this.#accounts = new ClassAccounts(policy);
  }

  /** The host is there, asleep, and has no licence. */
  register(host: string, modelClass: ModelClass): void {
    assert(!this.#seats.has(host), `host ${host} is registered twice`);
    this.#seats.set(host, {
      host,
      class: modelClass,
      waiting: false,
      need: NOTHING,
      since: 0,
      servedAt: 0,
      licences: [],
      recalledAt: null,
      writtenOff: false,
    });
  }

  /** It has work and no licence. */
  woke(host: string, now: number, need: TurnNeed): ArbiterAction[] {
    const seat = this.#seats.get(host);
    if (seat === undefined || seat.licences.length > 0) return this.#stray();
    this.#accrue(now);
    const busy = this.#busy();
    if (!busy.has(seat.class)) {
      this.#accounts.woke(seat.class, busy, this.#anyFree() ? 'free licences' : 'none');
    }
    if (!seat.waiting) seat.since = now;
    seat.waiting = true;
    seat.need = need;
    return this.#dispatch(now);
  }

  /** The last step of its licence has begun, and more work follows: it may go on if it is next. */
  asks(host: string, now: number, need: TurnNeed): ArbiterAction[] {
    const seat = this.#seats.get(host);
    const [licence, extension] = seat?.licences ?? [];
    if (seat === undefined || licence === undefined) return this.#stray();
    if (extension !== undefined || seat.writtenOff || licence.ms === Infinity) return [];
    this.#accrue(now);
    const others = this.#waiting();
    if (others.length === 0) return [this.#license(seat, Infinity, now)];
    const end = Math.max(now, licence.at + licence.ms);
    const next = this.#choose(end, [...others, this.#candidate({ ...seat, need, since: end })], {
      class: seat.class,
      ms: licence.ms,
    });
    return next.host === host ? [this.#license(seat, next.ms, now)] : [];
  }

  /** A licence comes back. */
  spent(host: string, now: number, { turn, ms, more }: Spent): ArbiterAction[] {
    const seat = this.#seats.get(host);
    const licence = seat?.licences.find((held) => held.turn === turn);
    if (seat === undefined || licence === undefined) return this.#stray();
    this.#accrue(now);
    const busy = this.#busy();
    if (licence.ms === Infinity) {
      const contendedMs = seat.recalledAt === null ? 0 : now - seat.recalledAt;
      this.#accounts.chargeFree(seat.class, { ms, contendedMs }, busy);
    } else {
      this.#accounts.charge(seat.class, ms, busy);
    }
    seat.licences = seat.licences.filter((held) => held !== licence);
    if (seat.licences.length === 0) {
      seat.recalledAt = null;
      seat.writtenOff = false;
      seat.waiting = more !== null;
      seat.need = more ?? seat.need;
      seat.since = now;
    }
    if (!this.#anyFree()) this.#accounts.settled();
    return this.#dispatch(now);
  }

  /** Its process is gone. */
  gone(host: string, now: number): ArbiterAction[] {
    this.#accrue(now);
    if (!this.#seats.delete(host)) return this.#stray();
    if (!this.#anyFree()) this.#accounts.settled();
    return this.#dispatch(now);
  }

  /** To be called now and then: writes off the licences of hosts that do not give them back. */
  tick(now: number): ArbiterAction[] {
    this.#accrue(now);
    for (const seat of this.#seats.values()) {
      const [licence] = seat.licences;
      if (licence === undefined || seat.writtenOff) continue;
      const limited = licence.ms < Infinity;
      const from = limited ? licence.at : seat.recalledAt;
      if (from === null) continue;
      const goodForMs = Math.max(limited ? licence.ms : 0, seat.need.stepMs);
      const dueMs = Math.max(this.#policy.overdueMs, OVERDUE_FACTOR * goodForMs);
      if (now - from < dueMs) continue;
      seat.writtenOff = true;
      this.#accounts.wroteOff(seat.class);
    }
    return this.#dispatch(now);
  }

  view(): TimeView {
    const seats = [...this.#seats.values()];
    return {
      concurrency: this.#policy.concurrency,
      classes: MODEL_CLASSES.map((c) => {
        const { grantedMs, freeMs, turns, waitMsSum, waitMsMax, overdue } = this.#accounts.of(c);
        const own = seats.filter((seat) => seat.class === c);
        const waiting = own.filter((seat) => seat.waiting).length;
        const counts = { class: c, hosts: own.length, waiting };
        return { ...counts, grantedMs, freeMs, turns, waitMsSum, waitMsMax, overdue };
      }),
      strays: this.#strays,
    };
  }

  check(): void {
    const { concurrency } = this.#policy;
    assert(this.#occupied() <= concurrency, `${this.#occupied()} of ${concurrency} hosts compute`);
    for (const seat of this.#seats.values()) {
      assert(!(seat.waiting && seat.licences.length > 0), `${seat.host} waits with a licence`);
      assert(!seat.waiting || this.#occupied() === concurrency, `${seat.host} waits for nothing`);
    }
  }

  /** Gives out what there is, and calls back unlimited licences when somebody is left waiting. */
  #dispatch(now: number): ArbiterAction[] {
    const actions: ArbiterAction[] = [];
    for (;;) {
      const waiting = this.#waiting();
      const room = this.#policy.concurrency - this.#occupied();
      if (waiting.length === 0 || room <= 0) break;
      const fits = waiting.length <= room;
      const choice = fits ? null : this.#choose(now, waiting, null);
      const host = choice?.host ?? defined(waiting[0], 'waiting host').host;
      const seat = defined(this.#seats.get(host), 'seat');
      this.#accounts.waited(seat.class, now - seat.since);
      actions.push(this.#license(seat, choice?.ms ?? Infinity, now));
    }
    if (this.#waiting().length === 0) return actions;
    for (const seat of this.#seats.values()) {
      if (seat.recalledAt !== null || !isFree(seat) || seat.writtenOff) continue;
      seat.recalledAt = now;
      actions.push({ kind: 'hold', host: seat.host });
    }
    return actions;
  }

  #license(seat: Seat, ms: number, now: number): ArbiterAction {
    const turn = this.#nextTurn;
    this.#nextTurn += 1;
    seat.licences.push({ turn, ms, at: now });
    seat.waiting = false;
    seat.servedAt = now;
    return ms === Infinity
      ? { kind: 'free', host: seat.host, turn }
      : { kind: 'grant', host: seat.host, turn, ms };
  }

  /** `ahead`: as if its class had computed so much more. */
  #choose(
    now: number,
    waiting: readonly Candidate[],
    ahead: { class: ModelClass; ms: number } | null,
  ): Choice {
    const { classes } = this.#policy;
    const aheadMs = (c: ModelClass): number => (ahead?.class === c ? ahead.ms : 0);
    const standing = {
      virtual: (c: ModelClass) => this.#accounts.of(c).virtual + aheadMs(c) / classes[c].weight,
      owed: (c: ModelClass, leastMs: number) =>
        aheadMs(c) > 0 ? 0 : this.#accounts.owed(c, leastMs),
    };
    return choose(this.#policy, standing, { now, waiting });
  }

  #candidate({ host, class: c, need, since, servedAt }: Seat): Candidate {
    const { delayMsMax, delayFraction } = this.#policy.classes[c];
    const fractionMs = delayFraction === null ? Infinity : delayFraction * need.stepMs;
    return { host, class: c, need, servedAt, deadline: since + Math.min(delayMsMax, fractionMs) };
  }

  #waiting(): Candidate[] {
    const waiting: Candidate[] = [];
    for (const seat of this.#seats.values()) if (seat.waiting) waiting.push(this.#candidate(seat));
    return waiting;
  }

  #occupied(): number {
    let count = 0;
    for (const { licences, writtenOff } of this.#seats.values()) {
      if (licences.length > 0 && !writtenOff) count += 1;
    }
    return count;
  }

  #anyFree(): boolean {
    for (const seat of this.#seats.values()) if (isFree(seat)) return true;
    return false;
  }

  /** Classes that have work, as far as is known: an unlimited licence counts as work. */
  #busy(): Set<ModelClass> {
    const busy = new Set<ModelClass>();
    for (const seat of this.#seats.values()) {
      if (seat.waiting || (seat.licences.length > 0 && !seat.writtenOff)) busy.add(seat.class);
    }
    return busy;
  }

  #accrue(now: number): void {
    const hosts = new Map<ModelClass, number>();
    const contended = [...this.#seats.values()].some((seat) => seat.waiting);
    for (const seat of contended ? this.#seats.values() : []) {
      const limited = seat.licences.some(({ ms }) => ms < Infinity) && !seat.writtenOff;
      if (seat.waiting || limited) hosts.set(seat.class, (hosts.get(seat.class) ?? 0) + 1);
    }
    this.#accounts.accrue(now, hosts);
  }

  #stray(): ArbiterAction[] {
    this.#strays += 1;
    return [];
  }
}

function isFree({ licences }: Seat): boolean {
  return licences.some(({ ms }) => ms === Infinity);
}
