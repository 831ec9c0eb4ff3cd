import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CATALOG, type CatalogEntry } from './catalog.ts';
import { zip } from './mirror.fixture.ts';
import { chosenMirrors } from './mirror.ts';
import { type CommandRunner, pipDownload, runCommand } from './mirror-pip.ts';
import { extractMember } from './mirror-zip.ts';

let folder: string;
const [starter] = CATALOG as readonly [CatalogEntry];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-mirror-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function extract(archive: Buffer, member: string): Promise<Buffer> {
  const path = join(folder, 'a.zip');
  await writeFile(path, archive);
  const to = join(folder, 'out');
  const bytes = await extractMember({ archive: path, member, to });
  const content = await readFile(to);
  expect(content).toHaveLength(bytes);
  return content;
}

test('one member comes out of an archive, stored or deflated', async () => {
  const content = Buffer.concat([randomBytes(100_000), Buffer.alloc(100_000)]);
  const members = [
    { name: 'first', content: Buffer.from('x') },
    { name: 'dir/stored.gguf', content, method: 0 as const },
    { name: 'dir/packed.gguf', content },
    { name: 'empty', content: Buffer.alloc(0) },
  ];
  const archive = zip(members, 'a comment at the end');
  expect(content.equals(await extract(archive, 'dir/stored.gguf'))).toBe(true);
  expect(content.equals(await extract(archive, 'dir/packed.gguf'))).toBe(true);
  expect(await extract(archive, 'empty')).toHaveLength(0);
  await expect(extract(archive, 'none')).rejects.toMatchObject({
    code: 'file_corrupt',
    message: expect.stringContaining('it has no member none'),
  });
});

test('a damaged archive is refused or gives bytes that no checksum accepts, never a crash', async () => {
  const content = randomBytes(2000);
  const archive = zip([{ name: 'm', content }]);
  const damage = fc.record({ at: fc.nat({ max: archive.length - 1 }), to: fc.nat({ max: 255 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (changes) => {
      const damaged = Buffer.from(archive);
      for (const { at, to } of changes) damaged[at] = to;
      try {
        await extract(damaged, 'm');
      } catch (error) {
        expect(error).toMatchObject({ name: 'PlenumError', code: 'file_corrupt' });
      }
    }),
    { numRuns: 60 },
  );
  const short = archive.subarray(0, archive.length - 30);
  await expect(extract(short, 'm')).rejects.toMatchObject({ code: 'file_corrupt' });
});

/** A pip that answers to some of its names and writes a wheel. */
function fakePip(known: readonly string[], wheel: Buffer | null, calls: string[][] = []) {
  const run: CommandRunner = async (command) => {
    calls.push([...command]);
    if (!known.includes(command[0] ?? '')) return null;
    if (command.includes('--version')) return { exitCode: 0, output: 'pip 99' };
    const dest = command.find((arg) => arg.startsWith('--dest='))?.slice('--dest='.length) ?? '';
    if (wheel === null) return { exitCode: 1, output: 'some words\nERROR: No matching version\n' };
    await writeFile(join(dest, 'p-1.0-py3-none-any.whl'), wheel);
    return { exitCode: 0, output: '' };
  };
  return run;
}

const pip = (run: CommandRunner) =>
  pipDownload({ package: 'p', version: '1.0', folder: join(folder, 'pip'), env: {}, run });

test('the first installer that answers is asked for exactly one wheel', async () => {
  const calls: string[][] = [];
  const path = await pip(fakePip(['pip3'], Buffer.from('wheel'), calls));
  expect(await readFile(path, 'utf8')).toBe('wheel');
  expect(calls.map(([program]) => program)).toEqual(['python3', 'pip3', 'pip3']);
  expect(calls.at(-1)).toEqual(expect.arrayContaining(['download', '--no-deps', 'p==1.0']));
});

test('no installer, and what pip says, are clear', async () => {
  await expect(pip(fakePip([], null))).rejects.toThrow(
    /no pip was found \(tried python3 -m pip, pip3.*install Python 3 with pip/,
  );
  await expect(pip(fakePip(['uv'], null))).rejects.toThrow(
    'uv tool run pip download: exit code 1: ERROR: No matching version',
  );
});

test('a program is run, missed, timed out and aborted as it should be', async () => {
  const env = { PATH: process.env.PATH };
  const node = process.execPath;
  const fast = { env, timeoutMs: 60_000 };
  expect(await runCommand([node, '-e', 'console.log(1); process.exit(3)'], fast)).toEqual({
    exitCode: 3,
    output: '1\n',
  });
  expect(await runCommand(['plenum-no-such-program'], fast)).toBeNull();
  const idle = [node, '-e', 'setInterval(() => {}, 1000)'];
  await expect(runCommand(idle, { env, timeoutMs: 1 })).rejects.toThrow('took more than');
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(runCommand(idle, { env, timeoutMs: 60_000, signal })).rejects.toThrow('enough');
});

test('PLENUM_MIRRORS chooses and orders the mirrors, and refuses unknown ones', () => {
  const names = (text?: string) =>
    chosenMirrors(starter, { PLENUM_MIRRORS: text }).map((mirror) => mirror.name);
  expect(names()).toEqual(['hub', 'pypi']);
  expect(names('')).toEqual(['hub', 'pypi']);
  expect(names('pypi')).toEqual(['pypi']);
  expect(names('pypi, hub')).toEqual(['pypi', 'hub']);
  expect(() => names('pipy')).toThrow(/no mirror "pipy"; it has hub, pypi. Did you mean pypi\?/);
});
