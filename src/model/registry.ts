/**
 * From a reference to files on this disk: the one way by which `serve` and `pull` get a model. It
 * finds what is stored, fetches what is not, looks into it before it is accepted, and says under
 * which id it is served. It keeps no state of its own.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm, stat, symlink } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { PlenumError, toPlenumError } from '../base/errors.ts';
import { CATALOG, type CatalogEntry, catalogEntry } from './catalog.ts';
import { mismatchError } from './download.ts';
import { TransferError } from './download-http.ts';
import { type HubOptions, hubFiles, hubModel, hubSettings } from './hub.ts';
import {
  chosenMirrors,
  hubSource,
  mirrorSource,
  type Source,
  type SourceContext,
  urlSource,
} from './mirror.ts';
import {
  formatReference,
  parseReference,
  type Reference,
  redactUrl,
  referenceId,
  splitSet,
} from './reference.ts';
import { type Inspected, inspectModel } from './registry-inspect.ts';
import { syntheticFolder } from './registry-list.ts';
import { type Arrival, type ModelRecord, ModelStore } from './store.ts';
import { plenumHome, userHome } from './store-home.ts';
import { hasCode, withLock } from './store-lock.ts';
import { ensureSynthetic } from './synth.ts';

/** A model that can be opened now. */
export interface ResolvedModel {
  /** In the order in which an engine opens them; the first one alone is enough for libllama. */
  readonly paths: readonly string[];
  /** The id under which it is served unless another is configured. */
  readonly id: string;
  /** As it is filed: the canonical spelling. */
  readonly reference: string;
  /** Of a model in one file that was checked on its way in; null for others. */
  readonly sha256: string | null;
  readonly bytes: number;
  /** Whence it came, in words. */
  readonly source: string;
  /** Such as `llama 135M Q4_1`. */
  readonly description: string;
  /** Its weights are random: its words mean nothing. */
  readonly synthetic: boolean;
}

export interface EnsureOptions extends Omit<SourceContext, 'env'> {
  /** Default: `plenumHome(env)`. */
  readonly home?: string | undefined;
  /** Default: the process's. */
  readonly env?: SourceContext['env'] | undefined;
  /** What relative local paths start from; default: the working directory. */
  readonly cwd?: string | undefined;
  /** Asks the source again, although the model is stored. */
  readonly again?: boolean | undefined;
  /** Default: `CATALOG`. A reference parses by the names of that one in any case. */
  readonly catalog?: readonly CatalogEntry[] | undefined;
  /** Looks into a file; default: `inspectModel`. */
  readonly inspect?: ((path: string) => Promise<Inspected>) | undefined;
}

interface Pull {
  readonly reference: Reference;
  readonly name: string;
  readonly store: ModelStore;
  readonly context: SourceContext;
  readonly again: boolean;
  readonly catalog: readonly CatalogEntry[];
  readonly inspect: (path: string) => Promise<Inspected>;
}

/** How often a blob may vanish under a pull, by a removal at the same time, before it gives up. */
const ROUNDS_MAX = 3;

/**
 * The model that `reference` means, fetched if it is not here.
 * @throws PlenumError reference_invalid, file_not_found, file_foreign, file_truncated,
 * file_corrupt, model_unsupported, checksum_mismatch, download_failed, hub_refused, disk_full; the
 * signal's reason when it is aborted (what has arrived stays, and the next call goes on from it).
 */
export async function ensureModel(
  reference: string | Reference,
  options: EnsureOptions = {},
): Promise<ResolvedModel> {
  const parsed = typeof reference === 'string' ? parseReference(reference) : reference;
  const env = options.env ?? process.env;
  const home = options.home ?? plenumHome(env);
  const pull: Pull = {
    reference: parsed,
    name: formatReference(parsed),
    store: new ModelStore(home),
    context: { ...options, env },
    again: options.again ?? false,
    catalog: options.catalog ?? CATALOG,
    inspect: options.inspect ?? inspectModel,
  };
  const model = await resolveModel(pull, resolve(options.cwd ?? '.'));
  const { id, bytes, paths } = model;
  const [path = ''] = paths;
  options.onProgress?.({ kind: 'done', reference: model.reference, id, bytes, path });
  return model;
}

async function resolveModel(pull: Pull, cwd: string): Promise<ResolvedModel> {
  const { reference } = pull;
  if (reference.kind === 'local') return localModel(pull, reference.path, cwd);
  if (reference.kind === 'synthetic') return syntheticModel(pull, reference.spec);
  const stored = pull.again ? null : await pull.store.find(pull.name);
  const record = stored ?? (await fetchModel(pull, reference));
  return {
    paths: await pull.store.paths(record),
    id: record.id,
    reference: record.reference,
    sha256: record.files.length === 1 ? (record.files[0]?.sha256 ?? null) : null,
    bytes: record.files.reduce((sum, file) => sum + file.bytes, 0),
    source: record.source,
    description: record.description,
    synthetic: false,
  };
}

