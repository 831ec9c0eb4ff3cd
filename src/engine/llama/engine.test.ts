/** The engine over the real library, on synthetic models: the contract and what is its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureSynthetic } from '../../model/synth.ts';
import { CONTRACT_OPTIONS, describeEngineContract } from '../contract.ts';
import { Driver, type Run } from '../contract-driver.ts';
import type { Engine, EngineOptions } from '../port.ts';
import { openLlamaEngine } from './engine.ts';
import { cacheOf } from './kernels.ts';
import type { LlamaSpec } from './load.ts';
import { probeDevices } from './native.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'plenum-engine-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const SPEC = {
  kind: 'llama',
  threads: 1,
  gpuLayers: 0,
  cacheType: 'f16',
  stepTokensMax: 512,
} as const;

async function openTiny(
  options: EngineOptions = CONTRACT_OPTIONS,
  model = 'synthetic:tiny',
  more: Partial<LlamaSpec> = {},
): Promise<Engine> {
  return openLlamaEngine({ ...SPEC, ...more, path: await ensureSynthetic(model, dir) }, options);
}

const opening =
  (more: Partial<LlamaSpec>) =>
  (options: EngineOptions): Promise<Engine> =>
    openTiny(options, 'synthetic:tiny', more);

describeEngineContract('llama, one cache', opening({ kvLayout: 'unified' }));
for (const [attention, flashAttention] of [
  ['plain attention', 'off'],
  ['flash', 'on'],
] as const) {
  const open = opening({ kvLayout: 'split', flashAttention });
  describeEngineContract(`llama, a cache per sequence, ${attention}`, open, {
    shortage: 'each sequence has cells for its whole context',
  });
}

describe('llama', () => {
  it('says what it is made of', async () => {
    const engine = await openTiny();
    expect(engine.facts.engine).toBe('llama v0.4.0');
    expect(engine.facts.device).toMatch(/^cpu \(.+\), 1 thread$/);
    expect(engine.facts.synthetic).toBe(true);
    expect(engine.facts.chatTemplate).toContain('im_start');
    expect(engine.stats().weightsBytes).toBeGreaterThan(1e6);
    await engine.shutdown();
  });

  it.each([
    { kvLayout: 'unified', flashAttention: 'auto' },
    { kvLayout: 'split', flashAttention: 'off' },
    { kvLayout: 'split', flashAttention: 'on' },
  ] as const)(
    'shares prefixes of a sliding-window model beyond its window, $kvLayout, flash $flashAttention',
    async (how) => {
      const options = { ...CONTRACT_OPTIONS, contextTokens: 512, cells: 2048 };
      const engine = await openTiny(options, 'synthetic:tiny-swa', how);
      const driver = new Driver(engine);
      const prompt = Int32Array.from({ length: 200 }, (_, i) => (i * 7) % 256);
      const alone = await driver.alone({ prompt, seq: 0, count: 8 });
      await driver.keep({ prompt, seq: 3, count: 100 });
      const share = { from: 3, count: 20 };
      const shared = await driver.alone({ prompt, seq: 1, count: 8, share });
      expect(shared.tokens).toEqual(alone.tokens);
      await engine.shutdown();
    },
  );

  it.each([
    ['synthetic:tiny', 'off'],
    ['synthetic:tiny', 'on'],
    ['synthetic:tiny-swa', 'off'],
  ] as const)(
    'decodes streams over one that rests, which stays as it was, %s, flash %s',
    async (model, flashAttention) => {
      const options = { ...CONTRACT_OPTIONS, contextTokens: 512, cells: 2048 };
      const engine = await openTiny(options, model, { kvLayout: 'split', flashAttention });
      const driver = new Driver(engine);
      const prompt = (start: number): Int32Array =>
        Int32Array.from({ length: 90 }, (_, i) => (start + i * 7) % 256);
      const runs = [0, 1, 2].map((seq) => ({ prompt: prompt(40 * seq), seq, count: 12 }));
      const alone = [];
      for (const run of runs) alone.push((await driver.alone(run)).tokens);
      const [first, resting, last] = runs as [Run, Run, Run];
      const generated = 3;
      await driver.keep({ ...resting, count: generated });
      const [a, b] = await driver.together([first, last]);
      expect([a?.tokens, b?.tokens]).toEqual([alone[0], alone[2]]);
      // The engine refuses a slice that does not begin where the cells of its sequence end.
      const start = resting.prompt.length + generated - 1;
      const next = { request: 0, seq: 1, start, tokens: Int32Array.of(5), output: 'none' } as const;
      expect((await driver.step([next])).kind).toBe('done');
      const share = { from: 1, count: 80 };
      const shared = await driver.alone({ ...resting, seq: 0, share });
      expect(shared.tokens).toEqual(alone[1]);
      await engine.shutdown();
    },
  );

  it('keeps the cache as the machine and the room for it suggest, unless it is told', () => {
    const spec: LlamaSpec = { ...SPEC, gpuLayers: null, path: 'model.gguf' };
    const of = (more: Partial<LlamaSpec>, gpu = false, size: Partial<EngineOptions> = {}) => {
      const options = { ...CONTRACT_OPTIONS, contextTokens: 4096, cells: 16_384, ...size };
      return cacheOf({ spec: { ...spec, ...more }, options, gpu });
    };
    expect(of({})).toEqual({ layout: 'split', flash: 'off' });
    expect(of({}, true)).toEqual({ layout: 'unified', flash: 'auto' });
    expect(of({ gpuLayers: 0 }, true)).toEqual({ layout: 'split', flash: 'off' });
    expect(of({}, false, { cells: 16_383 })).toEqual({ layout: 'unified', flash: 'auto' });
    expect(of({}, false, { contextTokens: 2049 })).toEqual({ layout: 'split', flash: 'off' });
    expect(of({}, false, { contextTokens: 2048 })).toEqual({ layout: 'split', flash: 'auto' });
    expect(of({ flashAttention: 'off' }, false, { contextTokens: 2048 })).toEqual({
      layout: 'split',
      flash: 'off',
    });
    expect(of({ cacheType: 'q8_0' })).toEqual({ layout: 'split', flash: 'auto' });
    expect(of({ kvLayout: 'unified' })).toEqual({ layout: 'unified', flash: 'auto' });
    expect(of({ kvLayout: 'split', flashAttention: 'on' })).toEqual({
      layout: 'split',
      flash: 'on',
    });
  });

  it('scores a prompt that is longer than the rows of one decode', async () => {
    const engine = await openTiny();
    const driver = new Driver(engine);
    const prompt = Int32Array.from({ length: 150 }, (_, i) => (i * 11) % 256);
    const run = { prompt, seq: 0, count: 1, scorePrompt: true };
    const { scores, tokens } = await driver.alone(run);
    expect(scores.flatMap((part) => part.scores.map(({ token }) => token))).toEqual([
      ...prompt.subarray(1),
    ]);
    expect(tokens).toEqual((await driver.alone({ ...run, scorePrompt: false })).tokens);
    await engine.shutdown();
  });

  it('computes with several threads and an 8-bit cache', async () => {
    const file = await ensureSynthetic('synthetic:tiny', dir);
    const spec = { ...SPEC, path: file, threads: 2, cacheType: 'q8_0' } as const;
    const engine = await openLlamaEngine(spec, CONTRACT_OPTIONS);
    const driver = new Driver(engine);
    const { tokens } = await driver.alone({ prompt: Int32Array.of(80, 81), seq: 0, count: 4 });
    expect(tokens).toHaveLength(4);
    expect(engine.facts.device).toMatch(/2 threads$/);
    await engine.shutdown();
  });

  it('survives a run of letters that would overflow the stack of its splitter', async () => {
    const file = await readFile(await ensureSynthetic('synthetic:tiny', dir));
    // A splitter that goes through std::regex, under a name of the same length.
    const at = file.indexOf('smollm', file.indexOf('tokenizer.ggml.pre'));
    file.write('viking', at, 'latin1');
    const recursive = path.join(dir, 'recursive.gguf');
    await writeFile(recursive, file);
    const engine = await openLlamaEngine({ ...SPEC, path: recursive }, CONTRACT_OPTIONS);
    const { bosText } = engine.facts;
    const options = { addSpecial: true, parseSpecial: true };
    const tokens = await engine.tokenize(`${'x'.repeat(60_000)}${bosText}y`, options);
    const text = Buffer.concat([...tokens].map((token) => engine.tokenBytes(token))).toString();
    expect(text === `${'x'.repeat(60_000)}y`).toBe(true);
    await engine.shutdown();
  });

  it('lets its process exit while a model loads', async () => {
    const file = await ensureSynthetic('synthetic:tiny', dir);
    const script = `
      import { openLlamaEngine } from ${JSON.stringify(new URL('./engine.ts', import.meta.url))};
      const options = ${JSON.stringify(CONTRACT_OPTIONS)};
      const onProgress = () => process.exit(7);
      await openLlamaEngine(${JSON.stringify({ ...SPEC, path: file })}, { ...options, onProgress });
    `;
    const arguments_ = ['--input-type=module-typescript', '--eval', script];
    const child = spawn(process.execPath, arguments_, { stdio: 'inherit' });
    expect(await once(child, 'exit')).toEqual([7, null]);
  });

  it('quotes the library when a file cannot be loaded', async () => {
    const foreign = path.join(dir, 'foreign.gguf');
    await writeFile(foreign, 'this is not a model, though it is long enough to have a header');
    await expect(
      openLlamaEngine({ ...SPEC, path: foreign }, CONTRACT_OPTIONS),
    ).rejects.toMatchObject({ code: 'load_failed', message: expect.stringMatching(/magic/) });
    const cut = path.join(dir, 'cut.gguf');
    await writeFile(cut, '');
    await truncate(cut, 100);
    const failed = openLlamaEngine({ ...SPEC, path: cut }, CONTRACT_OPTIONS);
    await expect(failed).rejects.toMatchObject({ code: 'load_failed' });
  });

  it('refuses an encoder and options that cannot work', async () => {
    await expect(openTiny(CONTRACT_OPTIONS, 'synthetic:tiny-bert')).rejects.toMatchObject({
      code: 'model_unsupported',
    });
    const few = openTiny({ ...CONTRACT_OPTIONS, cells: 100 });
    await expect(few).rejects.toMatchObject({ code: 'load_failed' });
    const many = openTiny({ ...CONTRACT_OPTIONS, parallel: 257 });
    await expect(many).rejects.toThrow(/parallel is 257/);
  });

  it('finds devices without a model', () => {
    const probe = probeDevices();
    expect(probe.version).toBe('0.4.0-dev');
    expect(probe.devices.length).toBeGreaterThan(0);
    expect(probe.cpuVariant).not.toBe('unknown');
  });
});
