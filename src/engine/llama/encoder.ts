/**
 * The `llama` encoder: the encoder port over libllama. It owns the model, its context and one
 * batch; a call computes several inputs side by side, each a sequence of its own, and gives their
 * pooled rows. Nothing of a batch stays behind. The event loop is free while it computes.
 */
import { assert, defined } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import { SYNTHETIC_KEY } from '../../model/synth/metadata.ts';
import { encodeBatchTokens } from '../../planner/engine-shape.ts';
import type { EncodeInput, EncodeTask } from '../../wire/encode.ts';
import type { EncodedBatch, Encoder, EncoderEngineFacts, EncoderOptions } from '../encoder.ts';
import { checkBatch } from '../encoder-batch.ts';
import type { EngineStats } from '../port.ts';
import { TokenBatch } from './batch.ts';
import { deviceOf, loadNativeEncoder, type NativeEncoder } from './encoder-load.ts';
import { EncoderText } from './encoder-text.ts';
import { deviceText, guess } from './facts.ts';
import { PINNED_RELEASE } from './library.ts';
import { engineFailed, type LlamaSpec } from './load.ts';
import { callAsync, readDescription, readMeta, view } from './memory.ts';
import { type DeviceProbe, openLibrary, probeDevices } from './native.ts';
import { Vocab } from './vocab.ts';

/** A text in files converted by this project: lengths that a vector was trained for, `512,256`. */
const MATRYOSHKA_KEY = 'plenum.matryoshka_dimensions';
/** Their graph ends in a softmax over the tokens `yes` and `no` (src/llama-graph.cpp). */
const SOFTMAX_ARCHITECTURES: ReadonlySet<string> = new Set(['qwen3', 'qwen3vl']);
/** Least probability whose logarithm is taken: below it single precision has only zero. */
const PROBABILITY_MIN = 1e-38;

/**
 * Rejects with PlenumError `library_missing`, `binding_mismatch`, `model_unsupported` or
 * `load_failed` (which quotes the library).
 */
export async function openLlamaEncoder(spec: LlamaSpec, options: EncoderOptions): Promise<Encoder> {
  const library = openLibrary();
  const probe = probeDevices();
  const native = await loadNativeEncoder(library, { spec, options, gpu: probe.gpu });
  const encoder = new LlamaEncoder(native, probe, options);
  try {
    await encoder.prove();
    return encoder;
  } catch (thrown) {
    await encoder.shutdown();
    throw thrown;
  }
}

class LlamaEncoder implements Encoder {
  readonly facts: EncoderEngineFacts;
  readonly #native: NativeEncoder;
  readonly #vocab: Vocab;
  readonly #text: EncoderText;
  readonly #batch: TokenBatch;
  /** Native calls that run on other threads: nothing is freed under them. */
  readonly #pending = new Set<Promise<unknown>>();
  /** Of the largest batch so far. */
  #tokensMax = 0;
  #encoding = false;
  #failed = false;
  #closing: Promise<void> | null = null;

