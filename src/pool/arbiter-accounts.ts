/**
 * What each class of models has had of the machine's time, in two accounts. Pure arithmetic.
 *
 * Fair share. A class's virtual time is v = Σ computed ms / weight; whoever has the least goes
 * next. Between classes that are busy all along |v_a − v_b| stays below one turn over its weight,
 * so that over T their times are in the proportion of their weights up to a turn each. A class that
 * wakes begins at the least v of the busy ones: nobody saves up by sleeping.
 *
 * Floor. While a class has work and others want the machine too, its claim grows by
 * floor × hosts-at-once per ms and falls by what it computes, never below 0. It is owed a turn when
 * the claim reaches the length of that turn. Since the claim never falls below 0,
 *   computed in [a, b]  ≥  growth over [a, b] − claim at b      for every a and b,
 * and the claim at b is a turn and what grows while turns in flight end.
 */
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';
import type { ArbiterPolicy, ClassPolicy } from './arbiter-policy.ts';

interface Account {
  readonly policy: ClassPolicy;
  virtual: number;
  claimMs: number;
  grantedMs: number;
  freeMs: number;
  turns: number;
  waitMsSum: number;
  waitMsMax: number;
  overdue: number;
}

/** Claims stop growing here, in turns: what cannot be paid must not be paid all at once later. */
const CLAIM_TURNS_MAX = 4;

export class ClassAccounts {
  readonly #policy: ArbiterPolicy;
  readonly #accounts: Readonly<Record<ModelClass, Account>>;
  /** Woke while unlimited licences were out, whose time is not known yet. */
  readonly #fresh = new Set<ModelClass>();
  #accruedAt: number | null = null;

  constructor(policy: ArbiterPolicy) {
    this.#policy = policy;
    const account = (c: ModelClass): Account => ({
      policy: policy.classes[c],
      virtual: 0,
      claimMs: 0,
      grantedMs: 0,
      freeMs: 0,
      turns: 0,
      waitMsSum: 0,
      waitMsMax: 0,
      overdue: 0,
    });
    this.#accounts = {
      chat: account('chat'),
      embed: account('embed'),
      rerank: account('rerank'),
      guard: account('guard'),
    };
  }

  of(c: ModelClass): Readonly<Account> {
    return this.#accounts[c];
  }

  /** Class `c` had no work and has some now; `busy` are the others that have. */
  woke(c: ModelClass, busy: ReadonlySet<ModelClass>, unknown: 'free licences' | 'none'): void {
    this.#align(c, [...busy]);
    if (unknown === 'free licences') this.#fresh.add(c);
  }

  /** Time computed on a licence of limited length. */
  charge(c: ModelClass, ms: number, busy: ReadonlySet<ModelClass>): void {
    const account = this.#accounts[c];
    account.grantedMs += ms;
    this.#spend(account, ms);
    this.#limitCredit(busy);
  }

  /**
   * Time computed on an unlimited licence, `contendedMs` of it after somebody else had come. What
   * lies before is nobody's loss: the newcomers begin where it ends.
   */
  chargeFree(
    c: ModelClass,
    time: { readonly ms: number; readonly contendedMs: number },
    busy: ReadonlySet<ModelClass>,
  ): void {
    const account = this.#accounts[c];
    const contendedMs = Math.min(time.ms, time.contendedMs);
    account.freeMs += time.ms;
    this.#spend(account, time.ms - contendedMs);
    const known = [c, ...busy].filter((other) => !this.#fresh.has(other));
    for (const fresh of this.#fresh) this.#align(fresh, known);
    this.#spend(account, contendedMs);
    this.#limitCredit(busy);
  }

  /** Every licence that is out is of limited length. */
  settled(): void {
    this.#fresh.clear();
  }

  /**
   * Claims grow up to `now`; `hosts` = those of each class that have work, none = no contention.
   */
  accrue(now: number, hosts: ReadonlyMap<ModelClass, number>): void {
    const ms = this.#accruedAt === null ? 0 : Math.max(0, now - this.#accruedAt);
    this.#accruedAt = now;
    if (ms === 0) return;
    for (const [c, count] of hosts) {
      const account = this.#accounts[c];
      const rate = Math.min(count, account.policy.floor * this.#policy.concurrency);
      account.claimMs += rate * ms;
    }
  }

  /** How much of a turn the class is owed, in turns of the length that its next step needs. */
  owed(c: ModelClass, leastMs: number): number {
    const account = this.#accounts[c];
    const turnMs = Math.max(this.#policy.floorTurnMs, leastMs);
    account.claimMs = Math.min(account.claimMs, CLAIM_TURNS_MAX * turnMs);
    return account.claimMs / turnMs;
  }

  waited(c: ModelClass, ms: number): void {
    const account = this.#accounts[c];
    account.turns += 1;
    account.waitMsSum += ms;
    account.waitMsMax = Math.max(account.waitMsMax, ms);
  }

  wroteOff(c: ModelClass): void {
    this.#accounts[c].overdue += 1;
  }

  #spend(account: Account, ms: number): void {
    account.virtual += ms / account.policy.weight;
    account.claimMs = Math.max(0, account.claimMs - ms);
  }

  /** Neither credit from before nor a debt that nobody remembers. */
  #align(c: ModelClass, busy: readonly ModelClass[]): void {
    const account = this.#accounts[c];
    const others = busy.filter((other) => other !== c);
    const times = (others.length > 0 ? others : MODEL_CLASSES).map(
      (o) => this.#accounts[o].virtual,
    );
    const start = others.length > 0 ? Math.min(...times) : Math.max(...times);
    const debt = this.#policy.lagMsMax / account.policy.weight;
    account.virtual = Math.min(Math.max(account.virtual, start), start + debt);
  }

  #limitCredit(busy: ReadonlySet<ModelClass>): void {
    let top = 0;
    for (const c of busy) top = Math.max(top, this.#accounts[c].virtual);
    for (const c of busy) {
      const account = this.#accounts[c];
      account.virtual = Math.max(
        account.virtual,
        top - this.#policy.lagMsMax / account.policy.weight,
      );
    }
  }
}
