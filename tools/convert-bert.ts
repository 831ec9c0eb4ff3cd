/**
 * Makes a GGUF of a BERT encoder as Hugging Face publishes it (config.json, vocab.txt,
 * model.safetensors, 1_Pooling/config.json), with the names, keys and WordPiece marks that the
 * engine reads (src/models/bert.cpp and src/llama-vocab.cpp of the pinned llama.cpp release).
 * `node tools/convert-bert.ts FOLDER FILE.gguf`
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defined } from '../src/base/assert.ts';
import type { EncodableValue } from '../src/model/gguf-encode.ts';
import { type TensorData, writeGguf } from '../test/gguf-file.ts';
import { readSafetensors, type SafeTensor } from './safetensors.ts';

interface BertConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly layer_norm_eps: number;
  readonly type_vocab_size: number;
}

const POOLING = { mean: 1, cls: 2 } as const;
// llama.h, enum llama_token_type.
const TOKEN_TYPE = { normal: 1, control: 3 } as const;
const FILE_TYPE_F16 = 1;

/** Matrices are stored in 16 bits, everything that is added or scaled by in 32. */
export async function convertBert(folder: string, out: string): Promise<void> {
  const config: BertConfig = readJson(join(folder, 'config.json'));
  const vocabulary = readFileSync(join(folder, 'vocab.txt'), 'utf8').trimEnd().split('\n');
  const tensors = [...readSafetensors(join(folder, 'model.safetensors'))].flatMap(convert);
  const metadata = new Map([
    ...hyperparameters(config, poolingOf(folder)),
    ...tokenizer(vocabulary, config.type_vocab_size),
  ]);
  await writeGguf(out, metadata, tensors);
}

const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8'));

function poolingOf(folder: string): number {
  const path = join(folder, '1_Pooling', 'config.json');
  if (!existsSync(path)) return POOLING.cls;
  const { pooling_mode_mean_tokens: mean } = readJson<{ pooling_mode_mean_tokens: boolean }>(path);
  return mean ? POOLING.mean : POOLING.cls;
}

const u32 = (value: number): EncodableValue => ({ type: 'u32', value });
const text = (value: string): EncodableValue => ({ type: 'string', value });

function hyperparameters(config: BertConfig, pooling: number): Map<string, EncodableValue> {
  return new Map<string, EncodableValue>([
    ['general.architecture', text('bert')],
    ['general.type', text('model')],
    ['general.file_type', u32(FILE_TYPE_F16)],
    ['bert.context_length', u32(config.max_position_embeddings)],
    ['bert.embedding_length', u32(config.hidden_size)],
    ['bert.block_count', u32(config.num_hidden_layers)],
    ['bert.feed_forward_length', u32(config.intermediate_size)],
    ['bert.attention.head_count', u32(config.num_attention_heads)],
    ['bert.attention.layer_norm_epsilon', { type: 'f32', value: config.layer_norm_eps }],
    ['bert.attention.causal', { type: 'bool', value: false }],
    ['bert.pooling_type', u32(pooling)],
  ]);
}

/** A piece that begins a word is marked, where BERT's own list marks those that do not. */
function tokenizer(vocabulary: readonly string[], types: number): Map<string, EncodableValue> {
  const isControl = (token: string): boolean => /^\[.+\]$/.test(token);
  const pieces = vocabulary.map((token) => {
    if (isControl(token)) return token;
    return token.startsWith('##') ? token.slice(2) : `\u2581${token}`;
  });
  const kinds = vocabulary.map((t) => (isControl(t) ? TOKEN_TYPE.control : TOKEN_TYPE.normal));
  const id = (token: string): EncodableValue => u32(vocabulary.indexOf(token));
  return new Map<string, EncodableValue>([
    ['tokenizer.ggml.model', text('bert')],
    ['tokenizer.ggml.tokens', { type: 'strings', values: pieces }],
    ['tokenizer.ggml.token_type', { type: 'numbers', of: 'i32', values: kinds }],
    ['tokenizer.ggml.token_type_count', u32(types)],
    ['tokenizer.ggml.padding_token_id', id('[PAD]')],
    ['tokenizer.ggml.unknown_token_id', id('[UNK]')],
    ['tokenizer.ggml.cls_token_id', id('[CLS]')],
    ['tokenizer.ggml.bos_token_id', id('[CLS]')],
    ['tokenizer.ggml.seperator_token_id', id('[SEP]')],
    ['tokenizer.ggml.eos_token_id', id('[SEP]')],
    ['tokenizer.ggml.mask_token_id', id('[MASK]')],
  ]);
}

const OUTSIDE: Readonly<Record<string, string>> = {
  'embeddings.word_embeddings': 'token_embd',
  'embeddings.position_embeddings': 'position_embd',
  'embeddings.token_type_embeddings': 'token_types',
  'embeddings.LayerNorm': 'token_embd_norm',
};
const INSIDE: Readonly<Record<string, string>> = {
  'attention.self.query': 'attn_q',
  'attention.self.key': 'attn_k',
  'attention.self.value': 'attn_v',
  'attention.output.dense': 'attn_output',
  'attention.output.LayerNorm': 'attn_output_norm',
  'intermediate.dense': 'ffn_up',
  'output.dense': 'ffn_down',
  'output.LayerNorm': 'layer_output_norm',
};
/** Looked up or added, never multiplied by. */
const EXACT = new Set(['position_embd', 'token_types']);

function convert([full, { shape, values }]: [string, SafeTensor]): TensorData[] {
  const name = full.replace(/^bert\./, '');
  // A head for next-sentence prediction: sentence vectors do not pass through it.
  if (name.startsWith('pooler.')) return [];
  const [, layer, within, kind] =
    /^(?:encoder\.layer\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
  const table = layer === undefined ? OUTSIDE : INSIDE;
  const stem = defined(table[within ?? ''], `a name for tensor ${full}`);
  const isMatrix = shape.length === 2 && !EXACT.has(stem);
  return [
    {
      name: `${layer === undefined ? '' : `blk.${layer}.`}${stem}.${kind}`,
      dims: shape.toReversed(),
      type: isMatrix ? 'F16' : 'F32',
      values,
    },
  ];
}

if (import.meta.main) {
  const [folder, out] = process.argv.slice(2);
  if (folder === undefined || out === undefined) {
    process.stderr.write('usage: node tools/convert-bert.ts FOLDER FILE.gguf\n');
    process.exit(2);
  }
  await convertBert(folder, out);
}
