/**
 * The sampler of one request. In order: suppressed tokens and bias, repeat penalty, frequency and
 * presence penalty; then choose.ts. The first half edits the row of logits in place and undoes it
 * afterwards: it touches the few tokens concerned, where libllama's penalty sampler looks every
 * token of the vocabulary up in a hash table (0.3 ms per penalty and sample of 49,152 tokens on one
 * core of a 2 GHz x86 server, a few µs here). The arithmetic is the same.
 */
import { Prng } from '../../base/prng.ts';
import type { SamplingParams } from '../../wire/generation.ts';
import { chooseToken } from './choose.ts';
import type { RowScan } from './rows.ts';

export interface SamplerFacts {
  readonly contextTokens: number;
  readonly endOfGeneration: ReadonlySet<number>;
  /** Tokens that the model's own metadata forbids to generate. */
  readonly suppressed: readonly number[];
}

export class RequestSampler {
  readonly params: SamplingParams;
  readonly prompt: Int32Array;
  readonly #facts: SamplerFacts;
  readonly #prng: Prng;
  readonly #window: TokenWindow;
  readonly #generated = new Map<number, number>();
  readonly #edited: number[] = [];
  readonly #saved: number[] = [];

  constructor(
    facts: SamplerFacts,
    { params, prompt }: { params: SamplingParams; prompt: Int32Array },
  ) {
    this.#facts = facts;
    this.params = params;
    this.prompt = prompt;
    this.#prng = new Prng(foldSeed(params.seed));
    const last = params.repeatLastN < 0 ? facts.contextTokens : params.repeatLastN;
    this.#window = new TokenWindow(params.repeatPenalty === 1 ? 0 : last, prompt);
  }

  /** Leaves the row as it was. Throws PlenumError `engine_failed` when it has no finite maximum. */
  sample(scan: RowScan, row: Float32Array): number {
    this.#edit(row);
    const token = chooseToken(scan, row, { params: this.params, prng: this.#prng });
    this.#undo(row);
    this.#window.push(token);
    if (this.params.frequencyPenalty !== 0 || this.params.presencePenalty !== 0) {
      this.#generated.set(token, (this.#generated.get(token) ?? 0) + 1);
    }
    return token;
  }

  #edit(row: Float32Array): void {
    const { logitBias, ignoreEos, repeatPenalty, frequencyPenalty, presencePenalty } = this.params;
    for (const token of this.#facts.suppressed) this.#set(row, token, Number.NEGATIVE_INFINITY);
    if (ignoreEos) {
      for (const token of this.#facts.endOfGeneration) {
        this.#set(row, token, Number.NEGATIVE_INFINITY);
      }
    }
    for (const [token, bias] of logitBias) {
      this.#set(row, token, (row[token] ?? 0) + bias);
    }
    for (const token of this.#window.tokens()) {
      const logit = row[token] ?? 0;
      // Dividing a negative logit would make it likelier.
      this.#set(row, token, logit > 0 ? logit / repeatPenalty : logit * repeatPenalty);
    }
    for (const [token, count] of this.#generated) {
      this.#set(row, token, (row[token] ?? 0) - count * frequencyPenalty - presencePenalty);
    }
  }

  #set(row: Float32Array, token: number, logit: number): void {
    this.#edited.push(token);
    this.#saved.push(row[token] ?? 0);
    row[token] = logit;
  }

  /** Backwards: a token may have been edited twice. */
  #undo(row: Float32Array): void {
    for (let i = this.#edited.length - 1; i >= 0; i--) {
      row[this.#edited[i] ?? 0] = this.#saved[i] ?? 0;
    }
    this.#edited.length = 0;
    this.#saved.length = 0;
  }
}

/** The last `size` tokens of prompt and output, and which tokens occur among them. */
class TokenWindow {
  readonly #ring: Int32Array;
  readonly #counts = new Map<number, number>();
  #length = 0;
  #next = 0;

  constructor(size: number, prompt: Int32Array) {
    this.#ring = new Int32Array(size);
    for (const token of size === 0 ? [] : prompt.subarray(-size)) this.push(token);
  }

  push(token: number): void {
    const size = this.#ring.length;
    if (size === 0) return;
    if (this.#length === size) this.#forget(this.#ring[this.#next] ?? 0);
    else this.#length += 1;
    this.#ring[this.#next] = token;
    this.#next = (this.#next + 1) % size;
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
  }

  tokens(): Iterable<number> {
    return this.#counts.keys();
  }

  #forget(token: number): void {
    const left = (this.#counts.get(token) ?? 0) - 1;
    if (left > 0) this.#counts.set(token, left);
    else this.#counts.delete(token);
  }
}

/** Any whole number as 32 bits, so that numbers beyond them differ too; null draws one. */
export function foldSeed(seed: number | null): number {
  const whole = seed ?? Math.floor(Math.random() * 2 ** 32);
  return (whole ^ Math.imul(Math.floor(whole / 2 ** 32), 0x9e3779b1)) >>> 0;
}
