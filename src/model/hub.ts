/**
 * The Hugging Face hub, or a mirror that speaks its protocol: settings and token as its own clients
 * find them, listing of repositories, and what its refusals mean to a user. Transfers are done by
 * download.ts.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HubApiError, listFiles, pathsInfo } from '@huggingface/hub';
import { PlenumError } from '../base/errors.ts';
import {
  type Credential,
  fetchOver,
  statusError,
  TransferError,
  type TransportLimits,
} from './download-http.ts';
import { RETRY_POLICY, type RetryPolicy, withRetries } from './download-retry.ts';
import { type HubFile, type HubModel, modelsOf, pickModel } from './hub-quant.ts';
import { splitSet } from './reference.ts';
import { type Env, userHome } from './store-home.ts';
import { hasCode } from './store-lock.ts';

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly credential: Credential | null;
  /** HF_HUB_OFFLINE asks that no request be made. */
  readonly offline: boolean;
}

export interface HubOptions {
  readonly settings: HubSettings;
  readonly env: Env;
  readonly signal?: AbortSignal | undefined;
  readonly limits?: TransportLimits | undefined;
  readonly retry?: RetryPolicy | undefined;
}

export interface HubRevision {
  readonly repo: string;
  readonly revision: string;
  /** For messages, where one file is meant. */
  readonly file?: string | undefined;
}

/** Listings of large repositories take a few MB. */
const LISTING_BYTES_MAX = 64 * 1024 * 1024;
const FILES_MAX = 100_000;
const DEFAULT_ENDPOINT = 'https://huggingface.co';

/** @throws PlenumError config_invalid for an HF_ENDPOINT that is no http(s) address. */
export async function hubSettings(env: Env): Promise<HubSettings> {
  const text = env.HF_ENDPOINT || DEFAULT_ENDPOINT;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new PlenumError(
      'config_invalid',
      `HF_ENDPOINT is "${text}"; it has to be an address such as ${DEFAULT_ENDPOINT}`,
    );
  }
  const token = await hubToken(env);
  return {
    endpoint: text.replace(/\/+$/, ''),
    credential: token === null ? null : { origin: url.origin, authorization: `Bearer ${token}` },
    offline: /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? ''),
  };
}

/** HF_TOKEN, else the file that the hub's own login writes (HF_TOKEN_PATH, HF_HOME). */
async function hubToken(env: Env): Promise<string | null> {
  const given = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || '').trim();
  if (given !== '') return checkedToken(given, 'HF_TOKEN');
  const cache = env.XDG_CACHE_HOME || join(userHome(env), '.cache');
  const home = env.HF_HOME || join(cache, 'huggingface');
  const path = env.HF_TOKEN_PATH || join(home, 'token');
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return text === '' ? null : checkedToken(text, path);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return null;
    if (hasCode(error, 'EACCES') || hasCode(error, 'EISDIR')) {
      throw new PlenumError('config_invalid', `the hub token in ${path} cannot be read`);
    }
    throw error;
  }
}

function checkedToken(token: string, from: string): string {
  // Anything else cannot be put into a header; the token itself is never printed.
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new PlenumError('config_invalid', `${from} holds no token: it has spaces or other signs`);
}

/** Address of a file's content. */
export function hubFileUrl(settings: HubSettings, at: HubRevision, path: string): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  return `${settings.endpoint}/${at.repo}/resolve/${encodeURIComponent(at.revision)}/${encoded}`;
}

/** The model of a repository that `quant` means. @throws PlenumError or TransferError. */
export async function hubModel(
  at: HubRevision,
  quant: string | null,
  options: HubOptions,
): Promise<HubModel> {
  return pickModel(at.repo, await hubModels(at, options), quant);
}

async function hubModels(at: HubRevision, options: HubOptions): Promise<readonly HubModel[]> {
  const files = await ask(at, options, async (common) => {
    const found: HubFile[] = [];
    for await (const entry of listFiles({ ...common, recursive: true })) {
      if (found.length >= FILES_MAX) throw new TransferError('final', 'too many files are listed');
      if (entry.type === 'file') found.push(toHubFile(entry));
    }
    return found;
  });
  return modelsOf(files);
}

