/**
 * Small encoders with random weights for tests: heads that the synthetic models do not have
 * (rerankers, classifiers, decoders with a judge's head). They compute as real ones do; what they
 * say means nothing.
 */

import { type TensorData, writeGguf } from '../../../test/gguf-file.ts';
import { defined } from '../../base/assert.ts';
import { Prng } from '../../base/prng.ts';
import type { EncodableValue } from '../../model/gguf-encode.ts';
import { synthMetadata } from '../../model/synth/metadata.ts';
import { quantByName } from '../../model/synth/quant.ts';
import { type SynthShape, shapeByName } from '../../model/synth/shapes.ts';
import { type SynthTensor, synthTensors } from '../../model/synth/tensors.ts';
import { bpeVocabulary, wordPieceVocabulary } from '../../model/synth/vocabulary.ts';

const POOLING_RANK = 4;

export interface Head {
  /** Rows of the head; null = none. */
  readonly outputs: number | null;
  readonly metadata: ReadonlyMap<string, EncodableValue>;
}

/** BERT with a classification head: `labels` makes it a classifier, none a reranker. */
export function writeTinyBert(path: string, labels: readonly string[]): Promise<void> {
  return writeBert(path, { shape: 'tiny-bert', labels });
}

/** The same in any synthetic shape of the BERT family. */
export function writeBert(
  path: string,
  { shape, labels }: { readonly shape: string; readonly labels: readonly string[] },
): Promise<void> {
  const metadata = new Map<string, EncodableValue>([
    ['bert.pooling_type', { type: 'u32', value: POOLING_RANK }],
  ]);
  if (labels.length > 0) {
    metadata.set('bert.classifier.output_labels', { type: 'strings', values: labels });
  }
  const outputs = Math.max(1, labels.length);
  return write(path, defined(shapeByName(shape), shape), { outputs, metadata });
}

export const RERANK_TEMPLATE =
  '<|im_start|>judge\nQuery: {query}\nDocument: {document}<|im_end|>\n';

/** A decoder of Qwen3's architecture whose head gives the probabilities of `yes` and `no`. */
export function writeTinyJudge(path: string): Promise<void> {
  const metadata = new Map<string, EncodableValue>([
    ['qwen3.pooling_type', { type: 'u32', value: POOLING_RANK }],
    ['qwen3.classifier.output_labels', { type: 'strings', values: ['yes', 'no'] }],
    ['tokenizer.chat_template.rerank', { type: 'string', value: RERANK_TEMPLATE }],
  ]);
  const shape: SynthShape = { ...defined(shapeByName('tiny'), 'shape'), arch: 'qwen3' };
  return write(path, shape, { outputs: 2, metadata });
}

/** As `tiny-bert`, with other metadata. */
export function writeTinyBertWith(
  path: string,
  metadata: ReadonlyMap<string, EncodableValue>,
): Promise<void> {
  return write(path, defined(shapeByName('tiny-bert'), 'shape'), { outputs: null, metadata });
}

function write(path: string, shape: SynthShape, head: Head): Promise<void> {
  const quant = defined(quantByName(shape.fixture ? 'f32' : 'f16'), 'quantisation');
  const vocabulary =
    shape.arch === 'bert' ? wordPieceVocabulary(shape.vocab) : bpeVocabulary(shape.vocab);
  const { firstTextToken } = vocabulary;
  const tensors = synthTensors({ shape, quant, firstTextToken }).map(filled);
  if (head.outputs !== null) {
    const dims = [shape.width, head.outputs];
    const spread = 1 / Math.sqrt(shape.width);
    const values = uniform('cls.output', { count: shape.width * head.outputs, mean: 0, spread });
    tensors.push({ name: 'cls.output.weight', dims, type: 'F32', values });
  }
  const metadata = synthMetadata({ shape, quant, seed: 1 });
  for (const [key, value] of [...vocabulary.metadata, ...head.metadata]) metadata.set(key, value);
  return writeGguf(path, metadata, tensors);
}

function filled({ name, dims, fill, type: { name: kind } }: SynthTensor): TensorData {
  const type = kind === 'F16' ? 'F16' : 'F32';
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (fill.kind === 'values') return { name, dims, type, values: fill.values };
  const [mean, spread] = fill.kind === 'vector' ? [fill.mean, fill.spread] : [0, fill.std];
  return { name, dims, type, values: uniform(name, { count, mean, spread }) };
}

function uniform(
  name: string,
  { count, mean, spread }: { count: number; mean: number; spread: number },
): Float32Array {
  const prng = new Prng([...name].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7));
  const next = (): number => mean + (2 * prng.float() - 1) * spread * Math.sqrt(3);
  return Float32Array.from({ length: count }, next);
}
