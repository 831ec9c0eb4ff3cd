/**
 * Finds the native library: which platform package serves this machine, where its files lie, and,
 * when there is none, why. It opens nothing; binding.ts does.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PlenumError } from '../../base/errors.ts';

/** What `llama_version()` of the pinned packages says. Struct layouts are of this release. */
export const PINNED_VERSION = '0.4.0-dev';
export const PINNED_RELEASE = 'v0.4.0';

/** `platform-arch` of Node → the package that carries the library for it, and its folder. */
const PACKAGES: Readonly<Record<string, { readonly name: string; readonly bins: string }>> = {
  'linux-x64': { name: '@node-llama-cpp/linux-x64', bins: 'bins/linux-x64' },
  'linux-arm64': { name: '@node-llama-cpp/linux-arm64', bins: 'bins/linux-arm64' },
  'darwin-arm64': { name: '@node-llama-cpp/mac-arm64-metal', bins: 'bins/mac-arm64-metal' },
};

export interface LibraryFiles {
  readonly packageName: string;
  readonly packageVersion: string;
  /** Holds the libraries below and the backends that ggml loads by itself. */
  readonly directory: string;
  readonly ggmlBase: string;
  readonly ggml: string;
  readonly llama: string;
}

export interface Platform {
  readonly platform: string;
  readonly arch: string;
}

/**
 * Throws PlenumError `library_missing` that says what is missing and what would help.
 * `folders` are the node_modules folders to look in, nearest first.
 */
export function findLibrary(
  platform: Platform = process,
  folders: readonly string[] = createRequire(import.meta.url).resolve.paths('koffi') ?? [],
): LibraryFiles {
  const key = `${platform.platform}-${platform.arch}`;
  const found = PACKAGES[key];
  if (found === undefined) {
    const known = Object.keys(PACKAGES);
    throw new PlenumError(
      'library_missing',
      `no native library is packaged for ${key}; packaged are ${known.join(', ')}`,
      { details: { platform: key, packaged: known } },
    );
  }
  const root = packageRoot(found.name, folders);
  const directory = path.join(root, found.bins);
  const names = listFiles(directory, found.name);
  const file = (stem: string): string => {
    const name = pickLibrary(names, stem);
    if (name !== null) return path.join(directory, name);
    throw new PlenumError(
      'library_missing',
      `${found.name} has no lib${stem} in ${found.bins}; reinstall it with npm ci`,
      { details: { package: found.name, files: names } },
    );
  };
  return {
    packageName: found.name,
    packageVersion: versionOf(root),
    directory,
    ggmlBase: file('ggml-base'),
    ggml: file('ggml'),
    llama: file('llama'),
  };
}

// Not require.resolve: the packages export neither their manifest nor their libraries.
function packageRoot(name: string, folders: readonly string[]): string {
  const roots = folders.map((folder) => path.join(folder, name));
  const root = roots.find((candidate) => existsSync(path.join(candidate, 'package.json')));
  if (root !== undefined) return root;
  throw new PlenumError(
    'library_missing',
    `the package ${name} is not installed: npm skips it with --omit=optional or when ` +
      'node_modules was made on another platform; run npm ci on this machine',
    { details: { package: name } },
  );
}

function versionOf(root: string): string {
  const manifest: unknown = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const version = (manifest as { version?: unknown }).version;
  return typeof version === 'string' ? version : 'unknown';
}

function listFiles(directory: string, name: string): string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    throw new PlenumError(
      'library_missing',
      `the package ${name} is installed but its libraries are not; reinstall it with npm ci`,
      { cause, details: { package: name } },
    );
  }
}

/**
 * `llama` → `libllama.so`, `libllama.v0.4.0.so` or `libllama.metal.v0.4.0.dylib`, never
 * `libllama-common.so`: what follows the stem is a dot. null when there is none.
 */
export function pickLibrary(names: readonly string[], stem: string): string | null {
  const start = `lib${stem}.`;
  const matches = names.filter((name) => name.startsWith(start) && /\.(so|dylib)$/.test(name));
  return matches.sort()[0] ?? null;
}
