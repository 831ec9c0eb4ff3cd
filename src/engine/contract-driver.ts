/**
 * Drives an engine as a host would, for the contract suite: it keeps how far each sequence is
 * computed, cuts slices, applies cache operations and collects samples. It is no scheduler: what is
 * computed in which step is said by the test.
 */
import { assert, defined } from '../base/assert.ts';
import type {
  CacheOp,
  PromptScore,
  RequestKey,
  Sample,
  SeqId,
  Slice,
  StepPlan,
  StepResult,
} from '../scheduler/plan.ts';
import { NEUTRAL_SAMPLING, type SamplingParams } from '../wire/generation.ts';
import type { Engine } from './port.ts';

/** One generation as a test wants it to happen. */
export interface Run {
  readonly prompt: Int32Array;
  readonly seq: SeqId;
  /** Tokens to generate. */
  readonly count: number;
  readonly sampling?: Partial<SamplingParams>;
  /** Most tokens per slice. */
  readonly chunk?: number;
  /** Steps that pass before the first slice. */
  readonly delay?: number;
  /** Loses its cells, and is computed again, after this many generated tokens. */
  readonly preemptAt?: number;
  /** Begins with the first `count` cells of another sequence. */
  readonly share?: { readonly from: SeqId; readonly count: number };
  /** Scores the prompt as well. */
  readonly scorePrompt?: boolean;
}

interface Progress {
  readonly run: Run;
  readonly key: RequestKey;
  readonly tokens: number[];
  readonly samples: Sample[];
  readonly scores: PromptScore[];
  computed: number;
  preempted: boolean;
}

export interface Finished {
  readonly tokens: readonly number[];
  readonly samples: readonly Sample[];
  readonly scores: readonly PromptScore[];
}

/** Greedy, to the requested length, with the two likeliest tokens beside each. */
export const GREEDY: Partial<SamplingParams> = { temperature: 0, ignoreEos: true, logprobs: 2 };

export class Driver {
  readonly engine: Engine;
  #lastKey = 0;
  #step = 0;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  open(prompt: Int32Array, sampling: Partial<SamplingParams> = GREEDY): RequestKey {
    this.#lastKey += 1;
    this.engine.open(this.#lastKey, { prompt, sampling: { ...NEUTRAL_SAMPLING, ...sampling } });
    return this.#lastKey;
  }

  step(slices: readonly Slice[], ops: readonly CacheOp[] = []): Promise<StepResult> {
    this.#step += 1;
    const tokens = slices.reduce((sum, slice) => sum + slice.tokens.length, 0);
    const plan: StepPlan = {
      step: this.#step,
      ops,
      slices,
      shape: { tokens, sequences: slices.length, attended: 0, outputs: slices.length },
      predictedMs: 0,
    };
    return this.engine.step(plan);
  }

  /** Computes all runs together until each has its tokens; then releases their sequences. */
  async together(runs: readonly Run[]): Promise<Finished[]> {
    const all = runs.map((run) => this.#begin(run));
    const finished = await this.#drive(all);
    await this.release(runs.map(({ seq }) => seq));
    return finished;
  }

  async alone(run: Run): Promise<Finished> {
    return defined((await this.together([run]))[0], 'run');
  }

  /** As `alone`, but its cells stay, to be shared. */
  async keep(run: Run): Promise<Finished> {
    return defined((await this.#drive([this.#begin(run)]))[0], 'run');
  }

  async release(seqs: readonly SeqId[]): Promise<void> {
    await this.step(
      [],
      seqs.map((seq) => ({ op: 'truncate', seq, keep: 0 })),
    );
  }

  #begin(run: Run): Progress {
    return {
      run,
      key: this.open(run.prompt, { ...GREEDY, ...run.sampling }),
      tokens: [...run.prompt],
      samples: [],
      scores: [],
      computed: 0,
      preempted: false,
    };
  }

  async #drive(all: readonly Progress[]): Promise<Finished[]> {
    for (let step = 0; all.some(isRunning); step++) {
      assert(step < 10_000, 'a test of more than 10,000 steps');
      const active = all.filter((p) => isRunning(p) && step >= (p.run.delay ?? 0));
      const ops = active.flatMap(takeOps);
      const result = await this.step(active.map(nextSlice), ops);
      assert(result.kind === 'done', 'no cells in a test that does not expect it');
      for (const progress of active) advance(progress, result);
    }
    for (const { key } of all) this.engine.close(key);
    return all.map(({ run, tokens, samples, scores }) => ({
      tokens: tokens.slice(run.prompt.length),
      samples,
      scores,
    }));
  }
}

const isRunning = ({ samples, run }: Progress): boolean => samples.length < run.count;

function takeOps(progress: Progress): CacheOp[] {
  const { run, samples } = progress;
  if (run.share !== undefined && progress.computed === 0 && !progress.preempted) {
    progress.computed = run.share.count;
    return [{ op: 'share', from: run.share.from, to: run.seq, count: run.share.count }];
  }
  if (samples.length !== run.preemptAt || progress.preempted) return [];
  progress.preempted = true;
  progress.computed = 0;
  return [{ op: 'truncate', seq: run.seq, keep: 0 }];
}

function nextSlice({ run, key, tokens, computed }: Progress): Slice {
  const end = Math.min(tokens.length, computed + (run.chunk ?? tokens.length));
  const reaches = end === tokens.length;
  return {
    request: key,
    seq: run.seq,
    start: computed,
    tokens: Int32Array.from(tokens.slice(computed, end)),
    output: run.scorePrompt === true ? 'all' : reaches ? 'last' : 'none',
  };
}

function advance(progress: Progress, result: StepResult & { kind: 'done' }): void {
  const { key, run, tokens } = progress;
  progress.computed = Math.min(tokens.length, progress.computed + (run.chunk ?? tokens.length));
  progress.scores.push(...result.scores.filter((score) => score.request === key));
  const samples = result.samples.filter((sample) => sample.request === key);
  assert(samples.length <= 1, 'two samples of one request in one step');
  for (const sample of samples) {
    progress.samples.push(sample);
    tokens.push(sample.token);
  }
}

/** Takes cells in sequences from 10 on until fewer than one context is left. */
export async function fill(driver: Driver): Promise<number[]> {
  const { cells } = driver.engine.facts;
  const tokens = Int32Array.from({ length: 64 }, (_, i) => i + 1);
  const seqs: number[] = [];
  for (let used = 0; used + tokens.length * 3 < cells; used += tokens.length) {
    const seq = 10 + seqs.length;
    const request = driver.open(tokens);
    const result = await driver.step([{ request, seq, start: 0, tokens, output: 'none' }]);
    driver.engine.close(request);
    assert(result.kind === 'done', `filling gave ${result.kind}`);
    seqs.push(seq);
  }
  return seqs;
}
