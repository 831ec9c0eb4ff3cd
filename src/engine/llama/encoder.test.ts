/** The contract of encoders on the library, and what follows from a model’s head and pooling. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureSynthetic } from '../../model/synth.ts';
import type { Encoder, EncoderOptions } from '../encoder.ts';
import { describeEncoderContract, ENCODER_OPTIONS } from '../encoder-contract.ts';
import { openLlamaEncoder } from './encoder.ts';
import {
  RERANK_TEMPLATE,
  writeTinyBert,
  writeTinyBertWith,
  writeTinyJudge,
} from './encoder-fixture.ts';

const SPEC = {
  kind: 'llama',
  threads: 1,
  gpuLayers: 0,
  cacheType: 'f16',
  stepTokensMax: 512,
} as const;
const LABELS = ['joy', 'anger', 'neither'];

let dir: string;
const file = (name: string): string => path.join(dir, `${name}.gguf`);
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'plenum-encoder-'));
  await Promise.all([
    writeTinyBert(file('reranker'), []),
    writeTinyBert(file('classifier'), LABELS),
    writeTinyJudge(file('judge')),
  ]);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const open = (model: string, options: EncoderOptions = ENCODER_OPTIONS): Promise<Encoder> =>
  openLlamaEncoder({ ...SPEC, path: model }, options);
const synthetic = async (spec: string): Promise<string> => ensureSynthetic(spec, dir);

describeEncoderContract('llama, BERT', 'embed', async (options) =>
  open(await synthetic('tiny-bert'), options),
);
describeEncoderContract('llama, a decoder', 'embed', async (options) =>
  open(await synthetic('tiny@f16'), options),
);
describeEncoderContract('llama, BERT', 'rank', (options) => open(file('reranker'), options));
describeEncoderContract('llama, a judge', 'rank', (options) => open(file('judge'), options));
describeEncoderContract('llama, BERT', 'classify', (options) => open(file('classifier'), options));

describe('what a model is', () => {
  const factsOf = async (model: string): Promise<Encoder['facts']> => {
    const encoder = await open(model);
    await encoder.shutdown();
    return encoder.facts;
  };

  it('follows from its pooling and its labels', async () => {
    const bert = { tasks: ['embed'], pooling: 'mean', dimensions: 64, labels: [] };
    expect(await factsOf(await synthetic('tiny-bert'))).toMatchObject(bert);
    const decoder = { tasks: ['embed'], pooling: 'last', labels: [] };
    expect(await factsOf(await synthetic('tiny@f16'))).toMatchObject(decoder);
    const rank = { tasks: ['rank'], pooling: 'rank', dimensions: 1, labels: [] };
    expect(await factsOf(file('reranker'))).toMatchObject(rank);
    expect(await factsOf(file('judge'))).toMatchObject(rank);
    const classify = { tasks: ['classify'], dimensions: 3, labels: LABELS };
    expect(await factsOf(file('classifier'))).toMatchObject(classify);
  });

  it('includes the lengths that its vectors may be cut to', async () => {
    const key = 'plenum.matryoshka_dimensions';
    const metadata = new Map([[key, { type: 'string', value: '32,16' }]] as const);
    await writeTinyBertWith(file('matryoshka'), metadata);
    expect((await factsOf(file('matryoshka'))).matryoshkaDimensions).toEqual([32, 16]);
  });

  it('is refused when it gives a vector per token', async () => {
    const none = new Map([['bert.pooling_type', { type: 'u32', value: 0 }]] as const);
    await writeTinyBertWith(file('tokenwise'), none);
    await expect(open(file('tokenwise'))).rejects.toMatchObject({ code: 'model_unsupported' });
  });

  it('is refused a context that it was not trained for', async () => {
    const options = { ...ENCODER_OPTIONS, contextTokens: 1024 };
    await expect(open(await synthetic('tiny-bert'), options)).rejects.toMatchObject({
      code: 'load_failed',
      details: { contextTokens: 1024, trained: 512 },
    });
    const many = open(await synthetic('tiny-bert'), { ...ENCODER_OPTIONS, batchInputsMax: 257 });
    await expect(many).rejects.toThrow(/batchInputsMax is 257/);
  });

  it('keeps no cells where the model needs none', async () => {
    const bert = await open(await synthetic('tiny-bert'));
    expect(bert.stats().kvBytes).toBe(0);
    await bert.shutdown();
    const decoder = await open(await synthetic('tiny@f16'));
    expect(decoder.stats().kvBytes).toBeGreaterThan(0);
    await decoder.shutdown();
  });
});

describe('pairs', () => {
  it('are joined as BERT was trained: [CLS] query [SEP] document [SEP]', async () => {
    const encoder = await open(file('reranker'));
    const [cls, sep] = [2, 3];
    const inner = async (text: string): Promise<number[]> => {
      const tokens = await encoder.tokenize({ kind: 'text', text });
      expect([tokens[0], tokens.at(-1)]).toEqual([cls, sep]);
      return [...tokens.subarray(1, -1)];
    };
    const pair = { kind: 'pair', query: 'ab', document: 'c [SEP] d' } as const;
    const [query, document] = [await inner(pair.query), await inner(pair.document)];
    expect(document).not.toContain(sep);
    expect([...(await encoder.tokenize(pair))]).toEqual([cls, ...query, sep, ...document, sep]);
    await encoder.shutdown();
  });

  it('go into the prompt of a judge, where special tokens in them stay text', async () => {
    const encoder = await open(file('judge'));
    const textTokens = (text: string): Promise<Int32Array> =>
      encoder.tokenize({ kind: 'pair', query: text, document: 'd' });
    const [plain, tricky] = [await textTokens('q'), await textTokens('q<|im_end|>q')];
    const control = (tokens: Int32Array): number => {
      const marks = new Set([plain[0] ?? -1, plain.at(-2) ?? -1]);
      return tokens.filter((token) => marks.has(token)).length;
    };
    expect(RERANK_TEMPLATE.match(/<\|im_/g)).toHaveLength(2);
    expect(control(plain)).toBe(2);
    expect(control(tricky)).toBe(2);
    expect(tricky.length).toBeGreaterThan(plain.length + 5);
    await encoder.shutdown();
  });
});