async function localModel(pull: Pull, written: string, cwd: string): Promise<ResolvedModel> {
  const path = written.startsWith('~/')
    ? join(userHome(pull.context.env), written.slice(2))
    : resolve(cwd, written);
  const paths = splitSet(path);
  let bytes = 0;
  for (const part of paths) bytes += await localSize(part);
  const facts = await pull.inspect(paths[0] ?? path);
  return {
    paths,
    id: referenceId(pull.reference, basename(path)),
    reference: path,
    sha256: null,
    bytes,
    source: 'local file',
    description: facts.description,
    synthetic: facts.synthetic,
  };
}

async function localSize(path: string): Promise<number> {
  try {
    const found = await stat(path);
    if (found.isFile()) return found.size;
    throw new PlenumError('file_not_found', `${path} is no file; name the .gguf file in it`);
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTDIR')) throw error;
    throw new PlenumError('file_not_found', `there is no file ${path}`);
  }
}

async function syntheticModel(pull: Pull, spec: string): Promise<ResolvedModel> {
  const { signal, onProgress } = pull.context;
  const path = await ensureSynthetic(spec, syntheticFolder(pull.store.home), {
    signal,
    onProgress: ({ bytesWritten, bytesTotal }) =>
      onProgress?.({
        kind: 'transfer',
        file: pull.name,
        bytes: bytesWritten,
        totalBytes: bytesTotal,
        resumedBytes: 0,
      }),
  });
  const facts = await pull.inspect(path);
  return {
    paths: [path],
    id: referenceId(pull.reference, path),
    reference: pull.name,
    sha256: null,
    bytes: await localSize(path),
    source: 'generated with random weights',
    description: facts.description,
    synthetic: true,
  };
}

type Remote = Exclude<Reference, { kind: 'local' | 'synthetic' }>;

async function fetchModel(pull: Pull, reference: Remote): Promise<ModelRecord> {
  const { context, name } = pull;
  if (reference.kind === 'catalogue') {
    const entry = catalogEntry(reference.name, pull.catalog);
    if (entry === null) throw new PlenumError('reference_invalid', `${name} is not catalogued`);
    return fetchFromMirrors(pull, entry);
  }
  try {
    if (reference.kind === 'url') {
      return await pullFrom(pull, urlSource(reference.url, context));
    }
    return await pullFrom(pull, await hubSourceOf(reference, context));
  } catch (error) {
    context.signal?.throwIfAborted();
    throw downloadFailed(error, `${name} could not be downloaded`, hostOf(reference, context));
  }
}

async function hubSourceOf(
  reference: Extract<Reference, { kind: 'hub-file' | 'hub-quant' }>,
  context: SourceContext,
): Promise<Source> {
  const settings = await hubSettings(context.env);
  const options: HubOptions = { ...context, settings };
  const files =
    reference.kind === 'hub-file'
      ? await hubFiles(reference, reference.path, options)
      : (await hubModel(reference, reference.quant, options)).files;
  const promised = files.map(({ path, sha256, bytes }) => ({ name: path, sha256, bytes }));
  return hubSource(settings, reference, promised, context);
}

function hostOf(reference: Remote, { env }: SourceContext): string {
  if (reference.kind === 'url') return redactUrl(reference.url);
  return env.HF_ENDPOINT || 'the hub';
}

function downloadFailed(error: unknown, what: string, where: string): unknown {
  if (!(error instanceof TransferError)) return error;
  const reason = error.kind === 'unreachable' ? error.message : `${where}: ${error.message}`;
  const kept = error.kind === 'transient' ? '; what has arrived is kept, so try again later' : '';
  return new PlenumError('download_failed', `${what}: ${reason}${kept}`, { cause: error });
}

async function fetchFromMirrors(pull: Pull, entry: CatalogEntry): Promise<ModelRecord> {
  const { context } = pull;
  const failures: string[] = [];
  for (const mirror of chosenMirrors(entry, context.env)) {
    try {
      const source = await mirrorSource(entry, mirror, context);
      context.onProgress?.({ kind: 'mirror', mirror: mirror.name, from: source.from });
      return await pullFrom(pull, source);
    } catch (error) {
      context.signal?.throwIfAborted();
      // No other mirror would need less room.
      if (error instanceof PlenumError && error.code === 'disk_full') throw error;
      const reason = error instanceof TransferError ? error.message : toPlenumError(error).message;
      failures.push(`${mirror.name}: ${reason}`);
      context.onProgress?.({ kind: 'mirror_failed', mirror: mirror.name, reason });
    }
  }
  throw new PlenumError(
    'download_failed',
    `${pull.name} (${entry.title}) could not be had from any mirror:\n  ${failures.join('\n  ')}`,
    { details: { mirrors: failures } },
  );
}

