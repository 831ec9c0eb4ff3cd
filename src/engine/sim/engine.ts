/**
 * The `sim` engine: the engine port without a model. Steps take the time that a two-term model
 * says, tokens are a seeded function of everything before them, faults happen where the spec asks.
 * So a wrong share, a wrong position or a lost cell shows as an assertion or as other words, and
 * batched = alone, shared = unshared, preempted = undisturbed hold by construction.
 *
 * It keeps a real (simulated) KV cache and asserts every plan against it. It computes nothing else.
 */
import { assert } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import { Prng } from '../../base/prng.ts';
import type {
  PromptScore,
  RawLogprob,
  RequestKey,
  Sample,
  Slice,
  StepPlan,
  StepResult,
} from '../../scheduler/plan.ts';
import type { SimSpec } from '../../wire/host.ts';
import { checkBias } from '../bias.ts';
import type {
  Engine,
  EngineFacts,
  EngineOptions,
  EngineStats,
  OpenOptions,
  TokenizeOptions,
} from '../port.ts';
import { SimCells } from './cells.ts';
import { type Candidate, candidatesAfter, scoreOf } from './distribution.ts';
import { SimSampler } from './sampler.ts';
import { CONTROL, SIM_VOCAB_MAX, SIM_VOCAB_MIN, SimVocab } from './vocab.ts';

/** What the engine does to the world; replaced in tests and in virtual time. */
export interface SimEffects {
  /** Resolves after `ms`; for 0 after the event loop has had a turn. */
  readonly sleep: (ms: number) => Promise<void>;
  /** Ends the process as a native crash would. */
  readonly abort: () => void;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Timers fire at whole milliseconds and late; what was slept too long is taken off later sleeps,
 * so that the mean is right also for steps shorter than a millisecond.
 */
function realSleep(): SimEffects['sleep'] {
  let debtMs = 0;
  return async (ms) => {
    const from = performance.now();
    debtMs += ms;
    if (debtMs < 1) await turn();
    else await new Promise((resolve) => setTimeout(resolve, Math.floor(debtMs)));
    debtMs = Math.max(debtMs - (performance.now() - from), -SLEEP_CREDIT_MS_MAX);
  };
}
const SLEEP_CREDIT_MS_MAX = 10;

export function realEffects(): SimEffects {
  return { sleep: realSleep(), abort: () => process.abort() };
}

/** Sequences beyond the running ones, that only hold cached prefixes. */
const CACHE_SEQS = 64;
/** As libllama's LLAMA_MAX_SEQ, so that schedulers meet the same limit on both engines. */
const SEQS_MAX = 256;

export const CHATML_TEMPLATE =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + " +
  "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Rejects with PlenumError `load_failed` when the spec asks for it or is out of range. */
export async function openSimEngine(
  spec: SimSpec,
  options: EngineOptions,
  effects: SimEffects = realEffects(),
): Promise<SimEngine> {
  await pretendToLoad(spec, options, effects);
  return new SimEngine(spec, options, effects);
}

/** Rejects with PlenumError `load_failed` when the spec asks for it or is out of range. */
export async function pretendToLoad(
  spec: SimSpec,
  { onProgress }: { readonly onProgress: (fraction: number) => void },
  effects: SimEffects,
): Promise<void> {
  onProgress(0);
  await effects.sleep(0);
  if (spec.faults.failLoad !== null) throw new PlenumError('load_failed', spec.faults.failLoad);
  if (spec.vocabSize < SIM_VOCAB_MIN || spec.vocabSize > SIM_VOCAB_MAX) {
    throw new PlenumError(
      'load_failed',
      `sim vocabSize is ${spec.vocabSize}; it must lie in [${SIM_VOCAB_MIN}, ${SIM_VOCAB_MAX}]`,
    );
  }
  onProgress(1);
}

function simFacts(spec: SimSpec, options: EngineOptions, vocab: SimVocab): EngineFacts {
  const wanted = options.parallel + (options.prefixCache ? CACHE_SEQS : 0);
  return {
    engine: 'sim',
    device: 'simulated',
    description: `sim seed ${spec.seed}`,
    vocabSize: spec.vocabSize,
    trainedContextTokens: options.contextTokens,
    contextTokens: options.contextTokens,
    cells: options.cells,
    seqsMax: Math.max(options.parallel, Math.min(wanted, SEQS_MAX)),
    stepTokensMax: spec.stepTokensMax,
    prefixSharing: 'cells',
    chatTemplate: CHATML_TEMPLATE,
    bosText: vocab.controlText(CONTROL.bos),
    eosText: vocab.controlText(CONTROL.imEnd),
    synthetic: true,
    guess: {
      fixedMs: spec.fixedMs,
      perTokenMs: spec.perTokenMs,
      perAttendedMs: spec.perAttendedMs,
    },
  };
}

export class SimEngine implements Engine {
  readonly facts: EngineFacts;
  readonly #spec: SimSpec;
  readonly #effects: SimEffects;
  readonly #vocab: SimVocab;
  readonly #cells: SimCells;
  readonly #prng: Prng;
  readonly #samplers = new Map<RequestKey, SimSampler>();
  #steps = 0;
  #stepping: Promise<unknown> | null = null;
  #closed = false;

