/**
 * Reference vectors of a BERT sentence encoder, computed apart from the engine: its own WordPiece
 * tokeniser and a forward pass in double precision over the published safetensors. Slow and plain
 * on purpose: `node tools/reference-minilm.ts FOLDER > test/embedder-reference.json`, formatted.
 * Follows the papers (Devlin et al. 2018; Reimers and Gurevych 2019) and the model's config.json.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors, type SafeTensor, tensorOf } from './safetensors.ts';

const TEXTS = [
  'A man is eating food.',
  'Someone has a meal.',
  'The GPU and the CPU share one memory of 64 GB.',
  'Überraschung: naïve cafés, 3.14 and don’t!',
  'unbelievably antidisestablishmentarian tokenisation',
  'a',
];

type Vector = Float64Array<ArrayBuffer>;
interface Model {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly heads: number;
  readonly layers: number;
  readonly width: number;
  readonly epsilon: number;
}

function main(folder: string): void {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const lines = readFileSync(join(folder, 'vocab.txt'), 'utf8').trimEnd().split('\n');
  const ids = new Map(lines.map((token, id) => [token, id]));
  const model: Model = {
    tensors: readSafetensors(join(folder, 'model.safetensors')),
    heads: config.num_attention_heads,
    layers: config.num_hidden_layers,
    width: config.hidden_size,
    epsilon: config.layer_norm_eps,
  };
  const sentences = TEXTS.map((text) => {
    const tokens = wordPieces(text, ids);
    const vector = [...meanOf(forward(model, tokens))].map((value) => Number(value.toFixed(6)));
    return { text, tokens, vector };
  });
  const note =
    'Mean of the token vectors of sentence-transformers/all-MiniLM-L6-v2, not normalised; made ' +
    'by tools/reference-minilm.ts, apart from the engine.';
  process.stdout.write(`${JSON.stringify({ note, sentences })}\n`);
}

/** Lower case, accents away, punctuation apart, then the longest known piece from the left. */
function wordPieces(text: string, ids: ReadonlyMap<string, number>): number[] {
  const plain = text
    .normalize('NFD')
    .replace(/\p{Mn}/gu, '')
    .toLowerCase();
  const words = plain.match(/[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~]+/gu) ?? [];
  const id = (token: string): number => ids.get(token) ?? -1;
  return [id('[CLS]'), ...words.flatMap((word) => pieces(word, id)), id('[SEP]')];
}

function pieces(word: string, id: (token: string) => number): number[] {
  const found: number[] = [];
  for (let at = 0; at < word.length; ) {
    const mark = at === 0 ? '' : '##';
    let end = word.length;
    while (end > at && id(mark + word.slice(at, end)) < 0) end -= 1;
    if (end === at) return [id('[UNK]')];
    found.push(id(mark + word.slice(at, end)));
    at = end;
  }
  return found;
}

function forward(model: Model, tokens: readonly number[]): Vector[] {
  const { tensors, width, layers } = model;
  const rowOf = (name: string, row: number): Float32Array =>
    tensorOf(tensors, `embeddings.${name}.weight`).values.subarray(row * width, (row + 1) * width);
  let states = tokens.map((token, at) => {
    const parts = [rowOf('word_embeddings', token), rowOf('position_embeddings', at)];
    parts.push(rowOf('token_type_embeddings', 0));
    return Float64Array.from({ length: width }, (_, i) =>
      parts.reduce((sum, part) => sum + (part[i] ?? 0), 0),
    );
  });
  states = states.map((state) => normed(model, 'embeddings.LayerNorm', state));
  for (let layer = 0; layer < layers; layer++) {
    const at = `encoder.layer.${layer}`;
    const mixed = attention(model, `${at}.attention.self`, states);
    states = states.map((state, i) => {
      const out = linear(model, `${at}.attention.output.dense`, mixed[i] ?? state);
      const middle = normed(model, `${at}.attention.output.LayerNorm`, sum(state, out));
      const inner = linear(model, `${at}.intermediate.dense`, middle).map(gelu);
      const last = linear(model, `${at}.output.dense`, inner);
      return normed(model, `${at}.output.LayerNorm`, sum(middle, last));
    });
  }
  return states;
}

function attention(model: Model, at: string, states: readonly Vector[]): Vector[] {
  const { width, heads } = model;
  const size = width / heads;
  const [queries, keys, values] = ['query', 'key', 'value'].map((name) =>
    states.map((state) => linear(model, `${at}.${name}`, state)),
  );
  return (queries ?? []).map((query) => {
    const out = new Float64Array(width);
    for (let from = 0; from < width; from += size) {
      const head = (vector: Vector): Vector => vector.subarray(from, from + size);
      const scores = (keys ?? []).map((key) => dot(head(query), head(key)) / Math.sqrt(size));
      const highest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - highest));
      const total = weights.reduce((a, b) => a + b, 0);
      for (const [j, value] of (values ?? []).entries()) {
        const weight = (weights[j] ?? 0) / total;
        for (let i = from; i < from + size; i++) out[i] = (out[i] ?? 0) + weight * (value[i] ?? 0);
      }
    }
    return out;
  });
}

function linear({ tensors }: Model, name: string, input: Vector): Vector {
  const { shape, values } = tensorOf(tensors, `${name}.weight`);
  const bias = tensorOf(tensors, `${name}.bias`).values;
  const [rows = 0, columns = 0] = shape;
  return Float64Array.from({ length: rows }, (_, row) => {
    return (bias[row] ?? 0) + dot(values.subarray(row * columns, (row + 1) * columns), input);
  });
}

function normed({ tensors, epsilon }: Model, name: string, input: Vector): Vector {
  const mean = input.reduce((a, b) => a + b, 0) / input.length;
  const variance = input.reduce((a, b) => a + (b - mean) ** 2, 0) / input.length;
  const { values: scale } = tensorOf(tensors, `${name}.weight`);
  const { values: shift } = tensorOf(tensors, `${name}.bias`);
  const by = 1 / Math.sqrt(variance + epsilon);
  return input.map((value, i) => (value - mean) * by * (scale[i] ?? 0) + (shift[i] ?? 0));
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] ?? 0) * (b[i] ?? 0);
  return total;
}

const sum = (a: Vector, b: Vector): Vector => a.map((value, i) => value + (b[i] ?? 0));

const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));

/** Taylor's series; beyond 5 it is 1 to eleven digits. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 5) return Math.sign(x);
  let [term, total] = [z, z];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) {
    term *= (-z * z) / n;
    total += term / (2 * n + 1);
    if (n > 200) break;
  }
  return (Math.sign(x) * 2 * total) / Math.sqrt(Math.PI);
}

function meanOf(states: readonly Vector[]): Vector {
  const [first = new Float64Array(0), ...rest] = states;
  return rest.reduce(sum, first).map((value) => value / states.length);
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write('usage: node tools/reference-minilm.ts FOLDER\n');
  process.exit(2);
}
main(folder);
