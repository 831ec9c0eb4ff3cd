/**
 * What arrives: requests with their lengths and shared beginnings, and the process by which they
 * come (Poisson, a closed loop of users, a trace). Seeded: the same seed gives the same requests at
 * the same times. It knows nothing of machines.
 */
import { assert } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';

export interface RequestShape {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Prompts with the same id begin alike, as far as both have `sharedTokens`. */
  readonly sharedId: number;
  readonly sharedTokens: number;
  /** What follows is the same in all requests of a conversation, outputs included. */
  readonly conversation: number;
}

/** Requests one after the other, without end. */
export interface RequestSource {
  next(): RequestShape;
}

export interface DrawnLengths {
  /** Means; every request has these when `spread` is 0. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Sigma of a log-normal distribution around the means; 0 for fixed lengths. */
  readonly spread: number;
  /** Every prompt begins with the same so many tokens; each has at least one of its own. */
  readonly sharedTokens: number;
  readonly seed: number;
  /** Longer requests are drawn again, so that none is longer than the context. */
  readonly contextTokens: number;
}

/** Draws of a length before it is taken to be the mean: at a spread of 3 one in ten is too long. */
const DRAWS_MAX = 100;
const LENGTHS_SALT = 0x3c6ef372;

export class DrawnRequests implements RequestSource {
  readonly #lengths: DrawnLengths;
  readonly #prng: Prng;
  #count = 0;

  constructor(lengths: DrawnLengths) {
    const { promptTokens, outputTokens, spread, contextTokens } = lengths;
    assert(promptTokens >= 1 && outputTokens >= 1 && spread >= 0, 'lengths to draw from');
    assert(promptTokens + outputTokens <= contextTokens, 'the mean request is over the context');
    this.#lengths = lengths;
    // Not the numbers that the arrivals are drawn with.
    this.#prng = new Prng(lengths.seed ^ LENGTHS_SALT);
  }

  next(): RequestShape {
    const { promptTokens, outputTokens } = this.#draw();
    const sharedTokens = Math.min(this.#lengths.sharedTokens, promptTokens - 1);
    this.#count += 1;
    return { promptTokens, outputTokens, sharedId: 0, sharedTokens, conversation: this.#count };
  }

  #draw(): { readonly promptTokens: number; readonly outputTokens: number } {
    const { promptTokens, outputTokens, spread, contextTokens } = this.#lengths;
    if (spread === 0) return { promptTokens, outputTokens };
    for (let i = 0; i < DRAWS_MAX; i++) {
      const drawn = {
        promptTokens: this.#logNormal(promptTokens),
        outputTokens: this.#logNormal(outputTokens),
      };
      if (drawn.promptTokens + drawn.outputTokens <= contextTokens) return drawn;
    }
    return { promptTokens, outputTokens };
  }

  /** exp(normal(ln(mean) − σ²/2, σ)) has this mean. */
  #logNormal(mean: number): number {
    const { spread } = this.#lengths;
    const location = Math.log(mean) - spread ** 2 / 2;
    return Math.max(1, Math.round(Math.exp(location + spread * this.#prng.normal())));
  }
}

/** The requests of a list again and again; later rounds are conversations of their own. */
export class ListedRequests implements RequestSource {
  readonly #shapes: readonly RequestShape[];
  readonly #conversations: number;
  #index = 0;
  #round = 0;

  constructor(shapes: readonly RequestShape[]) {
    assert(shapes.length > 0, 'a list of no requests');
    this.#shapes = shapes;
    this.#conversations = 1 + Math.max(...shapes.map(({ conversation }) => conversation));
  }

  next(): RequestShape {
    const shape = this.#shapes[this.#index];
    assert(shape !== undefined, 'request of a list');
    const conversation = shape.conversation + this.#round * this.#conversations;
    this.#index += 1;
    if (this.#index === this.#shapes.length) {
      this.#index = 0;
      this.#round += 1;
    }
    return { ...shape, conversation };
  }
}

export type Process =
  | { readonly kind: 'poisson'; readonly ratePerSecond: number }
  /** Each of `users` sends its next request when the last one has ended. */
  | { readonly kind: 'closed'; readonly users: number }
  /** At these times, in milliseconds from the start, ascending. */
  | { readonly kind: 'times'; readonly atMs: readonly number[] };

/** A user of a closed loop whose request was refused tries again after so long. */
const RETRY_MS = 1000;
/** Users of a closed loop begin within this time of each other, not in one instant. */
const RAMP_MS = 1000;

/** When requests arrive; a closed loop is told when one has ended. */
export class Arrivals {
  readonly #process: Process;
  readonly #count: number;
  readonly #prng: Prng;
  /** Times of the next arrivals, ascending; in an open process only one. */
  readonly #next: number[] = [];
  #sent = 0;

  constructor(process: Process, count: number, seed: number) {
    this.#process = process;
    this.#count = count;
    this.#prng = new Prng(seed);
    if (process.kind !== 'closed') this.#schedule(this.#openTime(0));
    else {
      const users = Math.min(process.users, count);
      for (let user = 0; user < users; user++) this.#schedule(this.#prng.float() * RAMP_MS);
    }
  }

  /** Of the next arrival; null when none is to come (in a closed loop: until one ends). */
  get nextAt(): number | null {
    return this.#next[0] ?? null;
  }

  get isOver(): boolean {
    return this.#sent === this.#count;
  }

  /** The time of the next arrival, which is taken. */
  take(): number {
    const at = this.#next.shift();
    assert(at !== undefined, 'an arrival');
    this.#sent += 1;
    if (this.#process.kind !== 'closed') this.#schedule(this.#openTime(at));
    return at;
  }

  /** A request has ended; in a closed loop its user sends the next one. */
  ended(now: number, wasRefused: boolean): void {
    if (this.#process.kind === 'closed') this.#schedule(now + (wasRefused ? RETRY_MS : 0));
  }

  #openTime(last: number): number {
    if (this.#process.kind === 'times') return this.#process.atMs[this.#sent] ?? last;
    assert(this.#process.kind === 'poisson', 'an open process');
    return last + this.#prng.exponential(1000 / this.#process.ratePerSecond);
  }

  #schedule(at: number): void {
    if (this.#sent + this.#next.length >= this.#count) return;
    let index = this.#next.length;
    while (index > 0 && (this.#next[index - 1] ?? 0) > at) index -= 1;
    this.#next.splice(index, 0, at);
  }
}
