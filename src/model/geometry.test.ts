/** Facts of models, from synthetic files and from headers made for a case. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatParameters, geometryOf, type ModelGeometry } from './geometry.ts';
import { cacheBytes } from './geometry-cache.ts';
import { type GgufHeader, inspectGguf, readGguf } from './gguf.ts';
import { type EncodableValue, encodeHeader } from './gguf-encode.ts';
import { memorySource } from './gguf-source.ts';
import { ggmlTypeByName } from './gguf-types.ts';
import { ensureSynthetic } from './synth.ts';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plenum-geometry-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const synthetic = async (spec: string): Promise<ModelGeometry> =>
  geometryOf(await inspectGguf(await ensureSynthetic(spec, dir)));

type Keys = Readonly<Record<string, number | string | boolean | readonly number[]>>;

function encodable(value: Keys[string]): EncodableValue {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'boolean') return { type: 'bool', value };
  if (typeof value === 'number') return { type: 'u32', value };
  return { type: 'numbers', of: 'i32', values: value };
}

/** A header with one small tensor and the given keys, which lack their architecture's prefix. */
async function header(arch: string, keys: Keys, general: Keys = {}): Promise<GgufHeader> {
  const type = ggmlTypeByName('F32');
  if (type === undefined) throw new Error('F32');
  const metadata = new Map([
    ['general.architecture', encodable(arch)],
    ...Object.entries(general).map(([key, value]) => [key, encodable(value)] as const),
    ...Object.entries(keys).map(([key, value]) => [`${arch}.${key}`, encodable(value)] as const),
  ]);
  const tensors = [{ name: 'token_embd.weight', dims: [32, 10], type }];
  const encoded = encodeHeader(metadata, tensors);
  const file = new Uint8Array(encoded.fileBytes);
  file.set(encoded.header);
  return readGguf(memorySource(file));
}

const BASE = {
  block_count: 4,
  embedding_length: 64,
  context_length: 128,
  'attention.head_count': 4,
  'attention.head_count_kv': 2,
  feed_forward_length: 96,
};

describe('a dense model', () => {
  it('has its dimensions, sums and cache', async () => {
    const geometry = await synthetic('tiny');
    expect(geometry).toMatchObject({
      arch: 'llama',
      description: 'llama 312K F32',
      isEncoder: false,
      width: 64,
      keyDim: 32,
      valueDim: 32,
      vocab: 512,
      contextTokens: 8192,
      experts: 0,
      recurrence: 'none',
      stateBytesPerSequence: 0,
      pooling: null,
      quantisation: 'F32',
    });
    expect(geometry.layers).toHaveLength(4);
    expect(geometry.layers[0]).toEqual({
      heads: 4,
      kvHeads: 2,
      ff: 192,
      keyElements: 64,
      valueElements: 64,
      windowTokens: null,
      isRecurrent: false,
    });
    // Two matrices of 512 × 64, four layers of attention (64 × 384), feed-forward (3 × 64 × 192)
    // and two norms, and the last norm.
    const parameters = 2 * 512 * 64 + 4 * (64 * 384 + 3 * 64 * 192 + 2 * 64) + 64;
    const { weights } = geometry;
    expect(weights).toMatchObject({ parameters, bytes: parameters * 4, isTied: false });
    expect(weights.activeParameters).toBe(parameters - 512 * 64);
    expect(weights.activeBytes).toBe(weights.activeParameters * 4);
    expect(weights.byClass).toMatchObject({
      embedding: { parameters: 512 * 64 },
      output: { parameters: 512 * 64 },
      attention: { parameters: 4 * 64 * 384 },
      feed_forward: { parameters: 4 * 3 * 64 * 192 },
      experts: { parameters: 0 },
      norm: { parameters: 9 * 64 },
      other: { parameters: 0 },
    });
  });

  it('with a tied embedding reads it in every step', async () => {
    const { weights } = await synthetic('tiny-tied');
    expect(weights.isTied).toBe(true);
    expect(weights.activeParameters).toBe(weights.parameters);
  });
});

