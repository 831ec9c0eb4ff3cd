/**
 * Gives llama.cpp's server the engine libraries that this project runs on, so that both compute
 * with the same kernels and a ratio is about the servers alone. Linux only: links under the names
 * that the peer was linked against come first in its library path, and its working directory is
 * where the CPU variants lie (the library looks for them beside the executable, then there).
 */
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './temporary.ts';

const ROOT = join(import.meta.dirname, '../..');

export interface PeerEnvironment {
  readonly cwd: string | undefined;
  readonly env: Readonly<Record<string, string>>;
}

/** Where the prebuilt engine libraries of this platform lie. */
function libraryFolder(): string {
  const name = `${process.platform}-${process.arch}`;
  const folder = join(ROOT, 'node_modules/@node-llama-cpp', name, 'bins', name);
  if (!existsSync(folder)) throw new Error(`the engine libraries are not installed: ${folder}`);
  return folder;
}

export function peerEnvironment(kernels: 'same' | 'own'): PeerEnvironment {
  if (kernels === 'own' || process.platform !== 'linux') return { cwd: undefined, env: {} };
  const folder = libraryFolder();
  const links = temporaryFolder();
  for (const library of ['llama', 'ggml', 'ggml-base']) {
    symlinkSync(join(folder, actualName(folder, library)), join(links, `lib${library}.so.0`));
  }
  return { cwd: folder, env: { LD_LIBRARY_PATH: `${links}:${folder}` } };
}

/** `libllama.v0.4.0.so` for `llama`; `libggml-base.so` carries no release. */
function actualName(folder: string, library: string): string {
  const pattern = new RegExp(`^lib${library}(\\.v[\\d.]+)?\\.so$`);
  const found = readdirSync(folder).find((file) => pattern.test(file));
  if (found === undefined) throw new Error(`no lib${library} in ${folder}`);
  return found;
}

/** Names of the engine libraries that a process has mapped; empty where that cannot be read. */
export function loadedKernels(pids: readonly number[]): string[] {
  const names = new Set<string>();
  for (const pid of pids) {
    const maps = `/proc/${pid}/maps`;
    if (!existsSync(maps)) continue;
    for (const [path] of readFileSync(maps, 'utf8').matchAll(/\/\S*lib(?:ggml|llama)\S*\.so\S*/g)) {
      names.add(path);
    }
  }
  return [...names].filter((path) => /ggml-cpu|libllama\./.test(path)).sort();
}
