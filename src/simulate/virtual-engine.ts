/**
 * An engine in virtual time: it applies a plan of the scheduler to the simulated KV cache, with the
 * assertions of the `sim` engine, and says at once how long the step would have taken. Synchronous;
 * no clock, no promise. It samples no words: the tokens of a request are a function of its place,
 * so that requests share exactly the prefixes that the workload says they share.
 */
import { assert, defined } from '../base/assert.ts';
import { SimCells } from '../engine/sim/cells.ts';
import { mix } from '../engine/sim/hash.ts';
import type {
  RequestKey,
  Sample,
  Slice,
  StepPlan,
  StepResult,
  StepShape,
} from '../scheduler/plan.ts';
import type { RequestShape } from './workload.ts';

export interface VirtualEngineOptions {
  readonly cells: number;
  readonly seqsMax: number;
  readonly stepTokensMax: number;
  /** Time of a step of this shape, in milliseconds. */
  readonly stepMs: (shape: StepShape) => number;
}

/** Keeps the tokens of shared beginnings apart from those of conversations. */
const SHARED_SALT = 0x51ed270b;

export function tokenAt(shape: RequestShape, position: number): number {
  const isShared = position < shape.sharedTokens;
  const state = isShared ? SHARED_SALT ^ shape.sharedId : shape.conversation;
  return mix(state, position) & 0x7fffffff;
}

export function promptOf(shape: RequestShape): Int32Array {
  const tokens = new Int32Array(shape.promptTokens);
  for (let position = 0; position < tokens.length; position++) {
    tokens[position] = tokenAt(shape, position);
  }
  return tokens;
}

interface Open {
  readonly shape: RequestShape;
  /** Its cells were compared with its tokens when it sampled first. */
  isProven: boolean;
}

export class VirtualEngine {
  readonly #options: VirtualEngineOptions;
  readonly #cells: SimCells;
  readonly #open = new Map<RequestKey, Open>();

  constructor(options: VirtualEngineOptions) {
    this.#options = options;
    const { cells, seqsMax } = options;
    this.#cells = new SimCells({ cells, seqsMax, seed: 0 });
  }

  get usedCells(): number {
    return this.#cells.usedCells;
  }

  open(key: RequestKey, shape: RequestShape): void {
    assert(!this.#open.has(key), 'a request is opened twice');
    this.#open.set(key, { shape, isProven: false });
  }

  close(key: RequestKey): void {
    this.#open.delete(key);
  }

  /** Throws AssertionError when the plan does not fit the cache as it is. */
  compute(plan: StepPlan): StepResult {
    const { stepTokensMax, stepMs } = this.#options;
    for (const op of plan.ops) {
      if (op.op === 'share') this.#cells.share(op.from, op.to, op.count);
      else this.#cells.truncate(op.seq, op.keep);
    }
    if (plan.slices.length === 0) return { kind: 'done', computeMs: 0, samples: [], scores: [] };
    let tokens = 0;
    for (const slice of plan.slices) tokens += slice.tokens.length;
    assert(tokens === plan.shape.tokens && tokens <= stepTokensMax, 'tokens of a step');
    if (tokens > this.#cells.freeCells) return { kind: 'no_cells' };
    const samples: Sample[] = [];
    for (const slice of plan.slices) {
      const token = this.#slice(slice);
      if (token === null) continue;
      samples.push({ request: slice.request, token, endOfGeneration: false, logprob: null });
    }
    return { kind: 'done', computeMs: stepMs(plan.shape), samples, scores: [] };
  }

  /** The token after the slice; null when none is wanted. */
  #slice({ request, seq, start, tokens, output }: Slice): number | null {
    const open = defined(this.#open.get(request), 'an open request of a slice');
    assert(this.#cells.lengthOf(seq) === start, 'a slice that does not begin where its cells end');
    for (let i = 0; i < tokens.length; i++) this.#cells.append(seq, tokens[i] ?? 0);
    if (output === 'none') return null;
    if (!open.isProven) this.#prove(open, seq);
    return tokenAt(open.shape, start + tokens.length);
  }

  /** What it attends to is what it said, whoever computed it. */
  #prove(open: Open, seq: number): void {
    const held = this.#cells.tokensOf(seq);
    const isOwn = held.every((token, position) => token === tokenAt(open.shape, position));
    assert(isOwn, 'a sequence holds cells of another text');
    open.isProven = true;
  }
}
