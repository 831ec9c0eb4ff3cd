/**
 * Text to tokens. A text of ordinary length is tokenised at once, in a turn of the event loop of
 * its own: a step computes meanwhile on another thread, and between two texts its result can be
 * taken. A long text would keep the next step waiting, so it goes to a thread (tokenizer-thread.ts)
 * that lives while there are any: it takes 26 MB, which no prediction of a host's bytes counts.
 * Neither uses the thread on which steps compute.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import type { TokenizeOptions } from '../port.ts';
import type { Binding, Pointer } from './binding.ts';
import { allocate, countCall, readInt32s, release, view } from './memory.ts';

const THREAD = new URL('./tokenizer-thread.ts', import.meta.url);
/** UTF-16 units; at 1 to 4 MB a second less than 70 ms. */
const SHORT_TEXT_MAX = 65_536;
// llama_tokenize takes the length as int32.
const TEXT_BYTES_MAX = 2 ** 31 - 1;
const INT32_MIN = -(2 ** 31);

/** What the thread is asked and answers. */
export interface ThreadCall {
  readonly call: number;
  readonly vocab: Pointer;
  readonly text: string;
  readonly options: TokenizeOptions;
}
export type ThreadReply = { readonly call: number } & (
  | { readonly tokens: Int32Array }
  | { readonly error: string }
);

export class Tokenizer {
  readonly #binding: Binding;
  readonly #vocab: Pointer;
  #turn: Promise<unknown> = Promise.resolve();
  #thread: TokenizerThread | null = null;

  constructor(binding: Binding, vocab: Pointer) {
    this.#binding = binding;
    this.#vocab = vocab;
  }

  /** Rejects with `engine_failed` when the library cannot count the tokens. */
  tokenize(text: string, options: TokenizeOptions): Promise<Int32Array> {
    if (text.length > SHORT_TEXT_MAX) {
      if (this.#thread?.hasEnded !== false) this.#thread = new TokenizerThread(this.#vocab);
      return countCall(this.#thread.tokenize(text, options));
    }
    const tokens = this.#turn
      .then(() => nextTurn())
      .then(() => tokenizeNow(this.#binding, this.#vocab, { text, options }));
    this.#turn = tokens.catch(() => undefined);
    return tokens;
  }
}

interface Waiting {
  readonly resolve: (tokens: Int32Array) => void;
  readonly reject: (error: PlenumError) => void;
}

class TokenizerThread {
  readonly #vocab: Pointer;
  readonly #worker = new Worker(THREAD, { name: 'tokenizer' });
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #hasEnded = false;

  constructor(vocab: Pointer) {
    this.#vocab = vocab;
    this.#worker.on('message', (reply: ThreadReply) => this.#receive(reply));
    this.#worker.on('error', (thrown) => this.#bury(String(thrown)));
    this.#worker.on('exit', () => this.#bury('it ended'));
  }

  /** It takes no more texts. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  tokenize(text: string, options: TokenizeOptions): Promise<Int32Array> {
    this.#calls += 1;
    const request: ThreadCall = { call: this.#calls, vocab: this.#vocab, text, options };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.call, { resolve, reject });
      this.#worker.postMessage(request);
    });
  }

  #receive(reply: ThreadReply): void {
    const waiting = this.#waiting.get(reply.call);
    this.#waiting.delete(reply.call);
    if ('tokens' in reply) waiting?.resolve(reply.tokens);
    else waiting?.reject(new PlenumError('engine_failed', reply.error));
    if (this.#waiting.size > 0) return;
    this.#hasEnded = true;
    void this.#worker.terminate();
  }

  #bury(why: string): void {
    this.#hasEnded = true;
    const error = new PlenumError('engine_failed', `the tokenizer's thread failed: ${why}`);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** Blocks until it is done. Throws `engine_failed` when the library cannot count the tokens. */
export function tokenizeNow(
  binding: Binding,
  vocab: Pointer,
  { text, options }: { text: string; options: TokenizeOptions },
): Int32Array {
  const bytes = Buffer.byteLength(text, 'utf8');
  assert(bytes <= TEXT_BYTES_MAX, `text of ${bytes} bytes`);
  const input = allocate(bytes);
  const into = (room: number): Int32Array | number => {
    const output = allocate(room * Int32Array.BYTES_PER_ELEMENT);
    const { addSpecial, parseSpecial } = options;
    try {
      const args = [vocab, input, bytes, output, room, addSpecial, parseSpecial] as const;
      const count = binding.tokenize(...args);
      if (count === INT32_MIN) {
        throw new PlenumError('engine_failed', 'the text has more tokens than can be counted');
      }
      return count < 0 ? -count : readInt32s(output, count);
    } finally {
      release(output);
    }
  };
  try {
    new TextEncoder().encodeInto(text, new Uint8Array(view(input, Math.max(1, bytes))));
    // Words have 3 to 4 bytes per token; a text that needs more is tokenised a second time.
    const first = into(Math.ceil(bytes / 2) + 16);
    if (typeof first !== 'number') return first;
    const second = into(first);
    if (typeof second !== 'number') return second;
    throw new PlenumError('engine_failed', `tokenising ${bytes} bytes gave no stable count`);
  } finally {
    release(input);
  }
}
