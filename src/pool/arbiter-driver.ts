/**
 * The time arbiter of one node at work: the pure core with the real clock, its actions sent as
 * messages, and a watchdog for hosts that hold a turn and do not give it back. It is bound to hosts
 * by seats: one for each life of a host process.
 */
import os from 'node:os';
import type { Clock } from '../base/clock.ts';
import type { EngineSpec } from '../wire/host.ts';
import type { ModelClass } from '../wire/pool.ts';
import type { TimeView, TurnOrder, TurnReport } from '../wire/turn.ts';
import { type ArbiterAction, TimeArbiter } from './arbiter.ts';
import { type ArbiterPolicy, defaultPolicy, NICENESS_MAX } from './arbiter-policy.ts';

export interface TurnSeat {
  /** Its process, as soon as there is one: it gets the priority of its class. */
  runs(pid: number): void;
  /** What the host says of turns. */
  heard(report: TurnReport): void;
  /** Its process is gone. Idempotent. */
  gone(): void;
}

/** How often overdue turns are looked for: a fraction of the time after which they are. */
const WATCH_MS = 500;

export class TurnKeeper {
  readonly #arbiter: TimeArbiter;
  readonly #policy: ArbiterPolicy;
  readonly #clock: Clock;
  readonly #posts = new Map<string, (order: TurnOrder) => void>();
  #watchdog: NodeJS.Timeout | undefined;
  #seats = 0;

  constructor(policy: ArbiterPolicy, clock: Clock) {
    this.#arbiter = new TimeArbiter(policy);
    this.#policy = policy;
    this.#clock = clock;
  }

  /**
   * A host process has been started. `post` sends it orders; the first one, that there is an
   * arbiter and the host is to ask, is sent at once.
   */
  seat(model: string, modelClass: ModelClass, post: (order: TurnOrder) => void): TurnSeat {
    this.#seats += 1;
    const host = `${model}#${this.#seats}`;
    this.#arbiter.register(host, modelClass);
    this.#posts.set(host, post);
    this.#watchdog ??= setInterval(() => this.#watch(), WATCH_MS).unref();
    post({ type: 'turn', order: 'hold' });
    return {
      runs: (pid) => makeNicer(pid, this.#policy.classes[modelClass].niceness),
      heard: (report) => {
        if (this.#posts.has(host)) this.#act(this.#hear(host, report));
      },
      gone: () => {
        if (this.#posts.delete(host)) this.#act(this.#arbiter.gone(host, this.#clock.now()));
        if (this.#posts.size > 0) return;
        clearInterval(this.#watchdog);
        this.#watchdog = undefined;
      },
    };
  }

  /** What each class has had of the machine, for metrics and for people. */
  view(): TimeView {
    return this.#arbiter.view();
  }

  #hear(host: string, report: TurnReport): ArbiterAction[] {
    const now = this.#clock.now();
    switch (report.say) {
      case 'woke':
        return this.#arbiter.woke(host, now, report.need);
      case 'asks':
        return this.#arbiter.asks(host, now, report.need);
      case 'spent':
        return this.#arbiter.spent(host, now, report);
    }
  }

  #watch(): void {
    this.#act(this.#arbiter.tick(this.#clock.now()));
  }

  #act(actions: readonly ArbiterAction[]): void {
    for (const action of actions) {
      const post = this.#posts.get(action.host);
      if (action.kind === 'hold') post?.({ type: 'turn', order: 'hold' });
      else {
        const ms = action.kind === 'free' ? Infinity : action.ms;
        post?.({ type: 'turn', order: 'go', turn: action.turn, ms });
      }
    }
  }
}

/**
 * On Linux this sets the process's first thread, and threads inherit it from the one that starts
 * them: those that compute are started later, by the first one.
 */
function makeNicer(pid: number, by: number): void {
  if (by === 0) return;
  try {
    os.setPriority(pid, Math.min(NICENESS_MAX, os.getPriority() + by));
  } catch {
    // It has died at once: the supervisor learns so from its exit.
  }
}

/**
 * How many hosts compute at once without taking each other's machine: one where there is a GPU that
 * they share, otherwise as many as have cores of their own. A host whose threads are not set takes
 * all cores; the simulated engine stands for one machine that all share.
 */
export function concurrencyOf(
  engines: readonly EngineSpec[],
  cores: number = os.availableParallelism(),
): number {
  let most = 1;
  for (const engine of engines) {
    if (engine.kind === 'sim') return 1;
    if (engine.gpuLayers !== 0 && process.platform === 'darwin') return 1;
    most = Math.max(most, engine.threads ?? cores);
  }
  return Math.max(1, Math.floor(cores / most));
}

/** The keeper of models that share a machine; null for a single one, which has it to itself. */
export function turnKeeperOf(engines: readonly EngineSpec[], clock: Clock): TurnKeeper | null {
  if (engines.length < 2) return null;
  return new TurnKeeper(defaultPolicy(concurrencyOf(engines)), clock);
}