describe('a KV cache', () => {
  it('has bytes per token by its types', async () => {
    const geometry = await synthetic('tiny');
    // 4 layers × 64 keys and 64 values.
    expect(cacheBytes(geometry).perToken).toBe(4 * 128 * 2);
    expect(cacheBytes(geometry, { key: 'f32', value: 'f16' }).perToken).toBe(4 * 64 * 6);
    expect(cacheBytes(geometry, { key: 'q8_0', value: 'q4_0' }).perToken).toBe(4 * (68 + 36));
  });

  it('counts windowed layers apart', async () => {
    const geometry = await synthetic('tiny-swa');
    expect(geometry.layers.map(({ windowTokens }) => windowTokens)).toEqual([
      64,
      64,
      64,
      64,
      64,
      null,
    ]);
    expect(cacheBytes(geometry)).toEqual({
      perToken: 256,
      perWindowedToken: 5 * 256,
      windowTokens: 64,
    });
  });

  it('alternates windows in gpt-oss', async () => {
    const { layers } = await synthetic('tiny-gpt-oss');
    expect(layers.map(({ windowTokens }) => windowTokens)).toEqual([128, null]);
  });

  it('is refused when vectors are not whole blocks', async () => {
    const odd = geometryOf(await header('llama', { ...BASE, 'attention.head_count_kv': 1 }));
    expect(() => cacheBytes(odd, { key: 'q8_0', value: 'f16' })).toThrow(/whole blocks of 32/);
  });

  it('of latent attention keeps one vector', async () => {
    const keys = {
      ...BASE,
      'attention.head_count_kv': 1,
      'attention.key_length': 576,
      'attention.value_length': 512,
      'attention.key_length_mla': 192,
      'attention.value_length_mla': 128,
    };
    expect(cacheBytes(geometryOf(await header('deepseek2', keys))).perToken).toBe(4 * 576 * 2);
  });

  it('is not there in an encoder', async () => {
    const geometry = await synthetic('tiny-bert');
    expect(geometry).toMatchObject({ isEncoder: true, pooling: 'mean' });
    expect(cacheBytes(geometry).perToken).toBe(0);
    expect(geometry.weights.isTied).toBe(false);
  });
});

describe('other architectures', () => {
  it('with experts read those that a token chooses', async () => {
    const geometry = await synthetic('tiny-moe');
    expect(geometry).toMatchObject({ experts: 4, expertsUsed: 2 });
    const { weights } = geometry;
    const { experts, embedding } = weights.byClass;
    expect(experts.parameters).toBe(2 * 4 * 3 * 64 * 96);
    const active = weights.parameters - embedding.parameters - experts.parameters / 2;
    expect(weights.activeParameters).toBe(active);
    expect(geometry.description).toBe('llama 263K-A156K F32');
  });

  it('with settings per layer have them', async () => {
    const keys = {
      ...BASE,
      'attention.head_count': [4, 4, 2, 2],
      'attention.head_count_kv': [2, 0, 1, 2],
      feed_forward_length: [96, 96, 64, 64],
    };
    const { layers } = geometryOf(await header('deci', keys));
    expect(layers.map(({ heads, kvHeads, ff }) => [heads, kvHeads, ff])).toEqual([
      [4, 2, 96],
      [4, 0, 96],
      [2, 1, 64],
      [2, 2, 64],
    ]);
    expect(layers.map(({ keyElements }) => keyElements)).toEqual([32, 0, 16, 32]);
  });

  it('that are hybrid keep a state in some layers', async () => {
    const keys = {
      ...BASE,
      full_attention_interval: 4,
      'ssm.inner_size': 128,
      'ssm.state_size': 16,
      'ssm.conv_kernel': 4,
      'ssm.group_count': 2,
    };
    const geometry = geometryOf(await header('qwen3next', keys));
    expect(geometry.recurrence).toBe('hybrid');
    expect(geometry.layers.map(({ isRecurrent }) => isRecurrent)).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(geometry.stateBytesPerSequence).toBe(3 * 4 * (3 * (128 + 2 * 2 * 16) + 16 * 128));
    expect(cacheBytes(geometry).perToken).toBe(2 * 32 * 2);
  });

  it('that are recurrent need no heads', async () => {
    const keys = {
      block_count: 2,
      embedding_length: 64,
      context_length: 128,
      'ssm.inner_size': 128,
      'ssm.state_size': 16,
      'ssm.conv_kernel': 4,
    };
    const geometry = geometryOf(await header('mamba', keys));
    expect(geometry.recurrence).toBe('all');
    expect(geometry.stateBytesPerSequence).toBe(2 * 4 * (3 * 128 + 16 * 128));
    expect(cacheBytes(geometry).perToken).toBe(0);
  });

  it('ignore a window that the engine ignores', async () => {
    const keys = { ...BASE, 'attention.sliding_window': 32 };
    const { layers } = geometryOf(await header('llama', keys));
    expect(layers.every(({ windowTokens }) => windowTokens === null)).toBe(true);
  });
});

describe('a header that cannot be run', () => {
  it('is refused with everything that is missing', async () => {
    const incomplete = await header('llama', { block_count: 2 });
    expect(() => geometryOf(incomplete)).toThrow(
      expect.objectContaining({
        code: 'model_unsupported',
        details: {
          missing: ['llama.embedding_length', 'llama.context_length', 'llama.attention.head_count'],
        },
      }),
    );
  });

  it('of another kind is called by it', async () => {
    const adapter = await header('llama', BASE, { 'general.type': 'adapter' });
    expect(() => geometryOf(adapter)).toThrow(/adapter/);
  });
});

describe('parameters in words', () => {
  it.each([
    [314_112, '314K'],
    [134_515_008, '135M'],
    [999_400_000, '999M'],
    [999_812_736, '1.0B'],
    [8_030_261_248, '8.0B'],
    [70_553_706_496, '70.6B'],
    [116_789_232_960, '117B'],
  ])('%i is %s', (n, text) => {
    expect(formatParameters(n)).toBe(text);
  });
});
