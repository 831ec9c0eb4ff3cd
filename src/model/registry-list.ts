/**
 * What is on this disk, and its removal by name: models that were pulled and synthetic ones that
 * were made. It fetches nothing and touches no file outside of the store.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { formatReference, parseReference } from './reference.ts';
import { inspectModel } from './registry-inspect.ts';
import { type BrokenRecord, ModelStore, type PartialDownload } from './store.ts';
import { hasCode } from './store-lock.ts';

export interface StoredModel {
  /** What `serve`, `pull` and `rm` take. */
  readonly reference: string;
  /** The id under which it is served unless another is configured. */
  readonly id: string;
  readonly bytes: number;
  readonly description: string;
  readonly source: string;
  readonly paths: readonly string[];
  /** ISO 8601; of a synthetic model, when its file was written. */
  readonly since: string;
  readonly synthetic: boolean;
}

export interface StoredModels {
  readonly home: string;
  readonly models: readonly StoredModel[];
  readonly partials: readonly PartialDownload[];
  readonly broken: readonly BrokenRecord[];
}

export function syntheticFolder(home: string): string {
  return join(home, 'synthetic');
}

export async function listModels(home: string): Promise<StoredModels> {
  const store = new ModelStore(home);
  const { records, broken } = await store.list();
  const pulled = await Promise.all(
    records.map(async (record) => ({
      reference: record.reference,
      id: record.id,
      bytes: record.files.reduce((sum, file) => sum + file.bytes, 0),
      description: record.description,
      source: record.source,
      paths: await store.paths(record),
      since: record.pulledAt,
      synthetic: false,
    })),
  );
  const made = await syntheticModels(home);
  const incomplete = await incompleteRecords(store, broken);
  return {
    home,
    models: [...pulled, ...made.models],
    partials: await store.partials(),
    broken: [...incomplete, ...made.broken],
  };
}

/** Records that are well-formed, but whose files are not all there any more. */
async function incompleteRecords(
  store: ModelStore,
  broken: readonly BrokenRecord[],
): Promise<readonly BrokenRecord[]> {
  const found = [...broken];
  for (const { reference, files } of (await store.list()).records) {
    for (const file of files) {
      if (await store.hasBlob(file)) continue;
      const reason = `its file is missing or damaged; plenum pull ${reference} fetches it again`;
      found.push({ path: store.blobPath(file.sha256), reason });
    }
  }
  return found;
}

async function syntheticModels(home: string): Promise<{
  readonly models: readonly StoredModel[];
  readonly broken: readonly BrokenRecord[];
}> {
  const folder = syntheticFolder(home);
  const models: StoredModel[] = [];
  const broken: BrokenRecord[] = [];
  for (const name of (await namesIn(folder)).filter((file) => file.endsWith('.gguf'))) {
    const path = join(folder, name);
    try {
      const { description, spec } = await inspectModel(path);
      const { size, mtime } = await stat(path);
      const reference = spec ? `synthetic:${spec}` : path;
      models.push({
        reference,
        id: `synthetic-${spec?.replace('@', '-') ?? name}`,
        bytes: size,
        description,
        source: 'generated with random weights',
        paths: [path],
        since: mtime.toISOString(),
        synthetic: true,
      });
    } catch (error) {
      if (!(error instanceof PlenumError)) throw error;
      broken.push({ path, reason: error.message });
    }
  }
  return { models, broken };
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

export interface RemovedModel {
  readonly reference: string;
  readonly bytes: number;
}

/**
 * Removes models by reference or id. All names are looked up before anything is removed.
 * `freedBytes` leaves out what another reference still uses.
 * @throws PlenumError file_not_found with the nearest name; reference_invalid for an id that
 * several models have.
 */
export async function removeModels(
  home: string,
  names: readonly string[],
): Promise<{ readonly removed: readonly RemovedModel[]; readonly freedBytes: number }> {
  const { models } = await listModels(home);
  const chosen = new Set(names.flatMap((name) => findModels(models, name)));
  const pulled = [...chosen].filter((model) => !model.synthetic);
  const references = pulled.map((model) => model.reference);
  let { freedBytes } = await new ModelStore(home).remove(references);
  for (const model of chosen) {
    if (!model.synthetic) continue;
    for (const path of model.paths) await rm(path, { force: true });
    freedBytes += model.bytes;
  }
  const removed = [...chosen].map(({ reference, bytes }) => ({ reference, bytes }));
  return { removed, freedBytes };
}

/** A reference may mean several files only where it is synthetic, made with several seeds. */
function findModels(models: readonly StoredModel[], name: string): readonly StoredModel[] {
  const canonical = canonicalOf(name);
  const exact = models.filter((model) => isCalled(model, name) || isCalled(model, canonical));
  if (exact.length > 0) return exact;
  const byId = models.filter((model) => model.id === name);
  if (byId.length === 1) return byId;
  if (byId.length > 1) {
    const references = byId.map((model) => model.reference);
    throw new PlenumError(
      'reference_invalid',
      `${byId.length} models have the id ${name}; name one: ${references.join(', ')}`,
      { details: { id: name, references } },
    );
  }
  const known = models.flatMap((model) => [model.reference, model.id]);
  const near = nearest(name, known);
  const hint = near === null ? 'plenum models lists them' : `did you mean ${near}?`;
  throw new PlenumError('file_not_found', `no model ${name} is stored here; ${hint}`, {
    details: { name, nearest: near },
  });
}

/** `synthetic:tiny` also means `synthetic:tiny@f32`, whatever the quantisation. */
function isCalled({ reference, synthetic }: StoredModel, name: string): boolean {
  return reference === name || (synthetic && reference.startsWith(`${name}@`));
}

function canonicalOf(name: string): string {
  try {
    return formatReference(parseReference(name));
  } catch (error) {
    if (error instanceof PlenumError) return name;
    throw error;
  }
}
