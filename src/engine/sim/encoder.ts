/**
 * The `sim` encoder: the encoder port without a model. A batch takes the time that a two-term model
 * says; a vector is a seeded function of the input's tokens alone, so that a batch gives what each
 * input gives by itself. Texts that share words have near vectors, a document that shares words
 * with its query scores high. Faults happen where the spec asks; a step is a batch here.
 */
import { assert } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import { Prng } from '../../base/prng.ts';
import type { EncodeInput, EncodeTask } from '../../wire/encode.ts';
import type { SimSpec } from '../../wire/host.ts';
import type { EncodedBatch, Encoder, EncoderEngineFacts, EncoderOptions } from '../encoder.ts';
import { checkBatch } from '../encoder-batch.ts';
import type { EngineStats } from '../port.ts';
import { pretendToLoad, realEffects, type SimEffects } from './engine.ts';
import { fraction, mix } from './hash.ts';
import { CONTROL, SimVocab } from './vocab.ts';

const DIMENSIONS = 64;
const LABELS = ['safe', 'unsafe'] as const;
/** Weight of where a token stands, beside which token it is. */
const ORDER_WEIGHT = 0.1;
/** A document that shares every token with its query has this logit, one that shares none −it. */
const RANK_LOGIT_MAX = 6;
/** Two documents that share as much still differ by up to this. */
const TIE_BREAK = 0.1;

/** Rejects with PlenumError `load_failed` when the spec asks for it or is out of range. */
export async function openSimEncoder(
  spec: SimSpec,
  options: EncoderOptions,
  effects: SimEffects = realEffects(),
): Promise<Encoder> {
  await pretendToLoad(spec, options, effects);
  return new SimEncoder(spec, options, effects);
}

class SimEncoder implements Encoder {
  readonly facts: EncoderEngineFacts;
  readonly #spec: SimSpec;
  readonly #effects: SimEffects;
  readonly #vocab: SimVocab;
  readonly #prng: Prng;
  #batches = 0;
  #encoding: Promise<unknown> | null = null;
  #closed = false;

  constructor(spec: SimSpec, options: EncoderOptions, effects: SimEffects) {
    this.#spec = spec;
    this.#effects = effects;
    this.#vocab = new SimVocab(spec.vocabSize);
    this.#prng = new Prng(spec.seed);
    this.facts = simFacts(spec, options);
  }

  async tokenize(input: EncodeInput): Promise<Int32Array> {
    assert(!this.#closed, 'tokenize after shutdown');
    const plain = (text: string): Int32Array =>
      this.#vocab.tokenize(text, { addSpecial: false, parseSpecial: false });
    const { bos, eos } = CONTROL;
    switch (input.kind) {
      case 'tokens':
        return input.tokens;
      case 'text':
        return Int32Array.of(bos, ...plain(input.text), eos);
      case 'pair':
        return Int32Array.of(bos, ...plain(input.query), eos, ...plain(input.document), eos);
    }
  }

  async encode(task: EncodeTask, batch: readonly Int32Array[]): Promise<EncodedBatch> {
    assert(!this.#closed, 'encode after shutdown');
    assert(this.#encoding === null, 'encode while a batch computes');
    checkBatch(this.facts, task, batch);
    const encoding = this.#compute(task, batch);
    this.#encoding = encoding;
    try {
      return await encoding;
    } finally {
      this.#encoding = null;
    }
  }

  stats(): EngineStats {
    return { weightsBytes: 0, kvBytes: 0, computeBytes: this.facts.batchTokensMax * 4096 };
  }

  async shutdown(): Promise<void> {
    this.#closed = true;
    const { hangAtStep } = this.#spec.faults;
    const hangs = hangAtStep !== null && this.#batches >= hangAtStep;
    // How the batch ended concerns its caller; only that it ended matters here.
    if (this.#encoding !== null && !hangs) await Promise.allSettled([this.#encoding]);
  }

  async #compute(task: EncodeTask, batch: readonly Int32Array[]): Promise<EncodedBatch> {
    this.#batches += 1;
    const { crashAtStep, failAtStep, hangAtStep } = this.#spec.faults;
    if (this.#batches === crashAtStep) this.#effects.abort();
    if (this.#batches === hangAtStep) await new Promise(() => undefined);
    if (this.#batches === failAtStep) {
      throw new PlenumError('engine_failed', `simulated failure at batch ${this.#batches}`);
    }
    const computeMs = this.#durationMs(batch);
    await this.#effects.sleep(computeMs);
    const rows = batch.map((tokens) => this.#row(task, tokens));
    const width = rows[0]?.length ?? 0;
    return { values: Float32Array.from(rows.flatMap((row) => [...row])), width, computeMs };
  }

  #durationMs(batch: readonly Int32Array[]): number {
    const { fixedMs, perTokenMs, perAttendedMs, noise } = this.#spec;
    let exact = fixedMs;
    for (const { length } of batch) exact += perTokenMs * length + perAttendedMs * length ** 2;
    return Math.max(0, exact * (noise === 0 ? 1 : 1 + noise * this.#prng.normal()));
  }

  #row(task: EncodeTask, tokens: Int32Array): readonly number[] | Float32Array {
    switch (task) {
      case 'embed':
        return this.#vector(tokens);
      case 'rank':
        return [overlapLogit(tokens) + TIE_BREAK * fraction(tokens.reduce(mix, this.#spec.seed))];
      case 'classify': {
        const hash = tokens.reduce(mix, this.#spec.seed);
        const logit = 4 * fraction(hash) - 2;
        return [logit, -logit];
      }
    }
  }

  #vector(tokens: Int32Array): Float32Array {
    const sum = new Float32Array(DIMENSIONS);
    for (const [at, token] of tokens.entries()) {
      const word = mix(this.#spec.seed, token);
      const placed = mix(word, at);
      for (let i = 0; i < DIMENSIONS; i++) {
        const own = fraction(mix(word, i)) - 0.5;
        sum[i] = (sum[i] ?? 0) + own + ORDER_WEIGHT * (fraction(mix(placed, i)) - 0.5);
      }
    }
    return sum;
  }
}

/** Which part of the query (up to the first end mark) stands in the document as well. */
function overlapLogit(tokens: Int32Array): number {
  const middle = tokens.indexOf(CONTROL.eos);
  const query = new Set(tokens.subarray(1, Math.max(1, middle)));
  const document = new Set(tokens.subarray(middle + 1, -1));
  const shared = [...query].filter((token) => document.has(token)).length;
  return RANK_LOGIT_MAX * ((2 * shared) / Math.max(1, query.size) - 1);
}

function simFacts(spec: SimSpec, options: EncoderOptions): EncoderEngineFacts {
  const { fixedMs, perTokenMs, perAttendedMs } = spec;
  return {
    engine: 'sim',
    device: 'simulated',
    description: `sim encoder, seed ${spec.seed}`,
    tasks: ['embed', 'rank', 'classify'],
    dimensions: DIMENSIONS,
    pooling: 'mean',
    labels: LABELS,
    matryoshkaDimensions: [32, 16],
    vocabSize: spec.vocabSize,
    trainedContextTokens: options.contextTokens,
    contextTokens: options.contextTokens,
    batchTokensMax: options.batchTokensMax,
    batchInputsMax: options.batchInputsMax,
    synthetic: true,
    guess: { fixedMs, perTokenMs, perAttendedMs },
  };
}
