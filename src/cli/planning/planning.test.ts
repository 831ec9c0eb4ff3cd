/** The planning commands as a user types them, on a server that speaks ranges and in folders. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import { type FakeHub, startFakeHub } from '../../model/hub.fixture.ts';
import { parseSynthSpec, synthesize } from '../../model/synth.ts';
import { fakeContext } from '../fixture.ts';
import { runProgram } from '../program.ts';
import { appleMachine } from './here.ts';

let folder: string;
let hub: FakeHub;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-planning-'));
  hub = await startFakeHub();
});

afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

async function plenum(...argv: readonly string[]) {
  const env = { HF_ENDPOINT: hub.endpoint, HOME: folder, PLENUM_HOME: join(folder, 'home') };
  const context = fakeContext({ env, cwd: folder });
  const code = await runProgram(argv, context);
  const { out, err } = context;
  return { code, out, err, json: () => JSON.parse(out) };
}

async function publish(name: string, spec: string): Promise<Buffer> {
  const path = join(folder, 'published.gguf');
  await synthesize(parseSynthSpec(spec), path);
  const content = await readFile(path);
  hub.files.set(name, content);
  return content;
}

const widest = (text: string): number => Math.max(...text.split('\n').map((line) => line.length));

/** Bytes that the content network was asked for at most. */
const rangesAsked = (): readonly (string | undefined)[] =>
  hub.seen.filter(({ server }) => server === 'cdn').map(({ range }) => range);

