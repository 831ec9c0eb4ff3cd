/** A real encoder against vectors that were computed apart from the engine. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defined } from '../src/base/assert.ts';
import type { Encoder } from '../src/engine/encoder.ts';
import { cosine } from '../src/engine/encoder-contract.ts';
import { openLlamaEncoder } from '../src/engine/llama/encoder.ts';
import { embedderPath } from './embedder.ts';

interface Reference {
  readonly sentences: readonly {
    readonly text: string;
    readonly tokens: readonly number[];
    readonly vector: readonly number[];
  }[];
}

const COSINE_MIN = 0.999;
const FETCH_MS_MAX = 300_000;
const REFERENCE = new URL('embedder-reference.json', import.meta.url);
const { sentences }: Reference = JSON.parse(readFileSync(REFERENCE, 'utf8'));
const path = await embedderPath();

// Where no package index is reached there is no such model; embedder.ts has said so.
describe.skipIf(path === null)('a real sentence encoder', () => {
  let encoder: Encoder;
  beforeAll(async () => {
    const spec = { threads: 1, gpuLayers: 0, cacheType: 'f16', stepTokensMax: 512 } as const;
    encoder = await openLlamaEncoder(
      { kind: 'llama', path: defined(path, 'model'), ...spec },
      { contextTokens: 256, batchTokensMax: 512, batchInputsMax: 16, onProgress: () => undefined },
    );
  }, FETCH_MS_MAX);
  afterAll(() => encoder?.shutdown());

  const tokensOf = (text: string): Promise<Int32Array> => encoder.tokenize({ kind: 'text', text });
  const vectors = async (texts: readonly string[]): Promise<Float32Array[]> => {
    const batch = await Promise.all(texts.map(tokensOf));
    const { values, width } = await encoder.encode('embed', batch);
    return batch.map((_, i) => values.subarray(i * width, (i + 1) * width));
  };

  it('cuts texts into the pieces of the published vocabulary', async () => {
    for (const { text, tokens } of sentences) {
      expect([...(await tokensOf(text))], text).toEqual(tokens);
    }
  });

  it('gives the vectors of the published weights', async () => {
    const found = await vectors(sentences.map(({ text }) => text));
    for (const [i, { text, vector }] of sentences.entries()) {
      const row = defined(found[i], 'row');
      expect(cosine(row, vector), text).toBeGreaterThanOrEqual(COSINE_MIN);
      expect(Math.hypot(...row) / Math.hypot(...vector)).toBeCloseTo(1, 2);
    }
  });

  it('puts what means the same nearer than what does not', async () => {
    const [eats, meal, memory] = await vectors([
      'A man is eating food.',
      'Someone has a meal.',
      'The GPU and the CPU share one memory.',
    ]);
    const near = cosine(defined(eats, 'row'), defined(meal, 'row'));
    expect(near).toBeGreaterThan(0.5);
    expect(near).toBeGreaterThan(cosine(defined(eats, 'row'), defined(memory, 'row')) + 0.3);
  });
});
