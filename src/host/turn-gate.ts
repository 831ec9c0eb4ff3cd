/**
 * A host's side of the time arbiter: asks before a step, counts what steps took, gives licences
 * back. Without an arbiter, and with an unlimited licence, a step costs two comparisons and no
 * message. It owns no clock and no timer.
 *
 *   loop { await gate.enter(need);  compute;  gate.leave(ms) }   …   gate.idle()
 *
 * After `leave` comes `enter` or `idle`, soon: only then does the next host learn that the step has
 * ended. Messages are handled when the host's event loop turns, so never between two of these calls
 * that follow each other synchronously.
 */
import { assert } from '../base/assert.ts';
import type { TurnNeed, TurnOrder, TurnReport } from '../wire/turn.ts';

interface Licence {
  readonly turn: number;
  readonly ms: number;
  spentMs: number;
  steps: number;
}

export class TurnGate {
  readonly #post: (report: TurnReport) => void;
  /** Until the first order there is no arbiter. */
  #arbitrated = false;
  #licence: Licence | null = null;
  /** The extension of `#licence`, asked for ahead. */
  #next: Licence | null = null;
  #asked = false;
  #recalled = false;
  #computing = false;
  #go: (() => void) | null = null;

  constructor(post: (report: TurnReport) => void) {
    this.#post = post;
  }

  /** Milliseconds that the step which has been let in should not exceed; Infinity = as it likes. */
  get roomMs(): number {
    const licence = this.#licence;
    return licence === null ? Infinity : licence.ms - licence.spentMs;
  }

  /**
   * Before each step. Returns nothing when it may begin at once, otherwise resolves when it may.
   */
  enter(need: TurnNeed): Promise<void> | undefined {
    let resolve: () => void = () => undefined;
    if (this.tryEnter(need, () => resolve())) return undefined;
    return new Promise((done) => {
      resolve = done;
    });
  }

  /** True when the step may begin now; otherwise `go` is called, later, when it may. */
  tryEnter(need: TurnNeed, go: () => void): boolean {
    assert(!this.#computing && this.#go === null, 'a host enters its turn twice');
    if (!this.#arbitrated) return this.#begin(null, need);
    if (this.#fits(need)) return this.#begin(this.#licence, need);
    if (this.#licence === null) this.#post({ type: 'turn', say: 'woke', need });
    else this.#giveBack(need);
    if (this.#fits(need)) return this.#begin(this.#licence, need);
    this.#go = go;
    return false;
  }

  /** After each step, with the time that it computed. */
  leave(ms: number): void {
    this.#computing = false;
    if (this.#licence !== null) this.#licence.spentMs += ms;
  }

  /** There is no work. An unlimited licence is kept, anything else goes back. */
  idle(): void {
    if (this.#licence === null) return;
    if (this.#recalled || this.#licence.ms < Infinity) this.#giveBack(null);
    // What an extension leaves is of no use without work either, unless it is unlimited.
    if (this.#licence !== null && this.#licence.ms < Infinity) this.#giveBack(null);
  }

  order(order: TurnOrder): void {
    this.#arbitrated = true;
    if (order.order === 'hold') this.#hold();
    else this.#receive({ turn: order.turn, ms: order.ms, spentMs: 0, steps: 0 });
  }

  /** Whoever waits goes on, and nothing waits from now on: the host is closing. */
  close(): void {
    this.#arbitrated = false;
    this.#go?.();
    this.#go = null;
  }

  #fits({ leastMs }: TurnNeed): boolean {
    const licence = this.#licence;
    if (licence === null || this.#recalled) return false;
    return licence.steps === 0 || licence.spentMs + leastMs <= licence.ms;
  }

  #begin(licence: Licence | null, need: TurnNeed): true {
    this.#computing = true;
    if (licence === null || licence.ms === Infinity) return true;
    licence.steps += 1;
    const last = licence.spentMs + 2 * need.stepMs > licence.ms;
    if (last && !this.#asked && this.#next === null) {
      this.#asked = true;
      this.#post({ type: 'turn', say: 'asks', need });
    }
    return true;
  }

  /** Returns the licence; its extension takes its place unless everything is called back. */
  #giveBack(more: TurnNeed | null): void {
    const licence = this.#licence;
    if (licence === null) return;
    const next = this.#next;
    const kept = this.#recalled ? null : next;
    this.#next = null;
    if (next !== null && kept === null) this.#spent(next, more);
    this.#licence = kept;
    this.#asked = false;
    this.#recalled = false;
    this.#spent(licence, more);
  }

  #spent({ turn, spentMs }: Licence, more: TurnNeed | null): void {
    this.#post({ type: 'turn', say: 'spent', turn, ms: spentMs, more });
  }

  #hold(): void {
    // Crossed what was given back meanwhile, or is the order that there is an arbiter.
    if (this.#licence === null) return;
    this.#recalled = true;
    if (!this.#computing) this.#giveBack(null);
  }

  #receive(licence: Licence): void {
    if (this.#licence !== null) {
      this.#next = licence;
      return;
    }
    this.#licence = licence;
    const go = this.#go;
    this.#go = null;
    if (go === null) {
      if (licence.ms < Infinity) this.#giveBack(null);
      return;
    }
    this.#computing = true;
    if (licence.ms < Infinity) licence.steps = 1;
    go();
  }
}
