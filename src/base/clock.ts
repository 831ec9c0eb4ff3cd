/** Time is injected, so that a seed and a script of arrivals replay a failure exactly. */
import { type Millis, millis } from './units.ts';

export interface Clock {
  /** A point on a monotonic clock; only differences mean anything. */
  now(): Millis;
}

export const systemClock: Clock = { now: () => millis(performance.now()) };

/** A clock that moves when it is told to. */
export class ManualClock implements Clock {
  #now = 0;

  now(): Millis {
    return millis(this.#now);
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}
