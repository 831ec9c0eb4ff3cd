/**
 * A machine in simulated time for tests of the arbiter: hosts with real turn gates, messages that
 * take their time, steps that take theirs. It asserts at every event that no more hosts compute
 * than may. Hosts can be given work, crash and hang.
 */
import { assert, defined } from '../base/assert.ts';
import { TurnGate } from '../host/turn-gate.ts';
import type { ModelClass } from '../wire/pool.ts';
import type { TurnReport } from '../wire/turn.ts';
import { type ArbiterAction, TimeArbiter } from './arbiter.ts';
import type { ArbiterPolicy } from './arbiter-policy.ts';

export interface SimHostShape {
  readonly name: string;
  readonly class: ModelClass;
  /** Of a step; of a batch, whatever it holds. */
  readonly fixedMs: number;
  /** Of each item of a batch; 0 = the host steps one by one. */
  readonly itemMs: number;
  readonly itemsMax: number;
}

export interface SimStep {
  readonly host: string;
  readonly class: ModelClass;
  readonly readyAt: number;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly items: number;
}

class SimHost {
  readonly shape: SimHostShape;
  readonly gate: TurnGate;
  readonly #machine: SimMachine;
  work = 0;
  dead = false;
  hangs = false;
  computing = false;
  #asleep = true;
  #readyAt = 0;

  constructor(shape: SimHostShape, machine: SimMachine) {
    this.shape = shape;
    this.#machine = machine;
    this.gate = new TurnGate((report) => {
      if (!this.dead) machine.report(this, report);
    });
    this.gate.order({ type: 'turn', order: 'hold' });
  }

  give(work: number): void {
    this.work += work;
    if (!this.#asleep || this.dead) return;
    this.#readyAt = this.#machine.now;
    this.#asleep = false;
    this.#next();
  }

  #next(): void {
    this.#asleep = this.work <= 0;
    if (this.#asleep) {
      this.gate.idle();
      return;
    }
    const { fixedMs, itemMs, itemsMax } = this.shape;
    const items = Math.min(this.work, itemsMax);
    const need = { stepMs: fixedMs + items * itemMs, leastMs: fixedMs + itemMs };
    if (this.gate.tryEnter(need, () => this.#step())) this.#step();
  }

  #step(): void {
    if (this.dead) return;
    const { fixedMs, itemMs, itemsMax } = this.shape;
    const fitting = itemMs === 0 ? 1 : Math.floor((this.gate.roomMs - fixedMs) / itemMs + 1e-9);
    const items = Math.max(1, Math.min(fitting, itemsMax, this.work));
    const startedAt = this.#machine.now;
    const ms = fixedMs + items * itemMs;
    this.computing = true;
    this.#machine.began();
    if (this.hangs) return;
    this.#machine.after(ms, () => {
      if (this.dead) return;
      this.computing = false;
      this.work -= items;
      this.gate.leave(ms);
      const { name, class: c } = this.shape;
      const endedAt = this.#machine.now;
      const readyAt = this.#readyAt;
      this.#machine.steps.push({ host: name, class: c, readyAt, startedAt, endedAt, items });
      this.#readyAt = endedAt;
      this.#next();
    });
  }
}

export class SimMachine {
  readonly arbiter: TimeArbiter;
  readonly steps: SimStep[] = [];
  readonly hosts = new Map<string, SimHost>();
  now = 0;
  messages = 0;
  readonly #concurrency: number;
  readonly #messageMs: number;
  /** In the order in which they happen. */
  readonly #events: { at: number; run: () => void }[] = [];

  constructor(policy: ArbiterPolicy, messageMs: number) {
    this.arbiter = new TimeArbiter(policy);
    this.#concurrency = policy.concurrency;
    this.#messageMs = messageMs;
  }

  add(shape: SimHostShape): SimHost {
    const host = new SimHost(shape, this);
    this.hosts.set(shape.name, host);
    this.arbiter.register(shape.name, shape.class);
    return host;
  }

  host(name: string): SimHost {
    return defined(this.hosts.get(name), name);
  }

  /** Its process is gone now; the arbiter learns so a message later. */
  crash(name: string): void {
    const host = this.hosts.get(name);
    if (host === undefined) return;
    host.dead = true;
    host.computing = false;
    this.hosts.delete(name);
    this.after(this.#messageMs, () => this.#act(this.arbiter.gone(name, this.now)));
  }

  report(host: SimHost, report: TurnReport): void {
    this.messages += 1;
    const { name } = host.shape;
    this.after(this.#messageMs, () => {
      if (host.dead) return;
      const { now, arbiter } = this;
      if (report.say === 'woke') this.#act(arbiter.woke(name, now, report.need));
      else if (report.say === 'asks') this.#act(arbiter.asks(name, now, report.need));
      else this.#act(arbiter.spent(name, now, report));
    });
  }

  tick(): void {
    this.#act(this.arbiter.tick(this.now));
  }

  after(ms: number, run: () => void): void {
    const at = this.now + ms;
    let index = this.#events.length;
    while (index > 0 && (this.#events[index - 1]?.at ?? 0) > at) index -= 1;
    this.#events.splice(index, 0, { at, run });
  }

  /** Events up to `until`, in order. */
  run(until: number): void {
    for (;;) {
      const [next] = this.#events;
      if (next === undefined || next.at > until) break;
      this.#events.shift();
      this.now = next.at;
      next.run();
    }
    this.now = until;
  }

  began(): void {
    const computing = [...this.hosts.values()].filter((host) => host.computing && !host.hangs);
    assert(computing.length <= this.#concurrency, `${computing.length} hosts compute at once`);
  }

  /** Milliseconds computed by a class within [from, to]. */
  computedMs(c: ModelClass, from: number, to: number): number {
    return this.steps
      .filter((step) => step.class === c)
      .reduce(
        (sum, s) => sum + Math.max(0, Math.min(s.endedAt, to) - Math.max(s.startedAt, from)),
        0,
      );
  }

  #act(actions: readonly ArbiterAction[]): void {
    this.arbiter.check();
    for (const action of actions) {
      const host = this.hosts.get(action.host);
      this.messages += 1;
      this.after(this.#messageMs, () => {
        if (host === undefined || host.dead) return;
        if (action.kind === 'hold') host.gate.order({ type: 'turn', order: 'hold' });
        else {
          const ms = action.kind === 'free' ? Infinity : action.ms;
          host.gate.order({ type: 'turn', order: 'go', turn: action.turn, ms });
        }
      });
    }
  }
}
