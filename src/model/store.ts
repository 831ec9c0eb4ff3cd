/**
 * The models on disk. Content is filed by its checksum, so that a model that has two names lies
 * there once:
 *
 *   <home>/blobs/sha256-<hex>          whole, checked files; never written to again
 *   <home>/refs/<name>-<hash>.json     one record per reference: which blobs, whence, when
 *   <home>/sets/<hash>/<file name>     links with their true names, for models in several files
 *   <home>/partial/<key>/, <key>.lock  downloads under way, or interrupted
 *
 * A file appears in blobs/ by a rename and a record by another, so a crash leaves either the old
 * state or the new. It neither downloads nor looks into a model.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { PlenumError } from '../base/errors.ts';
import { hasCode, isLocked, withLock } from './store-lock.ts';

const FileSchema = z.strictObject({
  name: z.string().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().nonnegative(),
});

const RecordSchema = z.strictObject({
  version: z.literal(1),
  reference: z.string().min(1),
  id: z.string().min(1),
  /** Where it came from: an address, or a package and its version. */
  source: z.string(),
  /** ISO 8601. */
  pulledAt: z.string(),
  /** Such as `llama 135M Q4_1`. */
  description: z.string(),
  files: z.array(FileSchema).min(1),
});

export type StoredFile = z.infer<typeof FileSchema>;
export type ModelRecord = z.infer<typeof RecordSchema>;

/** A file to be filed: `path` is moved into the store; null = its blob is there already. */
export interface Arrival extends StoredFile {
  readonly path: string | null;
}

export interface BrokenRecord {
  readonly path: string;
  readonly reason: string;
}

export interface PartialDownload {
  readonly key: string;
  readonly path: string;
  readonly bytes: number;
  /** Another process is at it now. */
  readonly active: boolean;
}

export interface Removal {
  readonly records: readonly ModelRecord[];
  /** Bytes of the blobs that nothing else used. */
  readonly freedBytes: number;
}

export class ModelStore {
  readonly home: string;

  constructor(home: string) {
    this.home = home;
  }

  blobPath(sha256: string): string {
    return join(this.home, 'blobs', `sha256-${sha256}`);
  }

  /** Folder of a download under way; `key` is of letters, digits and `-`. */
  partialPath(key: string): string {
    return join(this.home, 'partial', key);
  }

  partialLock(key: string): string {
    return join(this.home, 'partial', `${key}.lock`);
  }

  async hasBlob(file: { readonly sha256: string; readonly bytes: number }): Promise<boolean> {
    return (await sizeOf(this.blobPath(file.sha256))) === file.bytes;
  }

  /** The record of a reference, if all of its files are there with their right sizes. */
  async find(reference: string): Promise<ModelRecord | null> {
    const record = await this.#read(this.#recordPath(reference));
    if (record === null || 'reason' in record || record.reference !== reference) return null;
    for (const file of record.files) if (!(await this.hasBlob(file))) return null;
    return record;
  }

  /** All records, by reference; those that cannot be read are named, not passed over. */
  async list(): Promise<{ records: ModelRecord[]; broken: BrokenRecord[] }> {
    const records: ModelRecord[] = [];
    const broken: BrokenRecord[] = [];
    for (const { name } of await entriesIn(join(this.home, 'refs'))) {
      if (!name.endsWith('.json')) continue;
      const record = await this.#read(join(this.home, 'refs', name));
      if (record === null) continue;
      if ('reason' in record) broken.push(record);
      else records.push(record);
    }
    records.sort((a, b) => (a.reference < b.reference ? -1 : 1));
    return { records, broken };
  }

  /** Paths to open, in order. A model in several files gets links with their true names. */
  async paths(record: ModelRecord): Promise<readonly string[]> {
    const [only] = record.files;
    if (record.files.length === 1 && only !== undefined) return [this.blobPath(only.sha256)];
    const folder = join(this.home, 'sets', setKey(record.files));
    await mkdir(folder, { recursive: true });
    const paths: string[] = [];
    for (const file of record.files) {
      const path = join(folder, basename(file.name));
      if ((await sizeOf(path)) !== file.bytes) {
        await rm(path, { force: true });
        await linkUnlessThere(join('..', '..', 'blobs', `sha256-${file.sha256}`), path);
      }
      paths.push(path);
    }
    return paths;
  }

