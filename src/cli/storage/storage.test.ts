import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeHub, startFakeHub } from '../../model/hub.fixture.ts';
import { parseSynthSpec, synthesize } from '../../model/synth.ts';
import { type FakeContext, fakeContext } from '../fixture.ts';
import { runProgram } from '../program.ts';

let folder: string;
let hub: FakeHub;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-storage-'));
  hub = await startFakeHub();
});

afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const environment = () => ({
  HF_ENDPOINT: hub.endpoint,
  HOME: folder,
  PLENUM_HOME: join(folder, 'home'),
});

async function plenum(...argv: readonly string[]): Promise<Ran> {
  const context: FakeContext = fakeContext({ env: environment(), cwd: folder });
  const code = await runProgram(argv, context);
  return { code, out: context.out, err: context.err };
}

async function publish(name: string): Promise<Buffer> {
  const path = join(folder, 'published.gguf');
  await synthesize(parseSynthSpec('tiny'), path);
  const content = await readFile(path);
  hub.files.set(name, content);
  return content;
}

test('a model is pulled, listed, and removed', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  const pulled = await plenum('pull', 'org/repo:Q8_0');
  expect(pulled).toMatchObject({ code: 0 });
  expect(pulled.out).toMatch(/^m-Q8_0: llama 312k F32, 1.26 MB, from http:.*\n {2}\/.*sha256-/);
  const listed = await plenum('models');
  expect(listed.out).toMatch(/^NAME +SIZE +MODEL +SOURCE +PATH\norg\/repo:Q8_0 +1.26 MB +llama/);
  const removed = await plenum('rm', 'm-Q8_0');
  expect(removed).toMatchObject({ code: 0, out: 'removed org/repo:Q8_0\n1.26 MB freed\n' });
  expect(await plenum('models')).toMatchObject({ code: 0, out: '' });
});

test('off a terminal, standard output has results and standard error plain lines', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  const { err, out } = await plenum('pull', 'org/repo:Q8_0');
  expect(out.split('\n')).toHaveLength(3);
  expect(err).toBe('m-Q8_0.gguf (1.26 MB)\nchecking m-Q8_0.gguf\n');
});

test('--json gives one event per line, and an error as the last', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  const lines = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  const { code, out, err } = await plenum('pull', '--json', 'org/repo:Q8_0');
  expect([code, err]).toEqual([0, '']);
  const kinds = lines(out).map((event) => event.kind);
  expect([...new Set(kinds)]).toEqual(['transfer', 'checking', 'done']);
  expect(kinds.length).toBeLessThan(10);
  const failed = await plenum('pull', '--json', 'org/repo:Q2_K');
  expect(failed.code).toBe(1);
  expect(lines(failed.out).at(-1)).toMatchObject({
    kind: 'error',
    code: 'file_not_found',
    details: { available: ['Q8_0'] },
  });
});

test('every reference is read before the first is fetched', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  const { code, err } = await plenum('pull', 'org/repo:Q8_0', 'startr');
  expect(code).toBe(2);
  expect(err).toContain('Did you mean starter?');
  expect(hub.seen).toEqual([]);
});

test('an unknown name is not removed, nor anything else of the same command', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  await plenum('pull', 'org/repo:Q8_0');
  const { code, err } = await plenum('rm', 'm-Q8_0', 'm-Q8_1');
  expect(code).toBe(1);
  expect(err).toContain('no model m-Q8_1 is stored here; did you mean m-Q8_0?');
  expect((await plenum('models')).out).toContain('org/repo:Q8_0');
  expect((await plenum('rm')).code).toBe(2);
});

test('a name shared by several models has to be made clear', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  await plenum('pull', 'org/repo:Q8_0', 'org/repo/m-Q8_0.gguf');
  const { code, err } = await plenum('rm', 'm-Q8_0');
  expect(code).toBe(2);
  expect(err).toContain('2 models have the id m-Q8_0; name one: org/repo/m-Q8_0.gguf, org/repo:Q8');
  const one = await plenum('rm', 'org/repo:q8_0');
  expect(one.out).toBe(
    'removed org/repo:Q8_0\n0 B freed (another name still uses the same files)\n',
  );
});

test('interrupted downloads and damaged models are pointed out', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  await plenum('pull', 'org/repo:Q8_0');
  const { models } = JSON.parse((await plenum('models', '--json')).out);
  await writeFile(models[0].paths[0], 'damaged');
  const partial = join(folder, 'home', 'partial', 'sha256-abc');
  await mkdir(partial, { recursive: true });
  await writeFile(join(partial, 'x.gguf'), 'some');
  const { err } = await plenum('models');
  expect(err).toContain('interrupted downloads: 1, 4 B; pulling the same goes on from them');
  expect(err).toContain('plenum pull org/repo:Q8_0 fetches it again');
  expect(await plenum('rm', '--partial')).toMatchObject({ code: 0, out: '4 B freed\n' });
});

test('a synthetic model is written where it is wanted, not over another file', async () => {
  const to = join(folder, 'out.gguf');
  expect(await plenum('synth', 'tiny', '-o', 'out.gguf')).toMatchObject({
    code: 0,
    out: `${to}\n`,
  });
  const first = await readFile(to);
  expect(await plenum('synth', 'tiny', '-o', 'out.gguf', '--seed', '2')).toMatchObject({ code: 2 });
  expect((await readFile(to)).equals(first)).toBe(true);
  await plenum('synth', 'tiny', '-o', 'out.gguf', '--seed', '2', '--force');
  expect((await readFile(to)).equals(first)).toBe(false);
  for (const seed of ['-1', '1.5', 'x', '4294967296']) {
    const { code, err } = await plenum('synth', 'tiny', `--seed=${seed}`);
    expect([code, err]).toEqual([2, expect.stringContaining('--seed takes a whole number')]);
  }
});

test('a synthetic model among the stored ones is listed and removed by its spec', async () => {
  expect((await plenum('synth', 'tiny')).out).toContain(join(folder, 'home', 'synthetic'));
  expect((await plenum('models')).out).toMatch(/synthetic:tiny@f32 +1.26 MB +llama 312k F32/);
  expect((await plenum('rm', 'synthetic:tiny')).out).toBe(
    'removed synthetic:tiny@f32\n1.26 MB freed\n',
  );
  expect((await plenum('synth')).code).toBe(2);
  expect((await plenum('synth', 'tyni')).code).toBe(2);
  expect((await plenum('synth', '--list')).out).toMatch(/llama-3.1-8b@q4_k_m +llama +8030 M/);
});

test('Ctrl-C ends a pull with 130 and says that it can be gone on with', async () => {
  await publish('org/repo/m-Q8_0.gguf');
  hub.faults.cdn.push({ kind: 'stall', bytes: 500_000 });
  const context = fakeContext({ env: environment(), cwd: folder });
  const { stderr } = context;
  // The line about the file is written with the first block.
  const interrupting = Object.assign(Object.create(context), {
    stderr: {
      ...stderr,
      write: (text: string) => {
        stderr.write(text);
        if (text.startsWith('m-Q8_0.gguf')) context.interrupt();
      },
    },
  });
  expect(await runProgram(['pull', 'org/repo:Q8_0'], interrupting)).toBe(130);
  expect(context.err).toContain('what has arrived is kept; the same command goes on from there');
  expect((await plenum('models')).err).toContain('interrupted downloads: 1');
});
