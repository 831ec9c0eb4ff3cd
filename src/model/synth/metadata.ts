/**
 * The metadata of a synthetic model: the hyperparameter keys that the engine reads for each
 * architecture (src/llama-arch.cpp of the pinned llama.cpp release), and who made it from what.
 */
import type { EncodableValue } from '../gguf-encode.ts';
import type { SynthQuant } from './quant.ts';
import type { SynthShape } from './shapes.ts';

/** Raised when the same spec and seed would give other bytes than before. */
export const SYNTH_VERSION = 2;

/** True in the metadata of every file that this program made up. */
export const SYNTHETIC_KEY = 'plenum.synthetic';

const u32 = (value: number): EncodableValue => ({ type: 'u32', value });
const f32 = (value: number): EncodableValue => ({ type: 'f32', value });
const string = (value: string): EncodableValue => ({ type: 'string', value });
const bool = (value: boolean): EncodableValue => ({ type: 'bool', value });

export interface ModelMetadata {
  readonly shape: SynthShape;
  readonly quant: SynthQuant;
  readonly seed: number;
}

export function synthMetadata({ shape, quant, seed }: ModelMetadata): Map<string, EncodableValue> {
  const title = `Synthetic ${shape.name} ${quant.name.toUpperCase()}`;
  return new Map([
    ['general.architecture', string(shape.arch)],
    ['general.type', string('model')],
    ['general.name', string(title)],
    ['general.description', string('Random weights: its speed is true, its words mean nothing.')],
    ['general.file_type', u32(quant.fileType)],
    ['general.quantization_version', u32(2)],
    [SYNTHETIC_KEY, bool(true)],
    ['plenum.synthetic.spec', string(`${shape.name}@${quant.name}`)],
    ['plenum.synthetic.seed', u32(seed)],
    ['plenum.synthetic.version', u32(SYNTH_VERSION)],
    ...Array.from(
      shape.arch === 'bert' ? encoderKeys(shape) : decoderKeys(shape),
      ([key, value]) => [`${shape.arch}.${key}`, value] as const,
    ),
  ]);
}

function* commonKeys(shape: SynthShape): Generator<readonly [string, EncodableValue]> {
  yield ['context_length', u32(shape.contextTokens)];
  yield ['embedding_length', u32(shape.width)];
  yield ['block_count', u32(shape.layers)];
  yield ['feed_forward_length', u32(shape.ff)];
  yield ['vocab_size', u32(shape.vocab)];
  yield ['attention.head_count', u32(shape.heads)];
}

function* decoderKeys(shape: SynthShape): Generator<readonly [string, EncodableValue]> {
  yield* commonKeys(shape);
  yield ['attention.head_count_kv', u32(shape.kvHeads)];
  yield ['attention.key_length', u32(shape.headDim)];
  yield ['attention.value_length', u32(shape.headDim)];
  yield ['attention.layer_norm_rms_epsilon', f32(shape.normEpsilon)];
  yield ['rope.dimension_count', u32(shape.headDim)];
  yield ['rope.freq_base', f32(shape.ropeBase)];
  if (shape.experts > 0) {
    yield ['expert_count', u32(shape.experts)];
    yield ['expert_used_count', u32(shape.expertsUsed)];
    yield ['expert_feed_forward_length', u32(shape.ff)];
  }
  if (shape.window > 0) yield ['attention.sliding_window', u32(shape.window)];
  const scaling = shape.ropeScaling;
  if (scaling.kind === 'linear' || scaling.kind === 'yarn') {
    yield ['rope.scaling.type', string(scaling.kind)];
    yield ['rope.scaling.factor', f32(scaling.factor)];
  }
  if (scaling.kind === 'yarn') {
    yield ['rope.scaling.original_context_length', u32(scaling.originalTokens)];
  }
}

// llama.h, enum llama_pooling_type.
const POOLING_IDS = { none: 0, mean: 1, cls: 2 } as const;

function* encoderKeys(shape: SynthShape): Generator<readonly [string, EncodableValue]> {
  yield* commonKeys(shape);
  yield ['attention.layer_norm_epsilon', f32(shape.normEpsilon)];
  yield ['attention.causal', bool(false)];
  yield ['pooling_type', u32(POOLING_IDS[shape.pooling])];
}
