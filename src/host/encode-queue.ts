/**
 * Which inputs form the next batch of an encoder. Pure: no clock, no promise. Requests stand in one
 * rotation; a batch takes one input of each in turn, again and again until it is full, so that a
 * request of two thousand inputs and one of a single input advance alike.
 *
 *   rotation  A(1999 left) B(1) C(40)   batch  A₁ B₁ C₁ A₂ C₂ A₃ …   rotation after  A C
 *
 * What did not fit into a batch stands first for the next, so a request with n others before it is
 * in the batch after n at the latest. Inputs have no effect on each other's vectors: only time is
 * shared.
 */
import { assert } from '../base/assert.ts';
import type { EncodeTask } from '../wire/encode.ts';

export type EncodeKey = number;

export interface EncodeQueueLimits {
  /** Most tokens of a batch of several inputs; an input alone may have more. */
  readonly batchTokensMax: number;
  readonly batchInputsMax: number;
}

export interface QueuedInput {
  readonly key: EncodeKey;
  /** Which input of its request. */
  readonly index: number;
  readonly tokens: Int32Array;
}

/** What decides how long a batch takes: each token of an input attends to all of them. */
export interface BatchShape {
  readonly tokens: number;
  readonly attended: number;
}

export interface EncodeBatch extends BatchShape {
  readonly task: EncodeTask;
  readonly inputs: readonly QueuedInput[];
}

interface Entry {
  readonly key: EncodeKey;
  readonly task: EncodeTask;
  readonly inputs: readonly Int32Array[];
  /** The first input that no batch has taken. */
  next: number;
}

export class EncodeQueue {
  readonly #limits: EncodeQueueLimits;
  #rotation: Entry[] = [];
  #inputs = 0;
  #tokens = 0;

  constructor(limits: EncodeQueueLimits) {
    this.#limits = limits;
  }

  /** Inputs that no batch has taken. */
  get inputs(): number {
    return this.#inputs;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** `inputs` are not empty, and none of them is. */
  add(key: EncodeKey, task: EncodeTask, inputs: readonly Int32Array[]): void {
    assert(inputs.length > 0, `request ${key} has no inputs`);
    this.#rotation.push({ key, task, inputs, next: 0 });
    this.#inputs += inputs.length;
    for (const { length } of inputs) this.#tokens += length;
  }

  /** Forgets what of the request no batch has taken; nothing for one that is not here. */
  remove(key: EncodeKey): void {
    const entry = this.#rotation.find((candidate) => candidate.key === key);
    if (entry === undefined) return;
    this.#rotation = this.#rotation.filter((other) => other !== entry);
    for (let i = entry.next; i < entry.inputs.length; i++) this.#forget(entry.inputs[i]);
  }

  /** What is computed before a request that arrives now has its first input in a batch. */
  ahead(): BatchShape & { readonly inputs: number } {
    let tokens = 0;
    let attended = 0;
    for (const { inputs, next } of this.#rotation) {
      const length = inputs[next]?.length ?? 0;
      tokens += length;
      attended += length ** 2;
    }
    return { inputs: this.#rotation.length, tokens, attended };
  }

  /** Tokens of the input that the next batch begins with; 0 when nothing waits. */
  get headTokens(): number {
    const [head] = this.#rotation;
    return head?.inputs[head.next]?.length ?? 0;
  }

  /**
   * Takes the next batch, all of one task; null when nothing waits. It has one input, and more
   * while `within` agrees with what they come to.
   */
  take(within: (shape: BatchShape) => boolean = () => true): EncodeBatch | null {
    const [head] = this.#rotation;
    if (head === undefined) return null;
    const taken: QueuedInput[] = [];
    let tokens = 0;
    let attended = 0;
    let open = this.#rotation.filter(({ task }) => task === head.task);
    const served = new Set<Entry>();
    while (open.length > 0) {
      open = open.filter((entry) => {
        const input = entry.inputs[entry.next];
        if (input === undefined) return false;
        const more = { tokens: tokens + input.length, attended: attended + input.length ** 2 };
        if (taken.length > 0 && !(this.#fits(taken.length, more) && within(more))) return false;
        taken.push({ key: entry.key, index: entry.next, tokens: input });
        ({ tokens, attended } = more);
        entry.next += 1;
        served.add(entry);
        this.#forget(input);
        return true;
      });
    }
    const passed = this.#rotation.filter((entry) => !served.has(entry));
    const again = [...served].filter(({ next, inputs }) => next < inputs.length);
    this.#rotation = [...passed, ...again];
    return { task: head.task, inputs: taken, tokens, attended };
  }

  #fits(inputs: number, { tokens }: BatchShape): boolean {
    const { batchInputsMax, batchTokensMax } = this.#limits;
    return inputs < batchInputsMax && tokens <= batchTokensMax;
  }

  #forget(input: Int32Array | undefined): void {
    this.#inputs -= 1;
    this.#tokens -= input?.length ?? 0;
  }
}
