/**
 * A generation as its reader sees it: events in order, an `end` last. What is not read yet is kept;
 * deltas that pile up are joined, so that a slow reader costs memory for its text and no more.
 */
import type { Generation } from '../http/backend.ts';
import type { GenerateEvent } from '../wire/generation.ts';

export class EventStream implements Generation {
  readonly #onCancel: (code: 'client_closed' | 'slow_reader') => void;
  readonly #events: GenerateEvent[] = [];
  #wake: (() => void) | null = null;
  #ended = false;

  constructor(onCancel: (code: 'client_closed' | 'slow_reader') => void) {
    this.#onCancel = onCancel;
  }

  push(event: GenerateEvent): void {
    if (this.#ended) return;
    this.#ended = event.kind === 'end';
    const last = this.#events.at(-1);
    if (event.kind === 'delta' && last?.kind === 'delta') {
      this.#events[this.#events.length - 1] = {
        kind: 'delta',
        text: last.text + event.text,
        tokens: last.tokens + event.tokens,
        logprobs: [...last.logprobs, ...event.logprobs],
      };
    } else {
      this.#events.push(event);
    }
    this.#wake?.();
  }

  cancel(code: 'client_closed' | 'slow_reader'): void {
    if (!this.#ended) this.#onCancel(code);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent, void, undefined> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) {
        yield event;
        if (event.kind === 'end') return;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }
}