  constructor(spec: SimSpec, options: EngineOptions, effects: SimEffects) {
    this.#spec = spec;
    this.#effects = effects;
    this.#vocab = new SimVocab(spec.vocabSize);
    this.facts = simFacts(spec, options, this.#vocab);
    const { cells, seqsMax } = this.facts;
    this.#cells = new SimCells({ cells, seqsMax, seed: spec.seed });
    this.#prng = new Prng(spec.seed);
  }

  /** The simulated cache, for assertions about what a plan left in it. */
  get cells(): SimCells {
    return this.#cells;
  }

  async tokenize(text: string, options: TokenizeOptions): Promise<Int32Array> {
    assert(!this.#closed, 'tokenize after shutdown');
    return this.#vocab.tokenize(text, options);
  }

  tokenBytes(token: number): Uint8Array {
    return this.#vocab.bytesOf(token);
  }

  open(request: RequestKey, options: OpenOptions): void {
    assert(!this.#closed, 'open after shutdown');
    assert(!this.#samplers.has(request), `request ${request} opened twice`);
    checkBias(options.sampling.logitBias, this.facts.vocabSize);
    this.#samplers.set(request, new SimSampler(options.sampling, options.prompt));
  }

  close(request: RequestKey): void {
    this.#samplers.delete(request);
  }

  async step(plan: StepPlan): Promise<StepResult> {
    assert(!this.#closed, 'step after shutdown');
    assert(this.#stepping === null, 'step while a step computes');
    const stepping = this.#compute(plan);
    this.#stepping = stepping;
    try {
      return await stepping;
    } finally {
      this.#stepping = null;
    }
  }

  stats(): EngineStats {
    // A plausible 4 kB per token of cache, so that gauges and ledgers have something to show.
    return { weightsBytes: 0, kvBytes: this.facts.cells * 4096, computeBytes: 0 };
  }

  async shutdown(): Promise<void> {
    this.#closed = true;
    // How the step ended concerns its caller; only that it ended matters here.
    if (this.#stepping !== null && !this.#hangs()) await Promise.allSettled([this.#stepping]);
    this.#samplers.clear();
  }

  #hangs(): boolean {
    const { hangAtStep } = this.#spec.faults;
    return hangAtStep !== null && this.#steps >= hangAtStep;
  }

  async #compute(plan: StepPlan): Promise<StepResult> {
    this.#check(plan);
    this.#steps += 1;
    await this.#faults();
    for (const op of plan.ops) {
      if (op.op === 'share') this.#cells.share(op.from, op.to, op.count);
      else this.#cells.truncate(op.seq, op.keep);
    }
    const tokens = plan.slices.reduce((sum, slice) => sum + slice.tokens.length, 0);
    if (tokens > this.#cells.freeCells) {
      await this.#effects.sleep(0);
      return { kind: 'no_cells' };
    }
    const computeMs = this.#durationMs(plan);
    await this.#effects.sleep(computeMs);
    const samples: Sample[] = [];
    const scores: PromptScore[] = [];
    for (const slice of plan.slices) this.#slice(slice, samples, scores);
    return { kind: 'done', computeMs, samples, scores };
  }

  #check(plan: StepPlan): void {
    const seqs = new Set<number>();
    let tokens = 0;
    for (const slice of plan.slices) {
      assert(slice.tokens.length > 0, `empty slice of request ${slice.request}`);
      assert(!seqs.has(slice.seq), `two slices of sequence ${slice.seq} in one step`);
      assert(this.#samplers.has(slice.request), `request ${slice.request} is not open`);
      const end = slice.start + slice.tokens.length;
      assert(
        end <= this.facts.contextTokens,
        `sequence ${slice.seq} grows to ${end} of ${this.facts.contextTokens} tokens`,
      );
      seqs.add(slice.seq);
      tokens += slice.tokens.length;
    }
    const { stepTokensMax } = this.facts;
    assert(tokens <= stepTokensMax, `step of ${tokens} tokens; at most ${stepTokensMax}`);
    assert(tokens === plan.shape.tokens, `shape says ${plan.shape.tokens} tokens, has ${tokens}`);
  }

  async #faults(): Promise<void> {
    const { crashAtStep, failAtStep, hangAtStep } = this.#spec.faults;
    if (this.#steps === crashAtStep) this.#effects.abort();
    if (this.#steps === hangAtStep) await new Promise(() => undefined);
    if (this.#steps === failAtStep) {
      throw new PlenumError('engine_failed', `simulated failure at step ${this.#steps}`);
    }
  }

  #durationMs(plan: StepPlan): number {
    const { fixedMs, perTokenMs, perAttendedMs, noise } = this.#spec;
    let attended = 0;
    let tokens = 0;
    for (const { start, tokens: own } of plan.slices) {
      tokens += own.length;
      attended += own.length * start + (own.length * (own.length + 1)) / 2;
    }
    const exact = fixedMs + perTokenMs * tokens + perAttendedMs * attended;
    return Math.max(0, exact * (noise === 0 ? 1 : 1 + noise * this.#prng.normal()));
  }

  #slice(slice: Slice, samples: Sample[], scores: PromptScore[]): void {
    const cells = this.#cells;
    const sampler = this.#samplers.get(slice.request);
    const length = cells.lengthOf(slice.seq);
    assert(
      slice.start === length,
      `slice of sequence ${slice.seq} starts at ${slice.start}; its cells end at ${length}`,
    );
    const own: RawLogprob[] = [];
    // The token after the slice is known while the slice lies inside the prompt.
    const next = sampler?.prompt[slice.start + slice.tokens.length];
    for (const [i, token] of slice.tokens.entries()) {
      assert(token >= 0 && token < this.facts.vocabSize, `token ${token} in a slice`);
      cells.append(slice.seq, token);
      const following = slice.tokens[i + 1] ?? next;
      if (slice.output === 'all' && following !== undefined) {
        own.push(this.#score(following, this.#candidates(slice.seq), sampler));
      }
    }
    if (slice.output === 'all') {
      scores.push({ request: slice.request, start: slice.start, scores: own });
      if (next !== undefined) return;
    }
    if (slice.output === 'none' || sampler === undefined) return;
    samples.push(this.#sample(slice, sampler));
  }

  #sample(slice: Slice, sampler: SimSampler): Sample {
    const candidates = this.#candidates(slice.seq);
    const token = sampler.sample(candidates, this.#vocab);
    const wanted = sampler.params.logprobs !== null;
    return {
      request: slice.request,
      token,
      endOfGeneration: !sampler.params.ignoreEos && this.#vocab.isEndOfGeneration(token),
      logprob: wanted ? this.#score(token, candidates, sampler) : null,
    };
  }

  #candidates(seq: number): Candidate[] {
    return candidatesAfter(this.#cells.contextHash(seq), this.#cells.tail(seq, 3), this.#vocab);
  }

  #score(token: number, candidates: readonly Candidate[], sampler?: SimSampler): RawLogprob {
    const top = sampler?.params.logprobs ?? 0;
    const watch = sampler?.params.watch;
    return scoreOf(token, candidates, { top, watch, vocabSize: this.facts.vocabSize });
  }
}
