/**
 * The scheduler of one model: pure, one owner. `plan(now)` says what the engine computes next,
 * `settle(plan, result, now)` takes what came of it. It owns every KV cell and every sequence; it
 * knows no clock, no promise, no text. Each concern is one pass over a small draft:
 *
 *   reap (cancelled, expired) → admit (waiting → running) → decode → catch up → seal
 *
 * Promises: every request ends in exactly one Outcome; free + cached + held = cells after every
 * call; the oldest sequence always makes progress; nothing is computed for a request that has
 * ended.
 */
import { assert, defined } from '../base/assert.ts';
import type { Outcome } from '../wire/outcome.ts';
import { CatchUpPace, planCatchUp } from './catch-up.ts';
import type { CellBook, CellCount } from './cells.ts';
import { StepDraft } from './draft.ts';
import type { RequestKey, Sample, StepPlan, StepResult, StepTimeModel } from './plan.ts';
import { commonPrefix, type SchedulerRequest, Sequence } from './sequence.ts';
import { openCellBook } from './slots.ts';
import { WaitEstimator } from './wait.ts';

export interface SchedulerOptions {
  /**
   * How the engine keeps KV cells: all in one buffer in which sequences share the cells of a common
   * prefix, or a slot of `contextTokens` cells for each running sequence, between which a prefix is
   * copied. Slots need cells for `parallel` whole contexts. Default: shared.
   */
  readonly layout?: 'shared' | 'slots';
  readonly cells: number;
  readonly contextTokens: number;
  /** Sequences that run at the same time. */
  readonly parallel: number;
  /** KV sequence ids of the engine; those beyond `parallel` keep cached prefixes. */
  readonly seqsMax: number;
  readonly stepTokensMax: number;
  readonly queueMax: number;
  /** Longest wait for the first step. */
  readonly waitMsMax: number;
  /** Time of a step while streams decode; null = by the load (autoTargetMs). */
  readonly stepTargetMs: number | null;
  readonly prefixCache: boolean;
  readonly time: StepTimeModel;
}

export type Admission =
  | { readonly kind: 'accepted'; readonly predictedWaitMs: number }
  | { readonly kind: 'queue_full'; readonly waiting: number; readonly predictedWaitMs: number }
  | { readonly kind: 'too_long'; readonly contextTokens: number };

/** What is known of a request when it ends. Times are points on the caller's clock. */
export interface End {
  readonly key: RequestKey;
  readonly outcome: Outcome;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generated: number;
  readonly startedAt: number | null;
  readonly preemptions: number;
}

export interface Started {
  readonly key: RequestKey;
  readonly cachedTokens: number;
}

export interface Planned {
  /** null = there is nothing to do. */
  readonly step: StepPlan | null;
  readonly started: readonly Started[];
  readonly ends: readonly End[];
}

export interface Settled {
  readonly produced: readonly Sample[];
  readonly ends: readonly End[];
}

export interface SchedulerSnapshot {
  readonly waiting: number;
  readonly running: number;
  readonly cells: CellCount;
  readonly preemptions: number;
  readonly promptCached: number;
  readonly promptComputed: number;
  readonly generated: number;
}

