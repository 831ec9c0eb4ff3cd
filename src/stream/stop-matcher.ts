/**
 * Cuts a growing text before the first stop string. What could be the beginning of one is withheld
 * until it is decided, so that nothing released is ever taken back and no part of a stop string
 * leaks; without a match, `finish` releases what is left. "First" is the match that begins first;
 * of those that begin together, the shortest.
 *
 *   released | withheld (a beginning of some stop string) | not yet
 *            ^ position - depth(state)                    ^ position
 *
 * Withheld is always shorter than the longest stop string.
 */
import { assert, defined } from '../base/assert.ts';
import { ROOT, StopAutomaton } from './stop-automaton.ts';

export interface StopCut {
  /** Text that may be shown. */
  readonly text: string;
  /** The stop string that was hit; once set, the matcher takes nothing more. */
  readonly stopped: string | null;
}

interface Candidate {
  /** Place of its first unit in the whole text. */
  readonly start: number;
  readonly stop: string;
}

export class StopMatcher {
  readonly #automaton: StopAutomaton | null;
  #state = ROOT;
  #withheld = '';
  /** Units taken in so far; UTF-16, like everything here. */
  #position = 0;
  /** A match that an earlier one, not yet decided, may still overtake. */
  #candidate: Candidate | null = null;
  #ended = false;

  /** Throws `invalid_request` for an empty or ill-formed stop string. */
  constructor(stops: readonly string[]) {
    this.#automaton = stops.length === 0 ? null : new StopAutomaton(stops);
  }

  /** Takes whole characters; an AssertionError after a stop or the end. */
  push(text: string): StopCut {
    assert(!this.#ended, 'text after the end');
    const automaton = this.#automaton;
    if (automaton === null) return { text, stopped: null };
    for (let i = 0; i < text.length; i++) {
      if (this.#advance(automaton, text.charCodeAt(i))) {
        this.#withheld += text.slice(0, i + 1);
        return this.#cut(defined(this.#candidate, 'a decided match'));
      }
    }
    const all = this.#withheld + text;
    const keep = automaton.depth(this.#state);
    this.#withheld = all.slice(all.length - keep);
    return { text: all.slice(0, all.length - keep), stopped: null };
  }

  /** The text is over: an undecided match is one now; otherwise the withheld text is free. */
  finish(): StopCut {
    if (this.#ended) return { text: '', stopped: null };
    if (this.#candidate !== null) return this.#cut(this.#candidate);
    this.#ended = true;
    const text = this.#withheld;
    this.#withheld = '';
    return { text, stopped: null };
  }

  /** One unit further; true when a match is decided. */
  #advance(automaton: StopAutomaton, unit: number): boolean {
    this.#state = automaton.next(this.#state, unit);
    this.#position += 1;
    const index = automaton.match(this.#state);
    if (index >= 0) {
      const stop = defined(automaton.stops[index], 'the stop string of a match');
      const start = this.#position - stop.length;
      if (this.#candidate === null || start < this.#candidate.start) {
        this.#candidate = { start, stop };
      }
    }
    if (this.#candidate === null) return false;
    const undecidedFrom = this.#position - automaton.depth(this.#state);
    return undecidedFrom >= this.#candidate.start;
  }

  /** The withheld text ends at `position`: before the match it is free, the rest is dropped. */
  #cut({ start, stop }: Candidate): StopCut {
    this.#ended = true;
    const text = this.#withheld.slice(0, this.#withheld.length - (this.#position - start));
    this.#withheld = '';
    return { text, stopped: stop };
  }
}