  /**
   * Files what arrived and writes its record, whole or not at all. False when a blob that was
   * counted on has been removed in the meantime: then it has to be fetched after all.
   */
  async commit(record: Omit<ModelRecord, 'version' | 'files'>, arrivals: readonly Arrival[]) {
    return this.#locked(async () => {
      for (const arrival of arrivals) {
        if (arrival.path === null && !(await this.hasBlob(arrival))) return false;
      }
      await mkdir(join(this.home, 'blobs'), { recursive: true });
      for (const arrival of arrivals) {
        if (arrival.path !== null) await rename(arrival.path, this.blobPath(arrival.sha256));
      }
      const files = arrivals.map(({ name, sha256, bytes }) => ({ name, sha256, bytes }));
      const before = await this.#read(this.#recordPath(record.reference));
      await this.#write({ ...record, version: 1, files });
      // The reference may have meant other content until now, and been the last to name it.
      if (before !== null && !('reason' in before)) await this.#drop([before]);
      return true;
    });
  }

  /** Removes the records of these references, and the blobs that no other record uses. */
  async remove(references: readonly string[]): Promise<Removal> {
    return this.#locked(async () => {
      const { records, broken } = await this.list();
      const [bad] = broken;
      // Its blobs are unknown, so none could be said to be unused.
      if (bad !== undefined) throw brokenRecord(bad);
      const gone = records.filter((record) => references.includes(record.reference));
      for (const record of gone) await rm(this.#recordPath(record.reference), { force: true });
      return { records: gone, freedBytes: await this.#drop(gone) };
    });
  }

  /** Removes what only these former records named; returns the bytes of the blobs. */
  async #drop(former: readonly ModelRecord[]): Promise<number> {
    const { records, broken } = await this.list();
    if (broken.length > 0) return 0;
    const sets = new Set(records.map((record) => setKey(record.files)));
    for (const { files } of former) {
      if (sets.has(setKey(files))) continue;
      await rm(join(this.home, 'sets', setKey(files)), { recursive: true, force: true });
    }
    const files = former.flatMap((record) => record.files.map((file) => file.sha256));
    return this.#dropBlobs(files, records);
  }

  async #dropBlobs(candidates: readonly string[], records: readonly ModelRecord[]) {
    const used = new Set(records.flatMap(({ files }) => files.map((file) => file.sha256)));
    let freedBytes = 0;
    for (const sha256 of new Set(candidates)) {
      if (used.has(sha256)) continue;
      freedBytes += (await sizeOf(this.blobPath(sha256))) ?? 0;
      await rm(this.blobPath(sha256), { force: true });
    }
    return freedBytes;
  }

  async partials(): Promise<readonly PartialDownload[]> {
    const found: PartialDownload[] = [];
    for (const entry of await entriesIn(join(this.home, 'partial'))) {
      if (!entry.isDirectory()) continue;
      const key = entry.name;
      const path = this.partialPath(key);
      let bytes = 0;
      for (const file of await entriesIn(path)) {
        bytes += (await sizeOf(join(path, file.name))) ?? 0;
      }
      found.push({ key, path, bytes, active: await isLocked(this.partialLock(key)) });
    }
    return found;
  }

  /**
   * Removes the interrupted downloads that nobody is at, and blobs that a crash left without a
   * record; returns how many bytes that freed.
   */
  async removePartials(signal?: AbortSignal): Promise<number> {
    let freedBytes = 0;
    for (const { key, path, bytes, active } of await this.partials()) {
      if (active) continue;
      await withLock(this.partialLock(key), { signal }, () =>
        rm(path, { recursive: true, force: true }),
      );
      freedBytes += bytes;
    }
    return freedBytes + (await this.#locked(() => this.#dropOrphans()));
  }

  async #dropOrphans(): Promise<number> {
    const { records, broken } = await this.list();
    if (broken.length > 0) return 0;
    const names = (await entriesIn(join(this.home, 'blobs'))).map((entry) => entry.name);
    const blobs = names.filter((name) => /^sha256-[0-9a-f]{64}$/.test(name));
    return this.#dropBlobs(
      blobs.map((name) => name.slice('sha256-'.length)),
      records,
    );
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    return withLock(join(this.home, 'store.lock'), {}, work);
  }

  #recordPath(reference: string): string {
    // The hash keeps apart what a file system that ignores case, or the shortening, would merge.
    const slug = reference.replace(/[^\w.-]+/g, '-').slice(0, 80);
    return join(this.home, 'refs', `${slug}-${shortHash(reference)}.json`);
  }

  async #read(path: string): Promise<ModelRecord | BrokenRecord | null> {
    try {
      const parsed = RecordSchema.safeParse(JSON.parse(await readFile(path, 'utf8')));
      return parsed.success ? parsed.data : { path, reason: z.prettifyError(parsed.error) };
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return null;
      if (error instanceof SyntaxError) return { path, reason: error.message };
      throw error;
    }
  }

  async #write(record: ModelRecord): Promise<void> {
    await mkdir(join(this.home, 'refs'), { recursive: true });
    const path = this.#recordPath(record.reference);
    const draft = `${path}.${randomUUID()}.tmp`;
    const file = await open(draft, 'wx');
    try {
      await file.writeFile(`${JSON.stringify(record, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  }
}

function brokenRecord({ path, reason }: BrokenRecord): PlenumError {
  return new PlenumError(
    'file_corrupt',
    `${path} is not a record of a model (${reason}); delete that file and pull its model again`,
  );
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** One key for one set of contents, whatever it is called. */
export function setKey(files: readonly { readonly sha256: string }[]): string {
  return shortHash(files.map((file) => file.sha256).join('\n'));
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : null;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function entriesIn(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

async function linkUnlessThere(from: string, to: string): Promise<void> {
  try {
    await symlink(from, to);
  } catch (error) {
    // Another process has made it at the same time.
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}
