/**
 * Headers of GGUF models that lie on a server: read by requests for ranges, so that a question
 * about a model of many GB costs a few MB. Nothing is stored.
 */
import { PlenumError } from '../../base/errors.ts';
import {
  type Credential,
  openRequest,
  statusError,
  TransferError,
  type TransportResponse,
  toTransferError,
} from '../../model/download-http.ts';
import { RETRY_POLICY, withRetries } from '../../model/download-retry.ts';
import { type GgufHeader, readGguf } from '../../model/gguf.ts';
import type { ByteSource } from '../../model/gguf-source.ts';
import {
  type HubOptions,
  type HubRevision,
  type HubSettings,
  hubFiles,
  hubFileUrl,
  hubModel,
  hubSettings,
  hubStatusError,
} from '../../model/hub.ts';
import { type Reference, redactUrl, splitSet } from '../../model/reference.ts';
import type { Env } from '../../model/store-home.ts';

export type RemoteReference = Extract<Reference, { kind: 'hub-file' | 'hub-quant' | 'url' }>;

export interface RemoteContext {
  readonly env: Env;
  readonly signal: AbortSignal;
}

export interface RemoteHeader {
  /** With the tensors of every part. */
  readonly header: GgufHeader;
  /** Where it was read, for a person. */
  readonly source: string;
}

interface Part {
  readonly url: string;
  readonly name: string;
  readonly credential: Credential | null;
  /** What the hub's refusals are about; null for a plain address. */
  readonly hub: { readonly settings: HubSettings; readonly at: HubRevision } | null;
}

/**
 * The header of the model that `reference` means.
 * @throws PlenumError download_failed, hub_refused, file_not_found, file_foreign, file_corrupt.
 */
export async function remoteHeader(
  reference: RemoteReference,
  context: RemoteContext,
): Promise<RemoteHeader> {
  try {
    const parts = await partsOf(reference, context);
    const headers: GgufHeader[] = [];
    for (const part of parts) headers.push(await headerOf(part, context));
    const [first] = headers;
    if (first === undefined) throw new PlenumError('internal', 'a model without a file');
    const tensors = headers.flatMap((header) => header.tensors);
    const source = `header read from ${new URL(parts[0]?.url ?? '').host}`;
    return { header: { ...first, tensors }, source };
  } catch (error) {
    context.signal.throwIfAborted();
    if (!(error instanceof TransferError)) throw error;
    const what = reference.kind === 'url' ? redactUrl(reference.url) : reference.repo;
    throw new PlenumError('download_failed', `the header of ${what}: ${error.message}`, {
      cause: error,
    });
  }
}

async function partsOf(reference: RemoteReference, context: RemoteContext): Promise<Part[]> {
  if (reference.kind === 'url') {
    const url = new URL(reference.url);
    return splitSet(url.pathname).map((pathname) => {
      const part = new URL(url);
      part.pathname = pathname;
      return { url: part.href, name: redactUrl(part.href), credential: null, hub: null };
    });
  }
  const settings = await hubSettings(context.env);
  const options: HubOptions = { ...context, settings };
  const files =
    reference.kind === 'hub-file'
      ? await hubFiles(reference, reference.path, options)
      : (await hubModel(reference, reference.quant, options)).files;
  return files.map(({ path }) => ({
    url: hubFileUrl(settings, reference, path),
    name: `${reference.repo}/${path}`,
    credential: settings.credential,
    hub: { settings, at: { ...reference, file: path } },
  }));
}

async function headerOf(part: Part, context: RemoteContext): Promise<GgufHeader> {
  try {
    return await readGguf(rangeSource(part, context), { name: part.name });
  } catch (error) {
    const isFinal = error instanceof TransferError && error.kind === 'final';
    const status = isFinal ? error.status : null;
    if (status === null || part.hub === null) throw error;
    throw hubStatusError(status, part.hub.at, part.hub.settings);
  }
}

/** The bytes of an address. A server that knows no ranges is read from its start, and cut off. */
function rangeSource(part: Part, context: RemoteContext): ByteSource {
  const { url, credential } = part;
  const { signal, env } = context;
  const read = (offset: number, length: number): Promise<Uint8Array> =>
    withRetries(RETRY_POLICY, { signal }, async () => {
      const range = `bytes=${offset}-${offset + length - 1}`;
      const answer = await openRequest({ url, credential, signal, env, headers: { range } });
      try {
        return await bytesOf(answer, offset, length);
      } catch (error) {
        throw signal.aborted ? signal.reason : toTransferError(error, true);
      } finally {
        answer.body.destroy();
      }
    });
  return { size: null, read };
}

async function bytesOf(
  { status, headers, body }: TransportResponse,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  // The file ends before the range begins.
  if (status === 416) return new Uint8Array(0);
  if (status !== 200 && status !== 206) throw statusError(status, headers);
  if (status === 206 && !headers['content-range']?.startsWith(`bytes ${offset}-`)) {
    throw new TransferError('final', 'the server answered with another range than was asked for');
  }
  const skip = status === 206 ? 0 : offset;
  const chunks: Buffer[] = [];
  let seen = 0;
  for await (const chunk of body) {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes.subarray(Math.max(0, skip - seen)));
    seen += bytes.length;
    if (seen >= skip + length) break;
  }
  return Buffer.concat(chunks).subarray(0, length);
}
