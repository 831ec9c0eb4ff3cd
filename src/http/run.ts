/**
 * The generations of one request, read side by side. It knows when a reply may begin, measures
 * TTFT and inter-token latency, and ends in one outcome. One choice that fails ends them all.
 */
import type { Clock } from '../base/clock.ts';
import { ERROR_TABLE, fromErrorRecord, PlenumError, toPlenumError } from '../base/errors.ts';
import type { GenerateEvent, Usage } from '../wire/generation.ts';
import type { ModerationNote } from '../wire/guard.ts';
import type { FinishReason, Outcome } from '../wire/outcome.ts';
import type { Backend, ClientRequest, Generation } from './backend.ts';
import { graceMs } from './until.ts';

export type OutputEvent = Extract<GenerateEvent, { kind: 'prompt' | 'delta' }>;
type EndEvent = Extract<GenerateEvent, { kind: 'end' }>;
export type CancelCode = 'client_closed' | 'slow_reader';

/** How a choice ended; `moderation` as in the end event. */
export interface Finish {
  readonly reason: FinishReason;
  readonly moderation?: ModerationNote;
}

export interface RunListener {
  /** Called in the order of each choice's events, at once when they arrive. */
  output(index: number, event: OutputEvent): void;
  finished(index: number, finish: Finish): void;
}

export interface RunOptions {
  /** `Backend.generate`, or one that has a guard in its path. */
  readonly backend: Pick<Backend, 'generate'>;
  /** Prompt-major: choice i belongs to prompt floor(i / n). */
  readonly requests: readonly ClientRequest[];
  readonly n: number;
  readonly listener: RunListener;
  readonly clock: Clock;
  /** When the request arrived, on the same clock. */
  readonly arrivedMs: number;
  /** From arrival on; null = none. */
  readonly deadlineMs: number | null;
  readonly onFirstToken: (ttftMs: number) => void;
  readonly onToken: (gapMs: number) => void;
  /** Every choice has ended. */
  readonly onEnd: () => void;
}

/** What nobody ended after the deadline is waited for this much longer, for its usage. */
const LAST_WORD_MS = 500;

interface Choice {
  accepted: boolean;
  /** As the events said so far; the end says it for good. */
  promptTokens: number;
  completionTokens: number;
  startedMs: number | null;
  lastMs: number | null;
  cachedTokens: number;
  queueMs: number;
  end: EndEvent | null;
}

/** What a reply says about time and cache before its body: of the first choice that had output. */
export interface FirstOutput {
  readonly queueMs: number;
  readonly prefillMs: number;
  readonly cachedTokens: number;
  readonly ttftMs: number;
}

