/**
 * The `llama` engine: the engine port over libllama. It owns the model, its context and the
 * samplers of the open requests; one step is cache operations, one or more asynchronous decodes,
 * and sampling from the logits. The event loop is free while a decode computes.
 */
import { assert, defined } from '../../base/assert.ts';
import type { RequestKey, StepPlan, StepResult } from '../../scheduler/plan.ts';
import { checkBias } from '../bias.ts';
import type {
  Engine,
  EngineFacts,
  EngineOptions,
  EngineStats,
  OpenOptions,
  TokenizeOptions,
} from '../port.ts';
import { Decoder } from './decoder.ts';
import { engineFacts, type Loaded } from './facts.ts';
import { type LlamaSpec, loadNative, type NativeModel } from './load.ts';
import { openLibrary, probeDevices } from './native.ts';
import { cellsPerPass } from './passes.ts';
import { proveLogits } from './proof.ts';
import { RowScan } from './rows.ts';
import { RequestSampler } from './sampler.ts';
import { computeStep } from './step.ts';
import { Vocab } from './vocab.ts';

/**
 * Rejects with PlenumError `library_missing`, `binding_mismatch`, `model_unsupported` or
 * `load_failed` (which quotes the library).
 */
export async function openLlamaEngine(spec: LlamaSpec, options: EngineOptions): Promise<Engine> {
  const library = openLibrary();
  const probe = probeDevices();
  const native = await loadNative(library, { spec, options, gpu: probe.gpu });
  const vocab = new Vocab(library.binding, native.vocab);
  const decoder = new Decoder(native, { vocabSize: vocab.size, gpu: native.gpuLayers > 0 });
  try {
    proveLogits(await decoder.decodeOne(vocab.firstToken), vocab.size);
  } catch (thrown) {
    decoder.free();
    vocab.free();
    native.free();
    throw thrown;
  }
  return new LlamaEngine({ native, vocab, probe }, decoder, options);
}

class LlamaEngine implements Engine {
  readonly facts: EngineFacts;
  readonly #loaded: Loaded;
  readonly #decoder: Decoder;
  readonly #scan: RowScan;
  readonly #passCells: number | null;
  readonly #samplers = new Map<RequestKey, RequestSampler>();
  /** Native calls that run on other threads: nothing is freed under them. */
  readonly #pending = new Set<Promise<unknown>>();
  #stepping = false;
  #failed = false;
  #closing: Promise<void> | null = null;

  constructor(loaded: Loaded, decoder: Decoder, options: EngineOptions) {
    this.#loaded = loaded;
    this.#decoder = decoder;
    this.#scan = new RowScan(loaded.vocab.size);
    this.facts = engineFacts(loaded, options);
    this.#passCells = passCellsOf(loaded.native);
  }

  tokenize(text: string, options: TokenizeOptions): Promise<Int32Array> {
    assert(this.#closing === null, 'tokenize after shutdown');
    return this.#track(this.#loaded.vocab.tokenize(text, options));
  }

  tokenBytes(token: number): Uint8Array {
    assert(this.#closing === null, 'tokenBytes after shutdown');
    return this.#loaded.vocab.bytesOf(token);
  }

  open(request: RequestKey, { sampling, prompt }: OpenOptions): void {
    assert(this.#closing === null, 'open after shutdown');
    assert(!this.#samplers.has(request), `request ${request} opened twice`);
    checkBias(sampling.logitBias, this.facts.vocabSize);
    const { endOfGeneration, suppressed } = this.#loaded.vocab;
    const facts = { endOfGeneration, suppressed, contextTokens: this.facts.contextTokens };
    this.#samplers.set(request, new RequestSampler(facts, { params: sampling, prompt }));
  }

  close(request: RequestKey): void {
    this.#samplers.delete(request);
  }

  async step(plan: StepPlan): Promise<StepResult> {
    assert(this.#closing === null, 'step after shutdown');
    assert(!this.#stepping, 'step while a step computes');
    assert(!this.#failed, 'step after the engine failed');
    this.#stepping = true;
    try {
      return await this.#track(
        computeStep(plan, {
          decoder: this.#decoder,
          scan: this.#scan,
          contextTokens: this.facts.contextTokens,
          passCells: this.#passCells,
          endOfGeneration: this.#loaded.vocab.endOfGeneration,
          samplerOf: (key) => defined(this.#samplers.get(key), `sampler of request ${key}`),
        }),
      );
    } catch (thrown) {
      this.#failed = true;
      throw thrown;
    } finally {
      this.#stepping = false;
    }
  }

  stats(): EngineStats {
    const { bytes } = this.#loaded.native.library.log;
    return { weightsBytes: bytes.weights, kvBytes: bytes.kv, computeBytes: bytes.compute };
  }

  shutdown(): Promise<void> {
    this.#closing ??= this.#free();
    return this.#closing;
  }

  async #free(): Promise<void> {
    // How a call under way ends concerns its caller; only that it has ended matters here.
    await Promise.allSettled(this.#pending);
    this.#samplers.clear();
    this.#decoder.free();
    this.#loaded.vocab.free();
    this.#loaded.native.free();
  }

  #track<T>(call: Promise<T>): Promise<T> {
    const tracked = call.finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
    return tracked;
  }
}

/** Null where all sequences are in one cache: then one decode is one pass. */
function passCellsOf({ library, model, prefixSharing }: NativeModel): number | null {
  if (prefixSharing !== 'copies') return null;
  const { binding, log } = library;
  const layers = binding.modelLayers(model);
  const embedding = binding.modelEmbedding(model);
  return cellsPerPass({ weightsBytes: log.bytes.weights, layers, embedding });
}
