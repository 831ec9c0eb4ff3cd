/** The lockfile pins what is installed: every byte by its checksum, from no named place. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';

const ROOT = join(import.meta.dirname, '..');

const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      integrity: z.string().optional(),
      resolved: z.string().optional(),
      hasInstallScript: z.boolean().optional(),
    }),
  ),
});
const manifestSchema = z.object({
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
  optionalDependencies: z.record(z.string(), z.string()),
  allowScripts: z.record(z.string(), z.boolean()),
});

const read = (name: string): unknown => JSON.parse(readFileSync(join(ROOT, name), 'utf8'));
const lock = lockSchema.parse(read('package-lock.json'));
const manifest = manifestSchema.parse(read('package.json'));
const installed = Object.entries(lock.packages).filter(([path]) => path !== '');
const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 13);

/** Entries that cannot have a checksum, with the reason; none at present. */
const WITHOUT_INTEGRITY: ReadonlyMap<string, string> = new Map();

it('every entry of the lockfile has a SHA-512, packages of other platforms too', () => {
  const bare = installed
    .filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''))
    .map(([path]) => path);
  expect(bare).toEqual([...WITHOUT_INTEGRITY.keys()]);
  expect(installed.length).toBeGreaterThan(100);
});

it('no entry names the place that it came from: any registry will do', () => {
  expect(installed.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
});

it('what is depended on is an exact version, and the one that is locked', () => {
  const { dependencies, devDependencies, optionalDependencies } = manifest;
  const wanted = { ...dependencies, ...devDependencies, ...optionalDependencies };
  for (const [name, version] of Object.entries(wanted)) {
    expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
    expect(lock.packages[`node_modules/${name}`]?.version, name).toBe(version);
  }
});

it('every script that would run at install is allowed or denied by name', () => {
  const scripts = installed.filter(([, entry]) => entry.hasInstallScript).map(([path]) => path);
  const undecided = scripts
    .map(nameOf)
    .filter((name) => !Object.hasOwn(manifest.allowScripts, name));
  expect(undecided).toEqual([]);
});
