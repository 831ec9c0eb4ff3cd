/** Synthetic models as files; the engine’s tests load them into the real library. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { geometryOf } from './geometry.ts';
import { inspectGguf, metadataNumber } from './gguf.ts';
import { SYNTH_QUANTS } from './synth/quant.ts';
import { ensureSynthetic, listSynthetic, parseSynthSpec, synthesize } from './synth.ts';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plenum-synth-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const fixtures = listSynthetic().filter(({ fixture }) => fixture);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('a spec', () => {
  it.each([
    ['tiny', 'tiny@f32'],
    ['synthetic:tiny', 'tiny@f32'],
    ['synthetic:Tiny-MoE@Q8_0', 'tiny-moe@q8_0'],
    ['llama-3.1-8b', 'llama-3.1-8b@q4_k_m'],
    ['gpt-oss-20b', 'gpt-oss-20b@mxfp4'],
  ])('%s means %s', (text, meaning) => {
    expect(parseSynthSpec(text).text).toBe(meaning);
    expect(parseSynthSpec(meaning).text).toBe(meaning);
  });

  it.each([
    ['llama-3.1-9b', 'Did you mean "llama-3.1-8b"?'],
    ['tiny@q4_l', 'Did you mean "q4_0"?'],
    ['a@b@c', 'NAME@QUANT'],
    ['', 'NAME@QUANT'],
    ['something-else-entirely', 'Known ones: llama-2-7b'],
  ])('%j is refused with what would be right', (text, hint) => {
    expect(() => parseSynthSpec(text)).toThrow(
      expect.objectContaining({
        code: 'reference_invalid',
        message: expect.stringContaining(hint),
      }),
    );
  });
});

describe('the list', () => {
  // Published parameter counts; Llama 3's tables of rotary factors are no parameters, but tensors.
  it.each([
    ['llama-2-7b@q4_k_m', 6738415616],
    ['llama-3.1-8b@q4_k_m', 8030261248 + 64],
    ['smollm2-135m@q4_k_m', 134515008],
    ['mixtral-8x7b@q4_k_m', 46702792704],
    ['qwen2.5-7b@q4_k_m', 7615616512],
    ['qwen3-32b@q4_k_m', 32762106880],
    ['qwen3-30b-a3b@q4_k_m', 30532110336 + 48 * 128],
    ['gemma-3-1b@q4_k_m', 999812736 + 26 * 128],
  ])('%s has %i parameters', (spec, published) => {
    const found = listSynthetic().find((entry) => entry.spec === spec)?.parameters ?? 0;
    // The published sums leave out the norms of queries and keys, or count them: 0.01 % at most.
    expect(Math.abs(found - published) / published).toBeLessThan(1e-4);
  });

  it('has bytes near those of published files', () => {
    const bytesOf = (spec: string): number =>
      listSynthetic().find((entry) => entry.spec === spec)?.fileBytes ?? 0;
    // 4.58 GiB, 39.59 GiB and 59.02 GiB.
    expect(bytesOf('llama-3.1-8b@q4_k_m') / 4_920_734_272).toBeCloseTo(1, 2);
    expect(bytesOf('llama-3.3-70b@q4_k_m') / 42_520_000_000).toBeCloseTo(1, 2);
    expect(bytesOf('gpt-oss-120b@mxfp4') / 63_387_346_464).toBeCloseTo(1, 1);
  });
});

describe('a file', () => {
  it.each(fixtures.map(({ spec }) => spec))('%s is whole and what it says', async (spec) => {
    const path = await ensureSynthetic(spec, dir);
    const header = await inspectGguf(path);
    const { shape } = parseSynthSpec(spec);
    const geometry = geometryOf(header);
    expect((await stat(path)).size).toBeGreaterThanOrEqual(header.expectedBytes);
    expect(geometry).toMatchObject({
      arch: shape.arch,
      width: shape.width,
      vocab: shape.vocab,
      contextTokens: shape.contextTokens,
      experts: shape.experts,
      expertsUsed: shape.expertsUsed,
      isSynthetic: true,
      hasChatTemplate: shape.arch !== 'bert',
    });
    expect(geometry.layers).toHaveLength(shape.layers);
    const entry = listSynthetic().find((known) => known.spec === spec);
    expect(geometry.weights.parameters).toBe(entry?.parameters);
  });

  it.each(SYNTH_QUANTS.map(({ name }) => name))('can be of %s', async (quant) => {
    const path = await ensureSynthetic(`small@${quant}`, dir);
    const header = await inspectGguf(path);
    expect(geometryOf(header).quantisation.toLowerCase()).toBe(quant);
  });

  it('is the same on every machine', async () => {
    const path = await ensureSynthetic('tiny', dir);
    expect(sha256(await readFile(path))).toBe(TINY_SHA256);
  });

  it('depends on its seed, and on nothing else', async () => {
    const digests: string[] = [];
    for (const seed of [1, 2, 2]) {
      const path = join(dir, 'seed.gguf');
      await synthesize(parseSynthSpec('tiny-moe@q4_0'), path, { seed });
      expect(metadataNumber(await inspectGguf(path), 'plenum.synthetic.seed')).toBe(seed);
      digests.push(sha256(await readFile(path)));
    }
    expect(digests[1]).not.toBe(digests[0]);
    expect(digests[2]).toBe(digests[1]);
  });

  it('has no two equal rows in its matrices', async () => {
    const path = await ensureSynthetic('tiny', dir);
    const { tensors } = await inspectGguf(path);
    const bytes = await readFile(path);
    for (const { name, dims, offset, bytes: length } of tensors) {
      const [, rows = 1] = dims;
      const rowBytes = length / rows;
      const digests = Array.from({ length: rows }, (_, i) =>
        sha256(bytes.subarray(offset + i * rowBytes, offset + (i + 1) * rowBytes)),
      );
      expect(new Set(digests).size, name).toBe(rows);
    }
  });

  it('has norms about 1 and matrices of 1 over the root of their inputs', async () => {
    const path = await ensureSynthetic('tiny', dir);
    const { tensors } = await inspectGguf(path);
    const bytes = await readFile(path);
    const statistics = (name: string): { mean: number; std: number } => {
      const tensor = tensors.find((each) => each.name === name);
      if (tensor === undefined) throw new Error(name);
      const values = Array.from({ length: tensor.elements }, (_, i) =>
        bytes.readFloatLE(tensor.offset + i * 4),
      );
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      return { mean, std: Math.sqrt(square / values.length) };
    };
    expect(statistics('blk.0.attn_norm.weight').mean).toBeCloseTo(1, 1);
    const up = statistics('blk.1.ffn_up.weight');
    expect(up.mean).toBeCloseTo(0, 2);
    expect(up.std * Math.sqrt(64)).toBeCloseTo(1, 1);
    expect(statistics('blk.3.ffn_down.weight').std * Math.sqrt(192)).toBeCloseTo(1, 1);
  });

  it('reports its progress up to the whole', async () => {
    const seen: number[] = [];
    const path = join(dir, 'progress.gguf');
    const { fileBytes } = await synthesize(parseSynthSpec('tiny-bert'), path, {
      onProgress: ({ bytesWritten, bytesTotal }) => seen.push(bytesWritten / bytesTotal),
    });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect((await stat(path)).size).toBe(fileBytes);
  });

  it.each([-1, 0.5, 2 ** 32, Number.NaN])('of the seed %d is refused', async (seed) => {
    const work = synthesize(parseSynthSpec('tiny'), join(dir, 'never.gguf'), { seed });
    await expect(work).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('ensureSynthetic', () => {
  it('makes a file once, also when asked many times at once', async () => {
    const own = await mkdtemp(join(dir, 'once-'));
    const paths = await Promise.all(Array.from({ length: 4 }, () => ensureSynthetic('tiny', own)));
    expect(new Set(paths).size).toBe(1);
    expect(await readdir(own)).toHaveLength(1);
    const [path = ''] = paths;
    const before = await stat(path);
    expect(await ensureSynthetic('synthetic:tiny', own)).toBe(path);
    expect((await stat(path)).ino).toBe(before.ino);
  });

  it('replaces a file that is not whole', async () => {
    const own = await mkdtemp(join(dir, 'cut-'));
    const path = await ensureSynthetic('tiny', own);
    const whole = sha256(await readFile(path));
    await truncate(path, 5000);
    await ensureSynthetic('tiny', own);
    expect(sha256(await readFile(path))).toBe(whole);
    await writeFile(path, Buffer.alloc((await stat(path)).size));
    await ensureSynthetic('tiny', own);
    expect(sha256(await readFile(path))).toBe(whole);
  });

  it('leaves nothing behind when it is aborted', async () => {
    const own = await mkdtemp(join(dir, 'abort-'));
    const stop = new AbortController();
    const work = ensureSynthetic('tiny', own, {
      signal: stop.signal,
      onProgress: () => stop.abort(new Error('enough')),
    });
    await expect(work).rejects.toThrow('enough');
    expect(await readdir(own)).toEqual([]);
  });
});

// Of the bytes that SYNTH_VERSION stands for: whoever changes them raises the version.
const TINY_SHA256 = '5da1ac87bb76ce0c01ab40dfdbb0b6a7d902b3fa059c323954c8e7f922f651dc';