export class Run {
  readonly #options: RunOptions;
  readonly #choices: readonly Choice[];
  readonly #generations: Generation[] = [];
  readonly #accepted = Promise.withResolvers<void>();
  readonly #opened = Promise.withResolvers<void>();
  readonly #abandoned = Promise.withResolvers<void>();
  #first: FirstOutput | null = null;
  #failure: PlenumError | null = null;
  #failedOutcome: Outcome | null = null;
  #cancelled: CancelCode | null = null;
  #done = false;
  #deadline: NodeJS.Timeout | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#choices = options.requests.map(() => ({
      accepted: false,
      promptTokens: 0,
      completionTokens: 0,
      startedMs: null,
      lastMs: null,
      cachedTokens: 0,
      queueMs: 0,
      end: null,
    }));
  }

  /**
   * Hands every choice to the backend; resolves when all have ended, or soon after the deadline,
   * and never rejects. What the backend throws is the run's failure.
   */
  async start(): Promise<void> {
    const { requests, backend, deadlineMs, arrivedMs, clock } = this.#options;
    const restMs = graceMs(deadlineMs, { arrivedMs, nowMs: clock.now() });
    if (restMs !== null) this.#deadline = setTimeout(() => this.#expire(), restMs);
    const pumps: Promise<void>[] = [];
    for (const [index, request] of requests.entries()) {
      try {
        const generation = backend.generate(request);
        this.#generations.push(generation);
        pumps.push(this.#pump(index, generation));
      } catch (error) {
        const failure = toPlenumError(error);
        this.#fail(failure, { kind: 'refused', code: failure.code });
        break;
      }
    }
    await Promise.race([Promise.all(pumps), this.#abandoned.promise]);
    this.#done = true;
    clearTimeout(this.#deadline);
    this.#options.onEnd();
    this.#opened.resolve();
  }

  /** Resolves when every choice is accepted; never, if there is no reply, known before that. */
  get accepted(): Promise<void> {
    return this.#accepted.promise;
  }

  /**
   * Resolves when the reply may begin: every choice is accepted and one has output, or it failed,
   * or everything has ended. Until then a refusal can still be an HTTP status.
   */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  cancel(code: CancelCode): void {
    this.#cancelled ??= code;
    for (const generation of this.#generations) generation.cancel(code);
  }

  /** Why there is no reply, or no more of it. */
  get failure(): PlenumError | null {
    if (this.#failure !== null) return this.#failure;
    if (this.#cancelled === null || this.#finished()) return null;
    return new PlenumError(this.#cancelled, ERROR_TABLE[this.#cancelled].meaning);
  }

  get first(): FirstOutput | null {
    return this.#first;
  }

  /** The one outcome of the request; to be read when `start` has resolved. */
  get outcome(): Outcome {
    if (this.#failedOutcome !== null) return this.#failedOutcome;
    if (this.#cancelled !== null && !this.#finished()) {
      return { kind: 'cancelled', code: this.#cancelled };
    }
    return this.#choices[0]?.end?.outcome ?? { kind: 'failed', code: 'internal' };
  }

  /** Each prompt once, as OpenAI counts; cached = what the luckless choice of it found cached. */
  get usage(): Usage {
    const sum = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    for (let from = 0; from < this.#choices.length; from += this.#options.n) {
      const usages = this.#choices
        .slice(from, from + this.#options.n)
        .map((choice) => usageOf(choice));
      sum.promptTokens += Math.max(...usages.map((usage) => usage.promptTokens));
      sum.cachedTokens += Math.min(...usages.map((usage) => usage.cachedTokens));
      for (const usage of usages) sum.completionTokens += usage.completionTokens;
    }
    return sum;
  }

  /** Tokens as they were computed, every choice for itself: what metrics add up. */
  get work(): Usage {
    const sum = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    for (const { promptTokens, cachedTokens, completionTokens } of this.#choices.map(usageOf)) {
      sum.promptTokens += promptTokens;
      sum.cachedTokens += cachedTokens;
      sum.completionTokens += completionTokens;
    }
    return sum;
  }

  /** The longest of each part over the choices. */
  get timings(): { queueMs: number; prefillMs: number; decodeMs: number } {
    const timings = this.#choices.flatMap((choice) => (choice.end ? [choice.end.timings] : []));
    return {
      queueMs: Math.max(0, ...timings.map((timing) => timing.queueMs)),
      prefillMs: Math.max(0, ...timings.map((timing) => timing.prefillMs)),
      decodeMs: Math.max(0, ...timings.map((timing) => timing.decodeMs)),
    };
  }

  #finished(): boolean {
    return this.#choices.every((choice) => choice.end?.outcome.kind === 'finished');
  }

  async #pump(index: number, generation: Generation): Promise<void> {
    const choice = this.#choices[index];
    if (choice === undefined) return;
    try {
      for await (const event of generation) this.#onEvent(index, choice, event);
      if (choice.end === null) {
        throw new PlenumError('internal', 'A generation ended without saying how.');
      }
    } catch (error) {
      this.#fail(toPlenumError(error), { kind: 'failed', code: toPlenumError(error).code });
    }
  }

  #onEvent(index: number, choice: Choice, event: GenerateEvent): void {
    if (this.#done) return;
    choice.accepted = true;
    switch (event.kind) {
      case 'accepted':
        choice.promptTokens = event.promptTokens;
        break;
      case 'started':
        choice.startedMs = this.#options.clock.now();
        choice.cachedTokens = event.cachedTokens;
        choice.queueMs = event.queueMs;
        break;
      case 'prompt':
        this.#options.listener.output(index, event);
        break;
      case 'delta':
        this.#onDelta(choice, event.tokens);
        this.#options.listener.output(index, event);
        break;
      case 'end':
        this.#onEnd(index, choice, event);
        break;
    }
    if (!this.#choices.every((one) => one.accepted)) return;
    this.#accepted.resolve();
    if (this.#first !== null) this.#opened.resolve();
  }

  #onDelta(choice: Choice, tokens: number): void {
    const now = this.#options.clock.now();
    choice.completionTokens += tokens;
    if (choice.lastMs !== null) {
      this.#options.onToken((now - choice.lastMs) / Math.max(1, tokens));
    }
    choice.lastMs = now;
    if (this.#first !== null) return;
    const ttftMs = now - this.#options.arrivedMs;
    this.#first = {
      queueMs: choice.queueMs,
      prefillMs: now - (choice.startedMs ?? now),
      cachedTokens: choice.cachedTokens,
      ttftMs,
    };
    this.#options.onFirstToken(ttftMs);
  }

  #onEnd(index: number, choice: Choice, event: EndEvent): void {
    choice.end = event;
    const { outcome } = event;
    if (outcome.kind === 'finished') {
      const { moderation } = event;
      const note = moderation === undefined ? {} : { moderation };
      this.#options.listener.finished(index, { reason: outcome.reason, ...note });
    } else if (outcome.kind !== 'cancelled' || this.#cancelled === null) {
      const { code } = outcome;
      const error =
        event.error === null
          ? new PlenumError(code, ERROR_TABLE[code].meaning)
          : fromErrorRecord(event.error);
      this.#fail(error, outcome);
    }
  }

  /** Nobody behind has ended it in time: what has computed may still say so, and no more. */
  #expire(): void {
    const { deadlineMs } = this.#options;
    const message = `The deadline of ${deadlineMs} ms passed before the reply was complete.`;
    const code = 'deadline_exceeded';
    this.#fail(new PlenumError(code, message), { kind: 'expired', code });
    this.#deadline = setTimeout(() => this.#abandoned.resolve(), LAST_WORD_MS);
  }

  #fail(error: PlenumError, outcome: Outcome): void {
    if (this.#failure === null) {
      this.#failure = error;
      this.#failedOutcome = outcome;
      for (const generation of this.#generations) generation.cancel('client_closed');
    }
    this.#opened.resolve();
  }
}

function usageOf(choice: Choice): Usage {
  const { promptTokens, cachedTokens, completionTokens } = choice;
  return choice.end?.usage ?? { promptTokens, cachedTokens, completionTokens };
}