/** Fetches all files of a source, looks into them and files them. One process at a time does so. */
async function pullFrom(pull: Pull, source: Source): Promise<ModelRecord> {
  const { store, context, name } = pull;
  const { signal, onProgress } = context;
  const key = partialKey(source, pull.reference);
  const onWait = (pid: number): void => onProgress?.({ kind: 'waiting', pid });
  return withLock(store.partialLock(key), { signal, onWait }, async () => {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const stored = pull.again ? null : await store.find(name);
      if (stored !== null) return stored;
      const record = await pullOnce(pull, source, store.partialPath(key));
      if (record !== null) return record;
    }
    throw new PlenumError(
      'download_failed',
      `${name} is removed again and again while it is pulled`,
    );
  });
}

async function pullOnce(pull: Pull, source: Source, folder: string): Promise<ModelRecord | null> {
  const { store, name, reference } = pull;
  await mkdir(folder, { recursive: true });
  const arrivals: Arrival[] = [];
  for (const index of source.files.keys()) {
    arrivals.push(await arrive(pull, source, { index, folder }));
  }
  const facts = await inspectArrivals(pull, arrivals, folder);
  const record = {
    reference: name,
    id: referenceId(reference, arrivals[0]?.name ?? name),
    source: source.from,
    pulledAt: new Date().toISOString(),
    description: facts.description,
  };
  if (!(await store.commit(record, arrivals))) return null;
  await rm(folder, { recursive: true, force: true });
  const files = arrivals.map(({ name: file, sha256, bytes }) => ({ name: file, sha256, bytes }));
  return { ...record, version: 1, files };
}

async function arrive(
  pull: Pull,
  source: Source,
  to: { readonly index: number; readonly folder: string },
): Promise<Arrival> {
  const file = source.files[to.index];
  if (file === undefined) throw new PlenumError('internal', `there is no file ${to.index}`);
  const { name, sha256, bytes } = file;
  const path = join(to.folder, name);
  if (sha256 !== null && bytes !== null && (await pull.store.hasBlob({ sha256, bytes }))) {
    return { name, sha256, bytes, path: null };
  }
  const got = await source.fetch(to.index, path, to.folder);
  if (sha256 !== null && got.sha256 !== sha256) {
    await rm(path, { force: true });
    throw mismatchError(name, sha256, got.sha256);
  }
  return { name, ...got, path };
}

/** Looks into the first file; it names the other parts of a set, which lie beside it. */
async function inspectArrivals(
  pull: Pull,
  arrivals: readonly Arrival[],
  folder: string,
): Promise<Inspected> {
  const [first] = arrivals;
  if (first === undefined) throw new PlenumError('internal', 'a model without a file');
  if (arrivals.length > 1) await linkStored(pull.store, arrivals, folder);
  const alone = arrivals.length === 1 && first.path === null;
  const at = alone ? pull.store.blobPath(first.sha256) : join(folder, first.name);
  try {
    return await pull.inspect(at);
  } catch (error) {
    if (!(error instanceof PlenumError)) throw error;
    // They are whole, so going on from them would not make them better.
    for (const { path } of arrivals) if (path !== null) await rm(path, { force: true });
    const { code, details } = error;
    const message = `what ${pull.name} gave is refused: ${error.message}`;
    throw new PlenumError(code, message, { details, cause: error });
  }
}

async function linkStored(
  store: ModelStore,
  arrivals: readonly Arrival[],
  folder: string,
): Promise<void> {
  for (const { name, sha256, path } of arrivals) {
    if (path !== null) continue;
    await rm(join(folder, name), { force: true });
    await symlink(store.blobPath(sha256), join(folder, name));
  }
}

/** One folder for one content, so that a mirror goes on from where another was cut. */
function partialKey(source: Source, reference: Reference): string {
  const [only] = source.files;
  if (source.files.length === 1 && only !== undefined && only.sha256 !== null) {
    return `sha256-${only.sha256}`;
  }
  const known = source.files.every((file) => file.sha256 !== null);
  const text = known
    ? source.files.map((file) => file.sha256).join('\n')
    : formatReference(reference);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 32);
  return `${known ? 'set' : 'url'}-${digest}`;
}
