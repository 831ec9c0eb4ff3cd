/**
 * What a guard in the path lets through, as a pure state machine: events of a generation and
 * verdicts go in, what to send and what to judge comes out. It has no clock and waits for nothing;
 * guarded.ts drives it.
 *
 *   block      deltas ─► [ judged clean → out | being judged | not yet judged ]
 *                                              ╰ everything held when a judgement begins ╯
 *   annotate   deltas ─► out; the end waits for what the guard says
 *
 * Promises, for `block`: no text leaves before a verdict that covers it was clean, and after an
 * unsafe or missing verdict none leaves at all; what leaves is in order; at most `heldTokensMax`
 * tokens are held. Exactly one `end` leaves, last.
 */
import { assert } from '../base/assert.ts';
import type { ErrorRecord } from '../base/errors.ts';
import type { GenerateEvent } from '../wire/generation.ts';
import type { GuardPolicy, GuardStage, ModerationNote, StageNote, Verdict } from '../wire/guard.ts';
import type { Outcome } from '../wire/outcome.ts';

type EndEvent = Extract<GenerateEvent, { kind: 'end' }>;

export type Judged =
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'unavailable'; readonly error: ErrorRecord };

export type WindowAction =
  /** `heldMs`: how long the oldest of what this releases was held; null = it was not. */
  | { readonly kind: 'send'; readonly event: GenerateEvent; readonly heldMs: number | null }
  | { readonly kind: 'judge_input' }
  /** Judge `text`, the answer so far; up to `freshFrom` it has been judged before. */
  | { readonly kind: 'judge_output'; readonly text: string; readonly freshFrom: number }
  /** Nothing more of the generation is wanted; its end is still awaited. */
  | { readonly kind: 'cancel' };

export interface WindowOptions {
  readonly policy: GuardPolicy;
  readonly heldTokensMax: number;
}

interface Held {
  readonly event: Extract<GenerateEvent, { kind: 'prompt' | 'delta' }>;
  readonly at: number;
}

/** How a stage stands: `clean` until something else is known of what it has judged so far. */
interface Stage {
  pending: boolean;
  note: StageNote;
  unavailable: ErrorRecord | null;
}

export class GuardWindow {
  readonly #policy: GuardPolicy;
  readonly #heldTokensMax: number;
  readonly #input: Stage = { pending: false, note: null, unavailable: null };
  readonly #output: Stage = { pending: false, note: null, unavailable: null };
  readonly #held: Held[] = [];
  #heldTokens = 0;
  #text = '';
  /** Characters of `#text` that a verdict covers. */
  #judgedChars = 0;
  /** Of the judgement under way: how many of `#held` it covers, and how much text. */
  #covers = { count: 0, chars: 0 };
  #freshTokens = 0;
  #end: EndEvent | null = null;
  /** Set when nothing may leave any more but the end. */
  #verdict: { outcome: Outcome; error: ErrorRecord | null } | null = null;
  #done = false;

  constructor({ policy, heldTokensMax }: WindowOptions) {
    this.#policy = policy;
    this.#heldTokensMax = heldTokensMax;
  }

  /** Tokens that are held back. */
  get heldTokens(): number {
    return this.#heldTokens;
  }

  get done(): boolean {
    return this.#done;
  }