  constructor(native: NativeEncoder, probe: DeviceProbe, options: EncoderOptions) {
    const { binding } = native.library;
    this.#native = native;
    this.#vocab = new Vocab(binding, native.vocab);
    this.#text = new EncoderText(binding, native.model, this.#vocab);
    this.#batch = new TokenBatch(native.callTokensMax);
    this.facts = encoderFacts(native, { probe, options, vocabSize: this.#vocab.size });
  }

  /** Computes one token: a row that is not made of numbers says that the binding is wrong. */
  async prove(): Promise<void> {
    const task = defined(this.facts.tasks[0], 'task');
    const { values } = await this.encode(task, [Int32Array.of(this.#vocab.firstToken)]);
    if (values.every(Number.isFinite) && values.some((value) => value !== 0)) return;
    const found = [...values.subarray(0, 4)].join(', ');
    throw new PlenumError(
      'binding_mismatch',
      `the native library is not the pinned release: the vector of the first token begins ${found}`,
    );
  }

  tokenize(input: EncodeInput): Promise<Int32Array> {
    assert(this.#closing === null, 'tokenize after shutdown');
    return this.#track(this.#text.tokenize(input));
  }

  async encode(task: EncodeTask, batch: readonly Int32Array[]): Promise<EncodedBatch> {
    assert(this.#closing === null, 'encode after shutdown');
    assert(!this.#encoding, 'encode while a batch computes');
    assert(!this.#failed, 'encode after the engine failed');
    checkBatch(this.facts, task, batch);
    this.#encoding = true;
    try {
      return await this.#track(this.#compute(batch));
    } catch (thrown) {
      this.#failed = true;
      throw thrown;
    } finally {
      this.#encoding = false;
    }
  }

  stats(): EngineStats {
    const { bytes } = this.#native.library.log;
    const { weights, kv, compute } = bytes;
    return { weightsBytes: weights, kvBytes: kv, computeBytes: compute + this.#rowBytes() };
  }

  shutdown(): Promise<void> {
    this.#closing ??= this.#free();
    return this.#closing;
  }

  /**
   * The library keeps a row of the vocabulary and one of the width for every token of the largest
   * batch so far; in its log it says only the first size, of a row per sequence.
   */
  #rowBytes(): number {
    const rows = Math.max(0, this.#tokensMax - this.facts.batchInputsMax);
    return rows * (this.facts.vocabSize + this.#native.outputWidth) * 4;
  }

  async #compute(batch: readonly Int32Array[]): Promise<EncodedBatch> {
    const { library, context, memory, encodes, gpuLayers, width } = this.#native;
    const { binding, log } = library;
    const from = performance.now();
    this.#batch.clear();
    for (const [seq, tokens] of batch.entries()) {
      for (const [pos, token] of tokens.entries()) {
        this.#batch.add({ token, pos, seq, output: true });
      }
    }
    this.#tokensMax = Math.max(this.#tokensMax, this.#batch.length);
    const compute = encodes ? binding.encode : binding.decode;
    const code = await callAsync(compute, context, this.#batch.native);
    if (code !== 0) throw engineFailed(log, `the library returned ${code} for a batch`);
    // A GPU computes on after the call has returned; whoever asks for a row would block here.
    if (gpuLayers > 0) await callAsync(binding.synchronize, context);
    const values = new Float32Array(batch.length * width);
    for (let seq = 0; seq < batch.length; seq++) values.set(this.#row(seq), seq * width);
    if (memory !== null) binding.memoryClear(memory, false);
    const computeMs = performance.now() - from;
    return this.#isJudge()
      ? judged(values, computeMs)
      : { values: this.#logits(values), width, computeMs };
  }

  #row(seq: number): Float32Array {
    const { library, context, width } = this.#native;
    const row = library.binding.pooledRow(context, seq);
    if (row === null) throw engineFailed(library.log, `there is no vector of input ${seq}`);
    return new Float32Array(view(row, width * Float32Array.BYTES_PER_ELEMENT));
  }

  #isJudge(): boolean {
    return this.facts.tasks.includes('rank') && this.#native.width === 2;
  }

  /** The logarithms of probabilities are logits that give them again. */
  #logits(values: Float32Array): Float32Array {
    return endsInSoftmax(this.#native) ? values.map(logOf) : values;
  }

  async #free(): Promise<void> {
    // How a call under way ends concerns its caller; only that it has ended matters here.
    await Promise.allSettled(this.#pending);
    this.#batch.free();
    this.#vocab.free();
    this.#native.free();
  }

  #track<T>(call: Promise<T>): Promise<T> {
    const tracked = call.finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
    return tracked;
  }
}

const logOf = (probability: number): number => Math.log(Math.max(probability, PROBABILITY_MIN));

/** One logit from each pair of probabilities, of `yes` and of `no`. */
function judged(pairs: Float32Array, computeMs: number): EncodedBatch {
  const values = Float32Array.from({ length: pairs.length / 2 }, (_, i) => {
    return logOf(pairs[2 * i] ?? 0) - logOf(pairs[2 * i + 1] ?? 0);
  });
  return { values, width: 1, computeMs };
}

const endsInSoftmax = ({ architecture, pooling }: NativeEncoder): boolean =>
  pooling === 'rank' && SOFTMAX_ARCHITECTURES.has(architecture);

function encoderFacts(
  native: NativeEncoder,
  { probe, options, vocabSize }: { probe: DeviceProbe; options: EncoderOptions; vocabSize: number },
): EncoderEngineFacts {
  const { binding } = native.library;
  const labels = native.pooling === 'rank' ? labelsOf(native) : [];
  const isJudge = endsInSoftmax(native) && labels.join() === 'yes,no';
  const task =
    native.pooling !== 'rank' ? 'embed' : labels.length > 1 && !isJudge ? 'classify' : 'rank';
  return {
    engine: `llama ${PINNED_RELEASE}`,
    device: deviceText({ native, probe }),
    description: readDescription(binding, native.model),
    tasks: [task],
    dimensions: task === 'rank' ? 1 : native.width,
    pooling: native.pooling,
    labels: task === 'classify' ? labels : [],
    matryoshkaDimensions: task === 'embed' ? matryoshkaOf(native) : [],
    vocabSize,
    trainedContextTokens: binding.modelTrainedContext(native.model),
    contextTokens: options.contextTokens,
    batchTokensMax: encodeBatchTokens(deviceOf(native.gpuLayers), options.batchTokensMax),
    batchInputsMax: options.batchInputsMax,
    synthetic: readMeta(binding, native.model, SYNTHETIC_KEY) !== null,
    guess: guess(native),
  };
}

function labelsOf({ library, model, width }: NativeEncoder): string[] {
  const name = (i: number): string => library.binding.modelClassLabel(model, i) ?? `LABEL_${i}`;
  return Array.from({ length: width }, (_, i) => name(i));
}

function matryoshkaOf({ library, model, width }: NativeEncoder): number[] {
  const text = readMeta(library.binding, model, MATRYOSHKA_KEY) ?? '';
  return [...text.matchAll(/\d+/g)].map(Number).filter((length) => length > 0 && length <= width);
}