/** Cells kept for the output of each running sequence when another one is admitted. */
const HEADROOM_CELLS_PER_SEQUENCE = 8;
/** A shorter common prefix is not worth waiting for the sequence that computes it. */
const LEADER_TOKENS_MIN = 32;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #ledger: CellBook;
  readonly #wait: WaitEstimator;
  readonly #pace = new CatchUpPace();
  readonly #all = new Map<RequestKey, Sequence>();
  /** In order of arrival; a preempted sequence returns to the front. */
  readonly #waiting: Sequence[] = [];
  /** In order of arrival. */
  readonly #running: Sequence[] = [];
  /** Fewer than `parallel` after the engine had fewer cells than the ledger counts. */
  #runningMax: number;
  #step = 0;
  #inFlight: StepPlan | null = null;
  #preemptions = 0;
  #promptCached = 0;
  #promptComputed = 0;
  #generated = 0;

  constructor(options: SchedulerOptions) {
    const { cells, contextTokens, parallel, seqsMax, stepTokensMax } = options;
    assert(cells >= contextTokens, `${cells} cells cannot hold one context of ${contextTokens}`);
    assert(seqsMax >= parallel && parallel >= 1, `${seqsMax} sequence ids for ${parallel} running`);
    assert(stepTokensMax >= parallel, `a step of ${stepTokensMax} tokens for ${parallel} streams`);
    this.#options = options;
    this.#runningMax = parallel;
    this.#ledger = openCellBook(options);
    this.#wait = new WaitEstimator(options.time, parallel);
  }

  /** Nothing waits, nothing runs, nothing is to be released. */
  get idle(): boolean {
    return this.#all.size === 0 && !this.#ledger.hasOps;
  }

  /** Decides at once, from what is known now. The prompt has at least one token. */
  submit(request: SchedulerRequest, now: number): Admission {
    assert(!this.#all.has(request.key), `request ${request.key} was submitted twice`);
    assert(request.prompt.length > 0, 'an empty prompt');
    const { contextTokens, queueMax, parallel } = this.#options;
    const needed = request.prompt.length + Math.max(1, request.maxTokens ?? 1);
    if (request.maxTokens === 0 ? request.prompt.length > contextTokens : needed > contextTokens) {
      return { kind: 'too_long', contextTokens };
    }
    const predictedWaitMs = this.predictWaitMs();
    const free = Math.max(0, parallel - this.#running.length);
    if (this.#waiting.length >= queueMax + free) {
      return { kind: 'queue_full', waiting: this.#waiting.length, predictedWaitMs };
    }
    const sequence = new Sequence(request, now, contextTokens);
    this.#all.set(request.key, sequence);
    this.#waiting.push(sequence);
    return { kind: 'accepted', predictedWaitMs };
  }

  /**
   * Ends a request from outside: cancelled, or finished by a stop string. It leaves at the next
   * plan or settle. Unknown and ended keys are ignored: ends and cancels cross each other.
   */
  end(key: RequestKey, outcome: Outcome): void {
    const sequence = this.#all.get(key);
    if (sequence !== undefined) sequence.ending ??= outcome;
  }

  plan(now: number): Planned {
    assert(this.#inFlight === null, 'plan before the step in flight has settled');
    this.#expire(now);
    const ends = this.#reap();
    const started = this.#admit(now);
    const draft = new StepDraft(this.#options.stepTokensMax);
    this.#planDecode(draft);
    planCatchUp(draft, this.#running, {
      time: this.#options.time,
      stepTargetMs: this.#options.stepTargetMs,
      pace: this.#pace,
      reserve: (sequence, count) => this.#reserveSome(draft, sequence, count),
    });
    ends.push(...this.#reap());
    const ops = this.#ledger.takeOps();
    if (draft.isEmpty && ops.length === 0) return { step: null, started, ends };
    this.#step += 1;
    this.#inFlight = draft.seal(this.#step, ops, this.#options.time);
    return { step: this.#inFlight, started, ends };
  }

  settle(plan: StepPlan, result: StepResult, now: number): Settled {
    assert(plan === this.#inFlight, 'settle of a plan that is not in flight');
    this.#inFlight = null;
    if (result.kind === 'no_cells') {
      this.#relieve();
      return { produced: [], ends: this.#reap() };
    }
    for (const slice of plan.slices)
      this.#advance(defined(this.#all.get(slice.request), 'slice'), slice.tokens.length);
    const produced = result.samples.filter((sample) => this.#take(sample));
    if (plan.slices.length > 0) this.#options.time.observe(plan.shape, result.computeMs);
    this.#expire(now);
    return { produced, ends: this.#reap() };
  }

  /** How long a request that arrived now would wait for its first step. */
  predictWaitMs(): number {
    return this.#wait.predictMs(this.#running, this.#waiting);
  }

  snapshot(): SchedulerSnapshot {
    return {
      waiting: this.#waiting.length,
      running: this.#running.length,
      cells: this.#ledger.count(this.#running),
      preemptions: this.#preemptions,
      promptCached: this.#promptCached,
      promptComputed: this.#promptComputed,
      generated: this.#generated,
    };
  }

  /** Throws AssertionError when cells or sequences do not add up. */
  check(): void {
    this.#ledger.check(this.#running);
    assert(this.#all.size === this.#running.length + this.#waiting.length, 'a sequence is lost');
    for (const s of this.#running) {
      assert(s.seq !== null && s.computed < s.total, `running ${s.key} has nothing to compute`);
      assert(s.total <= this.#options.contextTokens, `${s.key} is longer than its context`);
    }
    for (const s of this.#waiting) {
      assert(s.seq === null && s.computed === 0, `waiting ${s.key} holds cells`);
      for (const key of s.commonWith.keys()) assert(this.#all.has(key), `${s.key} follows nobody`);
    }
  }

  #expire(now: number): void {
    for (const s of this.#all.values()) {
      if (now >= s.deadlineAt) s.ending ??= { kind: 'expired', code: 'deadline_exceeded' };
      if (s.startedAt === null && now - s.arrivedAt >= this.#options.waitMsMax) {
        s.ending ??= { kind: 'expired', code: 'wait_expired' };
      }
    }
  }

  /** Everything that is to end leaves; its cells stay as cache where others may want them. */
  #reap(): End[] {
    const ends: End[] = [];
    for (const s of this.#all.values()) {
      if (s.ending === null) continue;
      this.#all.delete(s.key);
      if (s.seq === null) remove(this.#waiting, s);
      else this.#leave(s);
      for (const other of this.#waiting) other.commonWith.delete(s.key);
      this.#wait.observeLength(s);
      ends.push({
        key: s.key,
        outcome: s.ending,
        promptTokens: s.promptLength,
        cachedTokens: s.cachedTokens,
        generated: s.generated,
        startedAt: s.startedAt,
        preemptions: s.preemptions,
      });
    }
    return ends;
  }

  /** A running sequence ends. What is left of the engine's cells is room for one more again. */
  #leave(s: Sequence): void {
    remove(this.#running, s);
    this.#ledger.retire(s, this.#options.prefixCache && !s.scorePrompt);
    this.#runningMax = Math.min(this.#options.parallel, this.#runningMax + 1);
  }

  #admit(now: number): Started[] {
    const started: Started[] = [];
    for (const s of [...this.#waiting]) {
      if (this.#running.length >= this.#runningMax) break;
      if (this.#followsLeader(s)) continue;
      const shareable = this.#options.prefixCache && !s.scorePrompt;
      const headroom = this.#running.reduce(
        (sum, other) => sum + other.remaining + HEADROOM_CELLS_PER_SEQUENCE,
        0,
      );
      if (!this.#ledger.admit(s, { shareable, headroom, running: this.#running })) break;
      remove(this.#waiting, s);
      insertByArrival(this.#running, s);
      s.commonWith.clear();
      this.#promptCached += s.reach();
      if (s.startedAt === null) {
        s.startedAt = now;
        s.cachedTokens = s.computed;
        started.push({ key: s.key, cachedTokens: s.computed });
      }
    }
    return started;
  }

  /**
   * Another sequence is computing a prefix of this one right now: it is cheaper to wait and share
   * its cells than to compute them twice side by side.
   */
  #followsLeader(s: Sequence): boolean {
    if (!this.#options.prefixCache || s.scorePrompt) return false;
    return this.#running.some((leader) => {
      if (leader.computed >= leader.promptLength || leader.scorePrompt) return false;
      let common = s.commonWith.get(leader.key);
      if (common === undefined) {
        const prompt = leader.tokens.subarray(0, leader.promptLength);
        common = commonPrefix(s.tokens.subarray(0, s.total - 1), prompt);
        s.commonWith.set(leader.key, common);
      }
      return common - this.#ledger.publishedOf(leader) >= LEADER_TOKENS_MIN;
    });
  }

  #planDecode(draft: StepDraft): void {
    for (const s of [...this.#running]) {
      if (!s.decoding || s.seq === null || s.ending !== null) continue;
      if (this.#reserveOne(draft, s)) draft.add(s, 1);
    }
  }

  /** A cell for a decoding sequence; the newest others give way, or it does itself. */
  #reserveOne(draft: StepDraft, s: Sequence): boolean {
    while (this.#reserveSome(draft, s, 1) === 0) {
      const victim = this.#running.findLast((other) => !draft.has(other)) ?? s;
      if (victim === s && this.#running.length === 1) {
        s.ending = { kind: 'failed', code: 'cells_exhausted' };
        return false;
      }
      this.#preempt(victim);
      if (victim === s) return false;
    }
    return true;
  }

  /** Up to `count` cells for `s`, evicting cached ones; 0 when there are none left. */
  #reserveSome(draft: StepDraft, s: Sequence, count: number): number {
    if (s.seq === null) return 0;
    const granted = this.#ledger.makeRoom(count, draft.shape.tokens, this.#running);
    if (granted > 0 || !draft.isEmpty || s.decoding) return granted;
    // Nothing else moves in this step: the newest other sequence gives way to the oldest.
    const victim = this.#running.findLast((other) => other !== s && !draft.has(other));
    if (victim === undefined) {
      s.ending = { kind: 'failed', code: 'cells_exhausted' };
      return 0;
    }
    this.#preempt(victim);
    return this.#reserveSome(draft, s, count);
  }

  /**
   * Recomputation, not swapping: its tokens stay, its cells go, it returns to the queue's front.
   */
  #preempt(s: Sequence): void {
    this.#ledger.retire(s, this.#options.prefixCache && !s.scorePrompt);
    s.preemptions += 1;
    this.#preemptions += 1;
    remove(this.#running, s);
    insertByArrival(this.#waiting, s);
  }

  /** The engine found no cells although the ledger counts some: give way until it does. */
  #relieve(): void {
    if (this.#ledger.evictAll()) return;
    const victim = defined(this.#running.at(-1), 'a running sequence');
    if (this.#running.length > 1) {
      this.#preempt(victim);
      this.#runningMax = this.#running.length;
    } else victim.ending ??= { kind: 'failed', code: 'cells_exhausted' };
  }

  #advance(s: Sequence, count: number): void {
    const before = s.computed;
    s.computed += count;
    const fresh = Math.min(s.computed, s.promptLength) - Math.min(before, s.promptLength);
    this.#promptComputed += s.reach();
    if (fresh > 0 && this.#options.prefixCache) this.#ledger.publish(s, s.promptLength);
    if (s.maxTokens === 0 && s.computed === s.total) {
      s.ending ??= { kind: 'finished', reason: 'length' };
    }
  }

  /** True when the sampled token belongs to the output. */
  #take(sample: Sample): boolean {
    const s = defined(this.#all.get(sample.request), 'sequence of a sample');
    if (s.ending !== null) return false;
    s.append(sample.token);
    this.#generated += 1;
    if (sample.endOfGeneration) s.ending = { kind: 'finished', reason: 'stop' };
    else if (s.generated >= s.maxTokens || s.total >= this.#options.contextTokens) {
      s.ending = { kind: 'finished', reason: 'length' };
    }
    return true;
  }
}

function remove(list: Sequence[], s: Sequence): void {
  const index = list.indexOf(s);
  assert(index >= 0, `sequence ${s.key} is not in its list`);
  list.splice(index, 1);
}

/** Keys grow with arrival, so they order sequences that arrived in the same millisecond. */
function insertByArrival(list: Sequence[], s: Sequence): void {
  let index = list.length;
  while (index > 0 && (list[index - 1]?.key ?? 0) > s.key) index -= 1;
  list.splice(index, 0, s);
}