  start(): readonly WindowAction[] {
    if (!this.#policy.input) return [];
    this.#input.pending = true;
    return [{ kind: 'judge_input' }];
  }

  onEvent(event: GenerateEvent, now: number): readonly WindowAction[] {
    assert(this.#end === null, 'an event after the end of a generation');
    if (event.kind === 'end') {
      this.#end = event;
      return this.#progress(now);
    }
    if (this.#done || this.#verdict !== null) return [];
    if (event.kind === 'accepted' || event.kind === 'started') return [send(event)];
    if (event.kind === 'delta') {
      this.#text += event.text;
      this.#freshTokens += event.tokens;
    }
    if (this.#policy.action === 'annotate') return [send(event)];
    this.#held.push({ event, at: now });
    this.#heldTokens += tokensOf(event);
    if (this.#heldTokens > this.#heldTokensMax) {
      const message = `the guard ${this.#policy.model} is slower than the model it guards`;
      return this.#close(
        { kind: 'failed', code: 'guard_unavailable' },
        { code: 'guard_unavailable', message },
      );
    }
    return this.#progress(now);
  }

  onJudged(stage: GuardStage, judged: Judged, now: number): readonly WindowAction[] {
    const at = stage === 'input' ? this.#input : this.#output;
    assert(at.pending, `a verdict on ${stage} that nobody asked for`);
    at.pending = false;
    if (this.#done || this.#verdict !== null) return [];
    if (judged.kind === 'unavailable') {
      at.unavailable = judged.error;
      if (this.#policy.action === 'annotate') return this.#progress(now);
      return this.#close({ kind: 'failed', code: judged.error.code }, judged.error);
    }
    at.note = this.#worse(at.note, judged.verdict);
    const released: WindowAction[] = [];
    if (this.#policy.action === 'block') {
      if (at.note.flagged) {
        return this.#close({ kind: 'finished', reason: 'content_filter' }, null);
      }
      if (stage === 'output') released.push(...this.#release(this.#covers.count, now));
    }
    if (stage === 'output') this.#judgedChars = this.#covers.chars;
    return [...released, ...this.#progress(now)];
  }

  /** The client has gone: the end that the generation gives is passed on, whatever is held. */
  onCancel(outcome: Outcome): readonly WindowAction[] {
    if (this.#done) return [];
    this.#take(this.#held.length);
    this.#verdict = { outcome, error: null };
    return this.#sendEnd();
  }

  /** What follows from the state, until something new happens. */
  #progress(now: number): readonly WindowAction[] {
    if (this.#done) return [];
    if (this.#verdict !== null) return this.#sendEnd();
    if (this.#end !== null && this.#end.outcome.kind !== 'finished') {
      // It failed or was cancelled: what was not judged is not sent.
      this.#take(this.#held.length);
      return this.#sendEnd();
    }
    const { action, output } = this.#policy;
    if (action === 'block') {
      if (this.#input.pending) return [];
      if (!output) return [...this.#release(this.#held.length, now), ...this.#sendEnd()];
      // An echoed prompt and deltas without text are no output; the input's verdict covers them.
      const early = this.#output.pending ? [] : this.#release(this.#textless(), now);
      return [...early, ...this.#judgeOutput(), ...this.#sendEnd()];
    }
    return [...this.#judgeOutput(), ...this.#sendEnd()];
  }

  /** Leading held events that hold no text of the answer. */
  #textless(): number {
    const first = this.#held.findIndex(({ event }) => event.kind === 'delta');
    return first < 0 ? this.#held.length : first;
  }

  #judgeOutput(): readonly WindowAction[] {
    const { output, action, windowTokens } = this.#policy;
    if (!output || this.#output.pending || this.#output.unavailable !== null) return [];
    const fresh = this.#text.length > this.#judgedChars;
    const due =
      this.#end !== null || (action === 'block' && this.#freshTokens >= windowTokens && fresh);
    if (!due || !fresh) return [];
    this.#output.pending = true;
    this.#covers = { count: this.#held.length, chars: this.#text.length };
    this.#freshTokens = 0;
    return [{ kind: 'judge_output', text: this.#text, freshFrom: this.#judgedChars }];
  }

  #take(count: number): Held[] {
    const taken = this.#held.splice(0, count);
    for (const { event } of taken) this.#heldTokens -= tokensOf(event);
    return taken;
  }

  #release(count: number, now: number): WindowAction[] {
    const events = this.#take(count);
    return events.map(({ event, at }, index) => ({
      kind: 'send',
      event,
      heldMs: index === 0 ? now - at : null,
    }));
  }

  /** Nothing of the text that is held leaves; the end does when the generation has ended. */
  #close(outcome: Outcome, error: ErrorRecord | null): readonly WindowAction[] {
    this.#take(this.#held.length);
    this.#verdict = { outcome, error };
    if (this.#end !== null) return this.#sendEnd();
    return [{ kind: 'cancel' }];
  }

  /** The end, once nothing is awaited that belongs before it. */
  #sendEnd(): readonly WindowAction[] {
    const end = this.#end;
    if (end === null) return [];
    if (this.#verdict !== null) {
      this.#done = true;
      return [send({ ...end, ...this.#verdict, ...this.#noteWhere(true) })];
    }
    const finished = end.outcome.kind === 'finished';
    if (finished && (this.#input.pending || this.#output.pending)) return [];
    // Deltas without text after the last judgement: there is nothing in them to judge.
    const rest = finished ? this.#take(this.#held.length).map(({ event }) => send(event)) : [];
    this.#done = true;
    const withNote = finished && this.#policy.action === 'annotate';
    return [...rest, send({ ...end, ...this.#noteWhere(withNote) })];
  }

  #noteWhere(wanted: boolean): { moderation?: ModerationNote } {
    if (!wanted) return {};
    const { note: input, unavailable: noInput } = this.#input;
    const { note: output, unavailable: noOutput } = this.#output;
    const flagged = input?.flagged === true || output?.flagged === true;
    if ((noInput ?? noOutput) !== null) return { moderation: null };
    return { moderation: { model: this.#policy.model, flagged, input, output } };
  }

  /** The worst verdict of a stage stands for it. */
  #worse(before: StageNote, { score, categories }: Verdict): NonNullable<StageNote> {
    if (before !== null && before.score >= score) return before;
    return {
      flagged: score >= this.#policy.threshold,
      score,
      categories: Object.fromEntries(categories.map((one) => [one.name, one.score])),
    };
  }
}

const send = (event: GenerateEvent): WindowAction => ({ kind: 'send', event, heldMs: null });

const tokensOf = (event: Held['event']): number => (event.kind === 'delta' ? event.tokens : 0);
