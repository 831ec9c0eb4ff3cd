/** Which package and which files are taken, and what is said when they are not there. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findLibrary, pickLibrary } from './library.ts';

let folder: string;
const LINUX = { platform: 'linux', arch: 'x64' };
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'plenum-library-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('findLibrary', () => {
  it('takes each library by its stem, whatever release and backend its name carries', () => {
    const linux = ['libggml-base.so', 'libggml.v0.4.0.so', 'libllama-common.so', 'libllama.v1.so'];
    expect(pickLibrary(linux, 'llama')).toBe('libllama.v1.so');
    expect(pickLibrary(linux, 'ggml')).toBe('libggml.v0.4.0.so');
    expect(pickLibrary(linux, 'ggml-base')).toBe('libggml-base.so');
    const mac = ['libggml.metal.v0.4.0.dylib', 'libllama.metal.v0.4.0.dylib', 'libllama.txt'];
    expect(pickLibrary(mac, 'llama')).toBe('libllama.metal.v0.4.0.dylib');
    expect(pickLibrary(mac, 'ggml-base')).toBe(null);
  });

  it('finds the package of this machine', () => {
    const files = findLibrary();
    expect(files.packageVersion).toBe('3.21.1');
    expect(path.dirname(files.llama)).toBe(files.directory);
  });

  it('names the platforms that are packaged when this one is not', () => {
    expect(() => findLibrary({ platform: 'sunos', arch: 'sparc' })).toThrow(
      /no native library is packaged for sunos-sparc; packaged are linux-x64/,
    );
  });

  it('says whether the package or its libraries are missing', async () => {
    expect(() => findLibrary(LINUX, [folder])).toThrow(/linux-x64 is not installed/);
    const root = path.join(folder, '@node-llama-cpp/linux-x64');
    await mkdir(root, { recursive: true });
    await writeFile(path.join(root, 'package.json'), '{"version":"1.2.3"}');
    expect(() => findLibrary(LINUX, [folder])).toThrow(/its libraries are not/);
    const bins = path.join(root, 'bins/linux-x64');
    await mkdir(bins, { recursive: true });
    await writeFile(path.join(bins, 'libggml.so'), '');
    expect(() => findLibrary(LINUX, [folder])).toThrow(/has no libggml-base/);
    await writeFile(path.join(bins, 'libggml-base.so'), '');
    await writeFile(path.join(bins, 'libllama.so'), '');
    expect(findLibrary(LINUX, [folder])).toMatchObject({
      packageVersion: '1.2.3',
      llama: path.join(bins, 'libllama.so'),
    });
  });
});