/** A file of a repository with all parts of its set, in order. */
export async function hubFiles(
  at: HubRevision,
  path: string,
  options: HubOptions,
): Promise<readonly HubFile[]> {
  const paths = [...splitSet(path)];
  const infos = await ask(at, options, (common) => pathsInfo({ ...common, paths }));
  const byPath = new Map(
    infos.filter((info) => info.type === 'file').map((info) => [info.path, toHubFile(info)]),
  );
  const files = paths.map((part) => byPath.get(part)).filter((file) => file !== undefined);
  if (files.length === paths.length) return files;
  const absent = paths.filter((part) => !byPath.has(part));
  const there = (await hubModels(at, options)).map((model) => model.files[0]?.path ?? '');
  const what = there.length === 0 ? 'no GGUF model at all' : `these models: ${there.join(', ')}`;
  throw new PlenumError(
    'file_not_found',
    `${at.repo} has no file ${absent.join(', ')}; it has ${what}. A local file is written ./name`,
    { details: { repo: at.repo, missing: absent, available: there } },
  );
}

interface HubEntry {
  readonly path: string;
  readonly size: number;
  readonly lfs?: { readonly oid: string; readonly size: number } | undefined;
}

function toHubFile(entry: HubEntry): HubFile {
  const oid = entry.lfs?.oid.replace(/^sha256:/, '') ?? '';
  return {
    path: entry.path,
    bytes: entry.lfs?.size ?? entry.size,
    sha256: /^[0-9a-f]{64}$/.test(oid) ? oid : null,
  };
}

interface CommonParams {
  readonly repo: { readonly type: 'model'; readonly name: string };
  readonly revision: string;
  readonly hubUrl: string;
  readonly fetch: typeof fetch;
}

function ask<T>(
  at: HubRevision,
  options: HubOptions,
  question: (common: CommonParams) => Promise<T>,
): Promise<T> {
  const { settings, signal, limits, env } = options;
  if (settings.offline) throw new TransferError('final', 'HF_HUB_OFFLINE is set');
  const common: CommonParams = {
    repo: { type: 'model', name: at.repo },
    revision: at.revision,
    hubUrl: settings.endpoint,
    fetch: fetchOver({
      credential: settings.credential,
      bodyBytesMax: LISTING_BYTES_MAX,
      signal,
      limits,
      env,
    }),
  };
  return withRetries(options.retry ?? RETRY_POLICY, { signal }, async () => {
    try {
      return await question(common);
    } catch (error) {
      throw fromHubError(error, at, settings);
    }
  });
}

function fromHubError(error: unknown, at: HubRevision, settings: HubSettings): unknown {
  if (error instanceof HubApiError) return hubStatusError(error.statusCode, at, settings);
  if (error instanceof SyntaxError) {
    const { endpoint } = settings;
    return new TransferError('final', `${endpoint} does not answer as a hub does`, {
      cause: error,
    });
  }
  return error;
}

/** What a status of the hub means to a user. */
export function hubStatusError(
  status: number,
  at: HubRevision,
  settings: HubSettings,
): PlenumError | TransferError {
  const page = `${settings.endpoint}/${at.repo}`;
  const token = settings.credential !== null;
  if (status === 401) {
    return refused(
      status,
      token
        ? `${settings.endpoint} does not accept the token for ${at.repo}: set HF_TOKEN to a valid ` +
            'one that may read it, or unset it for a public model'
        : `${settings.endpoint} does not show ${at.repo} without a token: the name may be wrong, ` +
            'or the repository private or gated. Set HF_TOKEN to a token that may read it',
    );
  }
  if (status === 403) {
    return refused(
      status,
      token
        ? `the token may not read ${at.repo}: accept its licence at ${page}, or use another HF_TOKEN`
        : `${at.repo} is gated: accept its licence at ${page}, then set HF_TOKEN`,
    );
  }
  if (status === 404) {
    const what = at.file === undefined ? at.repo : `${at.repo}/${at.file}`;
    const where = at.revision === 'main' ? what : `${what} at revision ${at.revision}`;
    return new PlenumError(
      'file_not_found',
      `${settings.endpoint} has no ${where}; check its spelling (a local file is written ./name)`,
      { details: { repo: at.repo, revision: at.revision } },
    );
  }
  return statusError(status);
}

function refused(status: number, message: string): PlenumError {
  return new PlenumError('hub_refused', message, { details: { httpStatus: status } });
}
