/**
 * One generation as the scheduler sees it: tokens that exist and tokens that are computed.
 *
 *   [ in the tree | private cells | to compute ........ ]
 *   0 ........ endOf(end) ... computed ............. total
 *
 * Invariant: endOf(end) ≤ computed < total while it runs, total ≤ contextTokens.
 */
import { assert } from '../base/assert.ts';
import type { Outcome } from '../wire/outcome.ts';
import type { RequestKey, SeqId } from './plan.ts';
import { endOf, type PrefixNode } from './prefix-index.ts';

export interface SchedulerRequest {
  readonly key: RequestKey;
  /** At least one token. */
  readonly prompt: Int32Array;
  /** null = until the context is full. 0 only with `scorePrompt`. */
  readonly maxTokens: number | null;
  /** Every prompt token is scored, so no prefix may come from the cache. */
  readonly scorePrompt: boolean;
  readonly deadlineMs: number | null;
}

export class Sequence {
  readonly key: RequestKey;
  readonly promptLength: number;
  readonly maxTokens: number;
  readonly scorePrompt: boolean;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  #tokens: Int32Array;
  total: number;
  computed = 0;
  /** The most that was ever computed; beyond `computed` after a preemption. */
  reached = 0;
  /** The KV sequence while it runs. */
  seq: SeqId | null = null;
  /** Where its part in the prefix tree ends, while it runs. */
  end: PrefixNode | null = null;
  startedAt: number | null = null;
  cachedTokens = 0;
  preemptions = 0;
  /** Set once; it leaves the scheduler at the next plan. */
  ending: Outcome | null = null;
  /** Length of the prefix that it has in common with another sequence that computes it now. */
  readonly commonWith = new Map<RequestKey, number>();

  constructor(request: SchedulerRequest, now: number, contextTokens: number) {
    this.key = request.key;
    this.promptLength = request.prompt.length;
    this.maxTokens = Math.min(request.maxTokens ?? contextTokens, contextTokens);
    this.scorePrompt = request.scorePrompt;
    this.arrivedAt = now;
    this.deadlineAt = request.deadlineMs === null ? Infinity : now + request.deadlineMs;
    this.#tokens = request.prompt.slice();
    this.total = request.prompt.length;
  }

  get generated(): number {
    return this.total - this.promptLength;
  }

  get remaining(): number {
    return this.total - this.computed;
  }

  /** Only its newest token is to compute: the next step yields the one after it. */
  get decoding(): boolean {
    return this.generated > 0 && this.remaining === 1;
  }

  /** Cells that only this sequence has. */
  get privateCells(): number {
    return this.end === null ? 0 : this.computed - endOf(this.end);
  }

  /** All tokens; a view that is valid until the next append. */
  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.total);
  }

  slice(start: number, length: number): Int32Array {
    return this.#tokens.subarray(start, start + length);
  }

  /** Notes how far it is computed; returns how many prompt tokens that is further than ever. */
  reach(): number {
    const before = Math.min(this.reached, this.promptLength);
    this.reached = Math.max(this.reached, this.computed);
    return Math.min(this.reached, this.promptLength) - before;
  }

  append(token: number): void {
    assert(this.computed === this.total, 'a token is appended to a sequence that is not caught up');
    if (this.total === this.#tokens.length) {
      const grown = new Int32Array(Math.max(64, this.#tokens.length * 2));
      grown.set(this.#tokens);
      this.#tokens = grown;
    }
    this.#tokens[this.total] = token;
    this.total += 1;
  }
}

/** How many tokens two runs have in common from their beginnings. */
export function commonPrefix(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a[i] === b[i]) i += 1;
  return i;
}
