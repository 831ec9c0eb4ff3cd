/**
 * A stupid reference engine for this room's tests: for every sequence a list of physical cells, for
 * every cell its holders. It applies a plan literally and refuses, by assertion, whatever a real
 * cache would silently corrupt. The next token is a hash of all tokens before it, so that a wrong
 * cell shows as another word. It knows no time and no sampling.
 */
import { assert, defined } from '../base/assert.ts';
import type {
  PromptScore,
  RequestKey,
  Sample,
  SeqId,
  Slice,
  StepPlan,
  StepResult,
} from './plan.ts';

interface Cell {
  readonly token: number;
  readonly holders: Set<SeqId>;
}

export interface FixtureOptions {
  /** With slots a share is a copy, and no sequence has more cells than its context. */
  readonly layout?: 'shared' | 'slots';
  readonly cells: number;
  readonly contextTokens: number;
  readonly seqsMax: number;
  readonly stepTokensMax: number;
  /** Tokens are 0 … vocabulary - 1; few of them make accidental common prefixes. */
  readonly vocabulary: number;
  /** One in so many tokens ends a generation; 0 = none does. */
  readonly endOneIn: number;
}

interface Request {
  /** Prompt and every token that was sampled for it. */
  readonly tokens: number[];
  readonly promptLength: number;
  scoredTo: number;
}

export class FixtureEngine {
  readonly #options: FixtureOptions;
  readonly #seqs: Cell[][];
  readonly #requests = new Map<RequestKey, Request>();
  #distinct = 0;

  constructor(options: FixtureOptions) {
    this.#options = options;
    this.#seqs = Array.from({ length: options.seqsMax }, () => []);
  }

  /** Physical cells in use, each counted once. */
  get distinctCells(): number {
    return this.#distinct;
  }

  lengthOf(seq: SeqId): number {
    return this.#seq(seq).length;
  }

  open(key: RequestKey, prompt: Int32Array): void {
    assert(!this.#requests.has(key), `fixture: request ${key} opened twice`);
    this.#requests.set(key, {
      tokens: [...prompt],
      promptLength: prompt.length,
      scoredTo: 0,
    });
  }

  close(key: RequestKey): void {
    this.#requests.delete(key);
  }

  /** What comes after `tokens`, by themselves. */
  nextOf(tokens: readonly number[]): { token: number; endOfGeneration: boolean } {
    const { vocabulary, endOneIn } = this.#options;
    let hash = 0x9e3779b9;
    for (const token of tokens) hash = Math.imul(hash ^ (token + 1), 0x01000193) ^ (hash >>> 15);
    hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad) >>> 0;
    return {
      token: hash % vocabulary,
      endOfGeneration: endOneIn > 0 && (hash >>> 12) % endOneIn === 0,
    };
  }

  /** A request computed alone and undisturbed: the tokens that it must give. */
  alone(prompt: Int32Array, maxTokens: number | null): { tokens: number[]; stopped: boolean } {
    const all = [...prompt];
    const most = Math.min(maxTokens ?? Infinity, this.#options.contextTokens - prompt.length);
    const tokens: number[] = [];
    while (tokens.length < most) {
      const next = this.nextOf(all);
      tokens.push(next.token);
      all.push(next.token);
      if (next.endOfGeneration) return { tokens, stopped: true };
    }
    return { tokens, stopped: false };
  }

  applyOps(plan: StepPlan): void {
    for (const op of plan.ops) {
      if (op.op === 'share') this.#share(op.from, op.to, op.count);
      else this.#truncate(op.seq, op.keep);
    }
  }

  /** Computes the slices of a plan whose operations were applied. */
  compute(plan: StepPlan, computeMs: number): StepResult {
    const samples: Sample[] = [];
    const scores: PromptScore[] = [];
    const seqs = new Set<SeqId>();
    let tokens = 0;
    let attended = 0;
    for (const slice of plan.slices) {
      assert(!seqs.has(slice.seq), `fixture: two slices of sequence ${slice.seq}`);
      seqs.add(slice.seq);
      tokens += slice.tokens.length;
      for (let i = 1; i <= slice.tokens.length; i++) attended += slice.start + i;
      this.#slice(slice, samples, scores);
    }
    const { stepTokensMax } = this.#options;
    assert(tokens <= stepTokensMax, `fixture: a step of ${tokens} tokens`);
    const { shape } = plan;
    assert(shape.tokens === tokens && shape.sequences === seqs.size, 'fixture: shape of the plan');
    assert(shape.attended === attended, `fixture: ${attended} attended, not ${shape.attended}`);
    return { kind: 'done', computeMs, samples, scores };
  }

  #slice(slice: Slice, samples: Sample[], scores: PromptScore[]): void {
    const cells = this.#seq(slice.seq);
    const request = defined(this.#requests.get(slice.request), 'open request of a slice');
    const end = slice.start + slice.tokens.length;
    assert(slice.tokens.length > 0, 'fixture: an empty slice');
    assert(
      slice.start === cells.length,
      `fixture: slice at ${slice.start}, cells end at ${cells.length}`,
    );
    for (const [i, token] of slice.tokens.entries()) {
      assert(token === request.tokens[slice.start + i], 'fixture: a slice of other tokens');
      cells.push({ token, holders: new Set([slice.seq]) });
    }
    this.#distinct += slice.tokens.length;
    assert(this.#distinct <= this.#options.cells, `fixture: ${this.#distinct} cells in use`);
    assert(end <= this.#options.contextTokens, 'fixture: longer than the context');
    const content = cells.map((cell) => cell.token);
    assert(
      content.every((token, i) => token === request.tokens[i]),
      `fixture: sequence ${slice.seq} holds the tokens of another request than ${slice.request}`,
    );
    if (slice.output === 'all') scores.push(this.#score(slice, request));
    const reaches = end === request.tokens.length;
    assert(slice.output === 'all' || (slice.output === 'last') === reaches, 'fixture: output');
    if (!reaches) return;
    const next = this.nextOf(content);
    request.tokens.push(next.token);
    samples.push({ request: slice.request, logprob: null, ...next });
  }

  /** Every prompt token is to be scored once, in order, whatever happens to its sequence. */
  #score(slice: Slice, request: Request): PromptScore {
    const end = slice.start + slice.tokens.length;
    assert(slice.start === request.scoredTo, `fixture: scored to ${request.scoredTo} before`);
    assert(end <= request.promptLength, 'fixture: scoring beyond the prompt');
    request.scoredTo = end;
    return { request: slice.request, start: slice.start, scores: [] };
  }

  #share(from: SeqId, to: SeqId, count: number): void {
    const source = this.#seq(from);
    const target = this.#seq(to);
    assert(from !== to && target.length === 0, `fixture: share onto used sequence ${to}`);
    assert(count >= 1 && count <= source.length, `fixture: ${count} of ${source.length} cells`);
    for (const cell of source.slice(0, count)) {
      if (this.#options.layout === 'slots') {
        target.push({ token: cell.token, holders: new Set([to]) });
        this.#distinct += 1;
        continue;
      }
      cell.holders.add(to);
      target.push(cell);
    }
  }

  #truncate(seq: SeqId, keep: number): void {
    const cells = this.#seq(seq);
    assert(keep >= 0 && keep <= cells.length, `fixture: keep ${keep} of ${cells.length} cells`);
    for (const cell of cells.splice(keep)) {
      cell.holders.delete(seq);
      if (cell.holders.size === 0) this.#distinct -= 1;
    }
  }

  #seq(seq: SeqId): Cell[] {
    return defined(this.#seqs[seq], `sequence ${seq}`);
  }
}
