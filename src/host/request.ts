/**
 * One generation inside its host: the text that its tokens become, its times and its counts. It
 * says what to tell the client; it does not decide when it is computed (scheduler) or how (engine).
 */
import { ERROR_TABLE, type ErrorRecord } from '../base/errors.ts';
import type { PromptScore, RequestKey, Sample } from '../scheduler/plan.ts';
import { TextStream } from '../stream/text-stream.ts';
import { type TokenBytes, toTokenLogprob } from '../stream/token-logprob.ts';
import type { GenerateEvent, GenerateRequest, TokenLogprob } from '../wire/generation.ts';
import type { Outcome } from '../wire/outcome.ts';

export interface RequestOptions {
  readonly id: string;
  readonly key: RequestKey;
  readonly request: GenerateRequest;
  readonly prompt: Int32Array;
  readonly arrivedAt: number;
  readonly tokenBytes: TokenBytes;
  readonly emit: (event: GenerateEvent) => void;
}

export class HostRequest {
  readonly id: string;
  readonly key: RequestKey;
  readonly prompt: Int32Array;
  readonly sampling: GenerateRequest['sampling'];
  readonly #options: RequestOptions;
  readonly #text: TextStream;
  /** Scores of the prompt's tokens, the first (which nothing precedes) left out. */
  readonly #promptScores: TokenLogprob[] = [];
  #promptSent: boolean;
  #startedAt: number | null = null;
  #firstTokenAt: number | null = null;
  #lastTokenAt: number | null = null;
  #cachedTokens = 0;
  #completionTokens = 0;
  #ended = false;

  constructor(options: RequestOptions) {
    this.#options = options;
    this.id = options.id;
    this.key = options.key;
    this.prompt = options.prompt;
    this.sampling = options.request.sampling;
    this.#text = new TextStream({
      stop: options.request.stop,
      tokenBytes: options.tokenBytes,
    });
    this.#promptSent = options.request.promptLogprobs === null;
  }

  /** The client has its end: whatever comes after is not for it. */
  get ended(): boolean {
    return this.#ended;
  }

  started(now: number, cachedTokens: number): void {
    this.#startedAt = now;
    this.#cachedTokens = cachedTokens;
    const queueMs = now - this.#options.arrivedAt;
    if (!this.#ended) this.#options.emit({ kind: 'started', cachedTokens, queueMs });
  }

  scored(score: PromptScore): void {
    for (const raw of score.scores) {
      if (this.#promptScores.length < this.prompt.length - 1) {
        this.#promptScores.push(toTokenLogprob(raw, this.#options.tokenBytes));
      }
    }
  }

  /** Takes a generated token; true when a stop string has ended it. */
  take(sample: Sample, now: number): boolean {
    if (this.#ended) return false;
    this.#sendPrompt();
    this.#firstTokenAt ??= now;
    this.#lastTokenAt = now;
    this.#completionTokens += 1;
    const bytes = sample.endOfGeneration
      ? new Uint8Array(0)
      : this.#options.tokenBytes(sample.token);
    const delta = this.#text.push(bytes, sample.endOfGeneration ? null : sample.logprob);
    const { text, tokens, logprobs } = delta;
    if (tokens > 0 || text !== '') this.#options.emit({ kind: 'delta', text, tokens, logprobs });
    if (delta.stopped === null) return false;
    this.#finish({ kind: 'finished', reason: 'stop' }, delta.stopped, null);
    return true;
  }

  /** The scheduler or the host has ended it. Nothing happens when a stop string already did. */
  end(outcome: Outcome, error: ErrorRecord | null): void {
    if (this.#ended) return;
    if (outcome.kind === 'finished') {
      this.#sendPrompt();
      const { text, tokens, logprobs } = this.#text.finish();
      if (tokens > 0 || text !== '') this.#options.emit({ kind: 'delta', text, tokens, logprobs });
    }
    this.#finish(outcome, null, error ?? errorOf(outcome));
  }

  #finish(outcome: Outcome, stopString: string | null, error: ErrorRecord | null): void {
    this.#ended = true;
    const started = this.#startedAt ?? this.#options.arrivedAt;
    const first = this.#firstTokenAt ?? started;
    this.#options.emit({
      kind: 'end',
      outcome,
      error,
      stopString,
      usage: {
        promptTokens: this.prompt.length,
        cachedTokens: this.#cachedTokens,
        completionTokens: this.#completionTokens,
      },
      timings: {
        queueMs: started - this.#options.arrivedAt,
        prefillMs: first - started,
        decodeMs: (this.#lastTokenAt ?? first) - first,
      },
    });
  }

  #sendPrompt(): void {
    if (this.#promptSent) return;
    this.#promptSent = true;
    const text = textOf(this.prompt, this.#options.tokenBytes);
    this.#options.emit({ kind: 'prompt', text, logprobs: [null, ...this.#promptScores] });
  }
}

/** What tokens say, control tokens left out; a part of a character becomes U+FFFD. */
export function textOf(tokens: Int32Array, tokenBytes: TokenBytes): string {
  const decoder = new TextDecoder();
  let text = '';
  for (const token of tokens) text += decoder.decode(tokenBytes(token), { stream: true });
  return text + decoder.decode();
}

function errorOf(outcome: Outcome): ErrorRecord | null {
  if (outcome.kind === 'finished' || outcome.kind === 'cancelled') return null;
  return { code: outcome.code, message: ERROR_TABLE[outcome.code].meaning };
}
