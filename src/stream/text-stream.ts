/**
 * The text of one sequence: token bytes in, client text out. Joins the assembler (whole characters
 * only) and the stop matcher (nothing of a stop string), and keeps each token's count and log
 * probability with the text that it belongs to. Pure; one per sequence; does not tokenise.
 *
 * A token travels with the delta that releases the first of its text. Tokens that are wholly part
 * of a matched stop string are dropped with it; one whose text begins before the stop is kept.
 */
import { assert } from '../base/assert.ts';
import type { TokenLogprob } from '../wire/generation.ts';
import { StopMatcher } from './stop-matcher.ts';
import { type TokenBytes, type TokenScore, toTokenLogprob } from './token-logprob.ts';
import { Utf8Assembler } from './utf8-assembler.ts';

export interface TextDelta {
  /** Whole characters; may be empty. */
  readonly text: string;
  /** Tokens whose text is first released here. */
  readonly tokens: number;
  /** One for each of `tokens` that came with a score. */
  readonly logprobs: readonly TokenLogprob[];
  /** The stop string that was hit; the sequence is over then. */
  readonly stopped: string | null;
}

interface HeldToken {
  /** Place in the decoded text of the character that its first byte is part of. */
  readonly start: number;
  readonly empty: boolean;
  readonly score: TokenScore | null;
}

export interface TextStreamOptions {
  readonly stop: readonly string[];
  /** Needed for scores only. */
  readonly tokenBytes: TokenBytes;
}

export class TextStream {
  readonly #assembler = new Utf8Assembler();
  readonly #matcher: StopMatcher;
  readonly #tokenBytes: TokenBytes;
  /** Tokens of withheld text, in order. */
  #held: HeldToken[] = [];
  /** UTF-16 units decoded and released so far. */
  #decoded = 0;
  #released = 0;
  #ended = false;

  /** Throws `invalid_request` for an empty or ill-formed stop string. */
  constructor({ stop, tokenBytes }: TextStreamOptions) {
    this.#matcher = new StopMatcher(stop);
    this.#tokenBytes = tokenBytes;
  }

  /** Takes the next token. An AssertionError after a stop or `finish`. */
  push(bytes: Uint8Array, score: TokenScore | null): TextDelta {
    assert(!this.#ended, 'a token after the end of its text');
    this.#held.push({ start: this.#decoded, empty: bytes.length === 0, score });
    const decoded = this.#assembler.push(bytes);
    this.#decoded += decoded.length;
    const cut = this.#matcher.push(decoded);
    return this.#release(cut.text, cut.stopped);
  }

  /** The sequence is over: releases what was withheld. Empty when it was over already. */
  finish(): TextDelta {
    if (this.#ended) return { text: '', tokens: 0, logprobs: [], stopped: null };
    const tail = this.#assembler.finish();
    this.#decoded += tail.length;
    const cut = this.#matcher.push(tail);
    const rest = cut.stopped === null ? this.#matcher.finish() : { text: '', stopped: cut.stopped };
    const delta = this.#release(cut.text + rest.text, rest.stopped);
    this.#ended = true;
    return delta;
  }

  #release(text: string, stopped: string | null): TextDelta {
    this.#released += text.length;
    const logprobs: TokenLogprob[] = [];
    let tokens = 0;
    for (const held of this.#held) {
      const isOut = held.empty ? held.start <= this.#released : held.start < this.#released;
      if (!isOut) break;
      tokens += 1;
      if (held.score !== null) logprobs.push(toTokenLogprob(held.score, this.#tokenBytes));
    }
    if (tokens === this.#held.length) this.#held.length = 0;
    else this.#held.splice(0, tokens);
    if (stopped !== null) {
      this.#held.length = 0;
      this.#ended = true;
    }
    return { text, tokens, logprobs, stopped };
  }
}