describe('plenum fit', () => {
  it('shows every item with its bytes and its source, and a verdict, in 80 columns', async () => {
    const { code, out } = await plenum('fit', 'synthetic:tiny', '--machine', 'm4-max-40c:64');
    expect(code).toBe(0);
    for (const item of ['weights', 'KV cache', 'compute buffers', 'host process', 'in all']) {
      expect(out).toContain(`  ${item} `);
    }
    expect(out).toContain('32768 cells × 1024 B (f16)');
    expect(out).toMatch(/It fits: .* needed, m4-max-40c \(64 GiB\)\s+has 55.7 GB for models/);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('says the same of a file, of the synthetic spec, and of the header on a server', async () => {
    const content = await publish('org/repo/m-F32.gguf', 'tiny-bert');
    const items = async (reference: string) => {
      // Of this machine a file's engine would be asked, which the others have not.
      const on = ['--machine', 'm4-max-40c:64'];
      const { json } = await plenum('fit', '--json', '--context', '256', ...on, reference);
      return json().models[0].items;
    };
    const file = await items('published.gguf');
    const url = `${hub.cdn}/${encodeURIComponent('org/repo/m-F32.gguf')}`;
    expect(await items('synthetic:tiny-bert')).toEqual(file);
    expect(await items('org/repo:F32')).toEqual(file);
    expect(await items('org/repo/m-F32.gguf')).toEqual(file);
    expect(await items(url)).toEqual(file);
    const weights = file.filter(({ name }: { name: string }) => name === 'weights');
    const bytes = weights.reduce((sum: number, item: { bytes: number }) => sum + item.bytes, 0);
    expect(bytes).toBeLessThan(content.length);
    expect(bytes).toBeGreaterThan(content.length * 0.5);
  });

  it('reads only a range of the file on a server, and stores nothing', async () => {
    // Longer than the first range that is asked for.
    const content = await publish('org/repo/m-F32.gguf', 'tiny@f32');
    hub.files.set('org/repo/m-F32.gguf', Buffer.concat([content, Buffer.alloc(4_000_000)]));
    expect((await plenum('fit', 'org/repo:F32')).code).toBe(0);
    expect(rangesAsked()).toEqual(['bytes=0-1048575']);
    expect(await readdir(folder)).not.toContain('home');
  });

  it('does with a server that knows no ranges', async () => {
    await publish('org/repo/m-F32.gguf', 'tiny');
    hub.faults.cdn.push({ kind: 'whole' });
    expect((await plenum('fit', 'org/repo:F32')).code).toBe(0);
  });

  it('finds a stored model by reference and by id', async () => {
    await publish('org/repo/m-F32.gguf', 'tiny');
    await plenum('pull', 'org/repo:F32');
    hub.seen.length = 0;
    expect((await plenum('fit', 'org/repo:F32')).code).toBe(0);
    expect((await plenum('fit', 'm-F32')).out).toMatch(/^m-F32: llama 312K F32, 8192 tokens × 4/);
    expect(hub.seen).toEqual([]);
  });

  it('says what a server has wrong', async () => {
    const absent = await plenum('fit', 'org/none:Q8_0');
    expect([absent.code, absent.err]).toEqual([1, expect.stringContaining('has no org/none')]);
    hub.files.set('org/repo/page.gguf', Buffer.from('<!doctype html><html>'));
    const page = await plenum('fit', 'org/repo/page.gguf');
    expect(page.err).toMatch(/org\/repo\/page.gguf is not a GGUF model; .*\(file_foreign\)/);
    const refused = await plenum('fit', `${hub.cdn}/gone.gguf`);
    expect(refused.err).toContain('gone.gguf: HTTP 404 (download_failed)');
  });

  it('ends with 1 and the smaller wishes when models do not fit, which do', async () => {
    const long = ['fit', 'llama-3.3-70b', '--machine', 'm4-max-40c:64', '--json'];
    const { code, json } = await plenum(...long, '--context', '65536');
    const { fits, memory, instead } = json();
    expect([code, fits]).toEqual([1, false]);
    expect(memory.shortBytes).toBe(memory.neededBytes - memory.availableBytes);
    expect(instead[0]).toContain('--context 8192');
    const shorter = await plenum(...long, '--context', '8192');
    expect([shorter.code, shorter.json().fits]).toEqual([0, true]);
    expect((await plenum(...long, '--context', '16384')).code).toBe(1);
  });

  it('counts all models together, and leaves a reserve', async () => {
    const on = ['--machine', 'm4-max-40c:48', '--json'];
    const one = (await plenum('fit', 'synthetic:tiny', ...on)).json();
    const two = (await plenum('fit', 'synthetic:tiny', 'synthetic:tiny', ...on)).json();
    expect(two.memory.neededBytes).toBe(2 * one.memory.neededBytes);
    const kept = (await plenum('fit', 'synthetic:tiny', ...on, '--reserve', '10')).json();
    expect(one.memory.availableBytes - kept.memory.availableBytes).toBe(10e9);
  });

  it('of a file that is here has the need that admission would have, by the engine', async () => {
    const path = join(folder, 'quantised.gguf');
    await synthesize(parseSynthSpec('smollm2-135m@q4_0'), path);
    const { json } = await plenum('fit', path, '--context', '512', '--json');
    const [{ items, neededBytes }] = json().models;
    const sources = items.map(({ name, source }: { name: string; source: string }) => [
      name,
      source.includes('simulated allocation'),
    ]);
    expect(sources).toContainEqual(['KV cache', true]);
    expect(sources).toContainEqual(['compute buffers', true]);
    const elsewhere = await plenum(
      'fit',
      path,
      '--context',
      '512',
      '--json',
      '--machine',
      'm4-10c',
    );
    expect(JSON.stringify(elsewhere.json().models[0].items)).not.toContain('simulated');
    if (process.platform !== 'linux' || process.arch !== 'x64') return;
    expect(sources).toContainEqual(['repacked weights', true]);
    expect(neededBytes).toBeGreaterThan(elsewhere.json().models[0].neededBytes);
  });

  it('asks this machine what it has when none is named', async () => {
    const { json } = await plenum('fit', 'synthetic:tiny', '--json');
    expect(json()).toMatchObject({ machine: 'this machine', fits: true });
    expect(json().memory.availableSource).not.toBe('');
  });

  it('refuses impossible values and unknown names with what would be right', async () => {
    for (const [argv, message] of [
      [['x', '--context', '0'], '--context takes a whole number from 1'],
      [['x', '--parallel', '1.5'], '--parallel takes a whole number from 1'],
      [['x', '--reserve', '-1'], '--reserve takes a number from 0'],
      [['x', '--cache-type', 'q9'], '--cache-type takes one of f32, f16'],
      [['x', '--machine', 'm4-max'], 'the nearest are m4-max'],
      [['x', '--machine', 'm4-max-40c:63'], 'it comes with 48, 64, 128 GiB'],
      [['x', '--machine', '0xrtx-3090'], 'from 1 to 64 cards'],
      [['x', '--machine', '2xm4-max-40c'], 'models are not sharded over machines'],
      [['llama-3.1-8b', '--context', '200000'], 'llama-3.1-8b was trained for 131072'],
      [['llama-3.1-8b@q9_k'], "No quantisation is called 'q9_k'"],
      [[], 'missing required argument'],
    ] as const) {
      const { code, err, out } = await plenum('fit', ...argv);
      expect([code, err, out]).toEqual([2, expect.stringContaining(message), '']);
    }
    const { code, err } = await plenum('fit', 'llama-3.1-8');
    expect([code, err]).toEqual([1, expect.stringContaining('the nearest are llama-3.1-8b')]);
  });
});

describe('plenum plan', () => {
  it('answers in one sentence, then memory, speed and cost, in 80 columns', async () => {
    const { code, out } = await plenum(
      'plan',
      'llama-3.3-70b@q4_k_m',
      '--machine',
      'm4-max-40c:64',
    );
    expect(code).toBe(0);
    expect(out).toMatch(
      /^llama-3.3-70b Q4_K_M fits m4-max-40c \(64 GiB\): one user gets [\d.]+ tokens per\s+second/,
    );
    expect(out).toMatch(/decode +[\d.]+ tok\/s ± \d+ % +bound by bandwidth, \d+ % of the limit/);
    for (const part of ['KV cache', 'prefill', 'first token', 'Cost at 30 % utilisation']) {
      expect(out).toContain(part);
    }
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('gives one object per machine with --json, in the order asked for', async () => {
    const names = ['m4-max-40c', 'rtx-4090', 'h100-sxm'];
    const { code, json } = await plenum(
      'plan',
      'llama-3.1-8b',
      '--compare',
      names.join(),
      '--json',
    );
    expect(code).toBe(0);
    expect(json().map((one: { machine: string }) => one.machine)).toEqual(names);
    for (const { fits, memory, speed, cost, verdict } of json()) {
      expect(fits).toBe(true);
      expect(verdict).toMatch(/^llama-3.1-8b Q4_K_M fits /);
      const sum = memory.items.reduce((n: number, item: { bytes: number }) => n + item.bytes, 0);
      expect(memory.neededBytes).toBe(sum);
      expect(memory.availableBytes).toBeGreaterThan(sum);
      expect(speed.decodeTps).toBeLessThan(speed.limitTps);
      expect(speed.prefillTps).toBeGreaterThan(speed.decodeTps);
      expect(speed.ttftMs).toBeGreaterThan(0);
      expect(['bandwidth', 'overhead']).toContain(speed.binding);
      expect(Object.keys(cost)).toEqual(expect.arrayContaining(['usdPerMtokOut', 'usdPerMtokIn']));
    }
  });

  it('compares machines in a table of 80 columns', async () => {
    const machines = '2xrtx-pro-6000-blackwell,gb10-dgx-spark,m4-pro-20c:24';
    const { out } = await plenum('plan', 'llama-3.3-70b', '--compare', machines);
    expect(out).toMatch(/^2 of 3 machines hold it: .* is the fastest/);
    expect(out).toMatch(/2xrtx-pro-6000-blackwell:96 +yes/);
    expect(out).toMatch(/m4-pro-20c:24 +no +[\d.]+GB( +-){4}$/m);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('says unknown, or null, where the catalogue has no figure', async () => {
    const on = ['plan', 'qwen3-8b', '--machine', 'm5-10c'];
    expect((await plenum(...on)).out).toMatch(/energy +unknown/);
    const [{ cost }] = (await plenum(...on, '--json')).json();
    expect([cost.usdPerMtokOut, cost.usdPerMtokIn]).toEqual([null, null]);
    expect(cost.unknown).toContain('its power under load');
  });

  it('says what to do instead when a model does not fit, and of a mix', async () => {
    const on = ['--machine', 'm4-max-40c:64'];
    const one = await plenum('plan', 'llama-3.3-70b@q8_0', ...on);
    expect(one.out).toMatch(/^llama-3.3-70b Q8_0 does not fit m4-max-40c/);
    expect(one.out).toMatch(/quantisation +[\d.]+ tok\/s +Q5_K_M instead of Q8_0/);
    const mix = await plenum('plan', 'llama-3.3-70b', 'qwen2.5-32b', ...on);
    expect(mix.out).toMatch(/^The mix of llama-3.3-70b Q4_K_M, qwen2.5-32b Q4_K_M does\s+not fit/);
    expect(mix.out).toContain('without qwen2.5-32b');
    expect(widest(one.out + mix.out)).toBeLessThanOrEqual(80);
  });

  it('proposes machines with the memory that their price is for', async () => {
    const { json } = await plenum('plan', 'llama-3.3-70b@q8_0', '--machine', 'rtx-4090', '--json');
    const changes: { kind: string; change: string }[] = json()[0].instead;
    const machines = changes.filter(({ kind }) => kind === 'machine');
    expect(machines).not.toEqual([]);
    for (const { change } of machines) expect(change).not.toMatch(/\b(8|16|24|32|48|64)GB/);
  });

  it('says what to do instead when the target is missed', async () => {
    const on = ['plan', 'llama-3.3-70b', '--machine', 'm4-max-40c:64', '--json'];
    expect((await plenum(...on)).json()[0].instead).toEqual([]);
    const [missed] = (await plenum(...on, '--target-tps', '40')).json();
    expect(missed.verdict).toContain(', which misses 40,');
    expect(missed.instead.length).toBeGreaterThan(0);
    for (const { perUserTps } of missed.instead) expect(perUserTps).toBeGreaterThanOrEqual(40);
  });

  it('plans for a file, and for an embedder beside a chat model', async () => {
    await synthesize(parseSynthSpec('tiny-bert'), join(folder, 'embedder.gguf'));
    const on = ['--machine', 'm4-pro-20c', '--json', '--prompt-tokens', '100'];
    const { code, json } = await plenum('plan', 'llama-3.1-8b', './embedder.gguf', ...on);
    expect(code).toBe(0);
    const [{ models, fits }] = json();
    expect([models.length, fits]).toEqual([2, true]);
    expect(models[1].model).toMatch(/^bert /);
    const alone = ['plan', './embedder.gguf', '--machine', 'm4-pro-20c', '--prompt-tokens', '100'];
    const { out } = await plenum(...alone, '--output-tokens', '1');
    expect(out).toMatch(/it reads \d+ tokens per\s+second/);
    expect(out).not.toContain('decode');
  });

  it('costs more per token the less a machine is used', async () => {
    const at = async (share: string): Promise<number> => {
      const on = ['--machine', 'm4-max-40c:64', '--json', '--utilization', share];
      return (await plenum('plan', 'llama-3.1-8b', ...on)).json()[0].cost.usdPerMtokOut;
    };
    expect(await at('0.1')).toBeGreaterThan(await at('1'));
  });

  it('refuses impossible values and unknown names with what would be right', async () => {
    const on = ['llama-3.1-8b', '--machine', 'm4-max-40c'];
    for (const [argv, message] of [
      [[...on, '--users', '0'], '--users takes a whole number from 1'],
      [[...on, '--utilization', '0'], '--utilization takes a number above 0 to 1'],
      [[...on, '--utilization', '30'], '--utilization takes a number above 0 to 1'],
      [[...on, '--quant', 'q4'], "No quantisation is called 'q4'"],
      [[...on, '--context', '100'], '--context 100 is too short for 512 tokens in and 128 out'],
      [[...on, '--prompt-tokens', '200000'], 'was trained for 131072'],
      [[...on, '--compare', 'rtx-4090'], 'cannot be used with option'],
      [['llama-3.1-8b', '--compare', 'rtx-4090,rtx-409'], 'the nearest are rtx-40'],
      [['llama-3.1-8b', '--compare', ''], "'' names no machine"],
    ] as const) {
      const { code, err, out } = await plenum('plan', ...argv);
      expect([code, err, out]).toEqual([2, expect.stringContaining(message), '']);
    }
  });

  it('knows an Apple chip by its name and its GPU cores', () => {
    const catalogue = loadCatalogue();
    const id = (brand: string, cores: number) => appleMachine(catalogue, brand, cores)?.id;
    expect(id('Apple M4 Max', 40)).toBe('m4-max-40c');
    expect(id('Apple M1', 8)).toBe('m1-8c');
    expect(id('Apple M4 Max', 41)).toBeUndefined();
    expect(id('Intel Core i9', 8)).toBeUndefined();
  });
});

describe('the catalogue', () => {
  it('lists machines with sources, in 80 columns, unknown as unknown', async () => {
    const { out } = await plenum('machines');
    expect(out.split('\n').filter((line) => /^(m\d|rtx|a\d)/.test(line)).length).toBeGreaterThan(
      40,
    );
    expect(out).toContain('unknown');
    expect(out).toMatch(/^\d+ llama-cpp-4167: /m);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('searches machines by all words, and shows one with every figure', async () => {
    const { json } = await plenum('machines', 'apple', 'ULTRA', '--json');
    const { machines, sources } = json();
    expect(machines.length).toBeGreaterThan(4);
    for (const { id } of machines) expect(id).toContain('ultra');
    expect(sources.length).toBeGreaterThan(0);
    const { out } = await plenum('machines', 'm4-max-40c');
    expect(out).toMatch(/memory bandwidth +546 GB\/s +published +1/);
    expect(out).toMatch(/link to the host +unknown/);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('breaks long sources, so that every model is shown in 80 columns', async () => {
    for (const { id } of loadCatalogue().models) {
      const { out } = await plenum('catalog', id);
      expect(widest(out), id).toBeLessThanOrEqual(80);
    }
  });

  it('names the nearest machine or model where nothing matches', async () => {
    const machine = await plenum('machines', 'rtx-490');
    expect([machine.code, machine.err]).toEqual([2, expect.stringContaining('rtx-4090')]);
    const model = await plenum('catalog', 'llama-33-70b');
    expect([model.code, model.err]).toEqual([1, expect.stringContaining('llama-3.3-70b')]);
  });

  it('lists models and quantisations, and shows one model with all sizes', async () => {
    const all = await plenum('catalog');
    expect(all.out).toMatch(/^llama-3.3-70b +70.6B +80 +128k +327680 +1/m);
    expect(all.out).toMatch(/^Q4_K_M +4.89 +4.91 GB/m);
    const one = await plenum('catalog', 'qwen3-30b');
    expect(one.out).toContain('8 of 128 for each token');
    expect(one.out).toMatch(/Q4_K_M +4.86 +18.6 GB/);
    expect(widest(all.out + one.out)).toBeLessThanOrEqual(80);
    const { json } = await plenum('catalog', 'mixture', '--json');
    expect(json().models.every(({ experts }: { experts: number }) => experts > 0)).toBe(true);
  });
});

describe('plenum check-claims', () => {
  it('prints every verdict with its arithmetic', async () => {
    const { code, out } = await plenum('check-claims');
    expect(code).toBe(0);
    expect(out).toMatch(/^a {3}true +M4 Pro: 273 GB\/s$/m);
    expect(out).toMatch(/^b: false\n {2}28 × 40e9 B = 1120 GB\/s/m);
    expect(widest(out)).toBeLessThanOrEqual(80);
    const claims = (await plenum('check-claims', '--json')).json();
    expect(claims.length).toBeGreaterThan(14);
    expect(claims[0]).toMatchObject({ id: 'a', verdict: 'true' });
  });
});
