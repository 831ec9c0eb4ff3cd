/**
 * One file from one address to one partial file: resumed where that is safe, checksummed while it
 * streams, retried with bounds. A file whose checksum is known may go on from any bytes, since the
 * checksum judges the whole; otherwise only with a validator of the same content (RFC 9110,
 * If-Range). It does not decide where the file goes, nor whether it is a model.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { PlenumError } from '../base/errors.ts';
import type { OnPullEvent } from './download-events.ts';
import {
  type Credential,
  openRequest,
  statusError,
  TransferError,
  type TransportLimits,
  type TransportRequest,
  type TransportResponse,
  toTransferError,
} from './download-http.ts';
import { RETRY_POLICY, type RetryPolicy, withRetries } from './download-retry.ts';
import { DISK_RESERVE_BYTES, diskFull, type FreeBytes, freeBytes } from './store-home.ts';
import { hasCode } from './store-lock.ts';

export interface DownloadTask {
  readonly url: string;
  /** The name for messages. */
  readonly file: string;
  /** The partial file; what it holds of an earlier run is gone on from. */
  readonly path: string;
  readonly credential: Credential | null;
  readonly sha256: string | null;
  readonly bytes: number | null;
}

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnPullEvent | undefined;
  readonly limits?: TransportLimits | undefined;
  readonly retry?: RetryPolicy | undefined;
  readonly free?: FreeBytes | undefined;
  readonly env?: TransportRequest['env'];
}

export interface Downloaded {
  readonly sha256: string;
  readonly bytes: number;
}

const ResumeSchema = z.object({ validator: z.string().min(1), totalBytes: z.int().nullable() });
type Resume = z.infer<typeof ResumeSchema>;

/**
 * The whole file at `task.path`, with the promised checksum and size.
 * @throws PlenumError checksum_mismatch or disk_full; TransferError when it could not be had (what
 * has arrived stays for the next run); the signal's reason.
 */
export async function downloadFile(
  task: DownloadTask,
  options: DownloadOptions = {},
): Promise<Downloaded> {
  const download = new Download(task, options);
  try {
    return await download.run();
  } finally {
    await download.close();
  }
}

class Download {
  readonly #task: DownloadTask;
  readonly #options: DownloadOptions;
  #handle: FileHandle | null = null;
  #hash: Hash = createHash('sha256');
  /** Bytes that are in the file and in the hash. */
  #bytes = 0;
  #resumedBytes = 0;
  #totalBytes: number | null;
  /** The most that may be written: the promised size, or what the disk has room for. */
  #bytesMax = 0;
  #resume: Resume | null = null;

  constructor(task: DownloadTask, options: DownloadOptions) {
    this.#task = task;
    this.#options = options;
    this.#totalBytes = task.bytes;
  }

  async run(): Promise<Downloaded> {
    await this.#openPartial();
    const first = await this.#complete();
    if (this.#matches(first)) return first;
    // The earlier run's part may have been of other content: once more, from nothing.
    if (this.#resumedBytes > 0) {
      await this.#restart();
      const second = await this.#complete();
      if (this.#matches(second)) return second;
    }
    throw await this.#mismatch();
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }

  async #complete(): Promise<Downloaded> {
    const { signal, onProgress, retry = RETRY_POLICY } = this.#options;
    const { file } = this.#task;
    await withRetries(
      retry,
      {
        signal,
        progress: () => this.#bytes,
        onRetry: (reason, waitMs) => onProgress?.({ kind: 'retry', file, reason, waitMs }),
      },
      () => this.#attempt(),
    );
    onProgress?.({ kind: 'checking', file });
    await this.#file().sync();
    return { sha256: this.#hash.copy().digest('hex'), bytes: this.#bytes };
  }

  #matches(got: Downloaded): boolean {
    return this.#task.sha256 === null || this.#task.sha256 === got.sha256;
  }

  async #openPartial(): Promise<void> {
    const { path, sha256 } = this.#task;
    this.#handle = await open(path, (await exists(path)) ? 'r+' : 'w+');
    const { size } = await this.#handle.stat();
    this.#resume = await readResume(path);
    const tooLong = this.#task.bytes !== null && size > this.#task.bytes;
    if (size === 0 || tooLong || (sha256 === null && this.#resume === null)) {
      await this.#restart();
      return;
    }
    for await (const chunk of createReadStream(path, { end: size - 1 })) {
      this.#options.signal?.throwIfAborted();
      this.#hash.update(chunk);
      this.#bytes += chunk.length;
    }
    this.#resumedBytes = this.#bytes;
  }

  async #restart(): Promise<void> {
    await this.#file().truncate(0);
    this.#hash = createHash('sha256');
    this.#bytes = 0;
    this.#resumedBytes = 0;
  }

  async #attempt(): Promise<void> {
    if (this.#bytes > 0 && this.#bytes === this.#totalBytes) return;
    const response = await this.#request();
    try {
      const at = await this.#position(response);
      if (at === 'complete') return;
      await this.#checkSize(response);
      await this.#receive(response);
    } catch (error) {
      this.#options.signal?.throwIfAborted();
      if (error instanceof PlenumError) throw error;
      if (hasCode(error, 'ENOSPC') || hasCode(error, 'EDQUOT')) throw await this.#noSpace();
      throw toTransferError(error, true);
    } finally {
      response.body.destroy();
    }
  }

  async #request(): Promise<TransportResponse> {
    const { url, credential, sha256 } = this.#task;
    const { signal, limits, env } = this.#options;
    const headers: Record<string, string> = { accept: '*/*' };
    if (this.#bytes > 0) {
      headers.range = `bytes=${this.#bytes}-`;
      if (sha256 === null && this.#resume !== null) headers['if-range'] = this.#resume.validator;
    }
    const onHop: TransportRequest['onHop'] = (_status, hop) => this.#checkPromise(hop);
    const response = await openRequest({ url, headers, credential, signal, limits, env, onHop });
    // A body that breaks before it is read must not become an unhandled error.
    response.body.on('error', () => undefined);
    return response;
  }

  /** The hub names the content's checksum before it redirects: a wrong file is not downloaded. */
  #checkPromise(headers: TransportResponse['headers']): void {
    const { sha256, file } = this.#task;
    const linked = /^"?([0-9a-f]{64})"?$/.exec(String(headers['x-linked-etag'] ?? ''))?.[1];
    if (sha256 === null || linked === undefined || linked === sha256) return;
    throw mismatchError(file, sha256, linked);
  }

  /** Brings file and answer to the same byte, from the start if need be. */
  async #position(response: TransportResponse): Promise<'receive' | 'complete'> {
    const { status, headers } = response;
    const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
    const total = range?.[2] === undefined || range[2] === '*' ? null : Number(range[2]);
    if (status === 206 && range?.[1] === String(this.#bytes) && this.#sameContent(response)) {
      this.#totalBytes = total ?? this.#totalBytes;
      return 'receive';
    }
    if (status === 416 && total !== null && total === this.#bytes) return 'complete';
    if (status === 200) {
      await this.#restart();
      this.#totalBytes = contentLength(response);
      await this.#rememberValidator(response);
      return 'receive';
    }
    if (status === 206 || status === 416) {
      const asked = this.#bytes;
      await this.#restart();
      throw new TransferError('transient', `the server does not go on from byte ${asked}`);
    }
    throw statusError(status, headers);
  }

  #sameContent(response: TransportResponse): boolean {
    if (this.#task.sha256 !== null) return true;
    const validator = validatorOf(response);
    return validator === null || validator === this.#resume?.validator;
  }

  async #rememberValidator(response: TransportResponse): Promise<void> {
    const validator = validatorOf(response);
    this.#resume = validator === null ? null : { validator, totalBytes: this.#totalBytes };
    if (this.#resume === null) await rm(resumePath(this.#task.path), { force: true });
    else await writeFile(resumePath(this.#task.path), JSON.stringify(this.#resume));
  }

  async #checkSize(response: TransportResponse): Promise<void> {
    const encoding = response.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      throw new TransferError('final', `the server sends it ${encoding}-encoded`);
    }
    const { bytes, file, path } = this.#task;
    const total = this.#totalBytes;
    if (bytes !== null && total !== null && total !== bytes) {
      throw new PlenumError(
        'checksum_mismatch',
        `${file} has ${total} bytes there, but ${bytes} were promised`,
        { details: { file, promisedBytes: bytes, foundBytes: total } },
      );
    }
    this.#totalBytes = total ?? bytes;
    const free = await (this.#options.free ?? freeBytes)(path);
    const room = this.#bytes + Math.max(0, free - DISK_RESERVE_BYTES);
    if (this.#totalBytes !== null && this.#totalBytes > room) {
      throw diskFull(path, this.#totalBytes - this.#bytes, free);
    }
    this.#bytesMax = this.#totalBytes ?? room;
  }

  async #receive(response: TransportResponse): Promise<void> {
    const { file } = this.#task;
    const handle = this.#file();
    for await (const chunk of response.body) {
      if (this.#bytes + chunk.length > this.#bytesMax) {
        if (this.#totalBytes === null) throw await this.#noSpace();
        throw new TransferError('final', `more than the announced ${this.#totalBytes} bytes came`);
      }
      await writeAll(handle, chunk, this.#bytes);
      this.#hash.update(chunk);
      this.#bytes += chunk.length;
      this.#options.onProgress?.({
        kind: 'transfer',
        file,
        bytes: this.#bytes,
        totalBytes: this.#totalBytes,
        resumedBytes: this.#resumedBytes,
      });
    }
    if (this.#totalBytes !== null && this.#bytes < this.#totalBytes) {
      const missing = this.#totalBytes - this.#bytes;
      throw new TransferError('transient', `the connection ended ${missing} bytes too early`);
    }
    this.#totalBytes = this.#bytes;
  }

  async #noSpace(): Promise<PlenumError> {
    const { path } = this.#task;
    const needed = (this.#totalBytes ?? this.#bytes + 1) - this.#bytes;
    return diskFull(path, needed, await (this.#options.free ?? freeBytes)(path));
  }

  async #mismatch(): Promise<PlenumError> {
    const { file, path, sha256 } = this.#task;
    const found = this.#hash.copy().digest('hex');
    await rm(path, { force: true });
    await rm(resumePath(path), { force: true });
    return mismatchError(file, sha256 ?? '', found);
  }

  #file(): FileHandle {
    if (this.#handle === null) throw new TransferError('final', 'the partial file is closed');
    return this.#handle;
  }
}

export function mismatchError(file: string, promised: string, found: string): PlenumError {
  return new PlenumError(
    'checksum_mismatch',
    `${file} is not what was promised: sha256 ${promised} was promised, ${found} is there`,
    { details: { file, promised, found } },
  );
}

function resumePath(path: string): string {
  return `${path}.resume.json`;
}

async function readResume(path: string): Promise<Resume | null> {
  try {
    const parsed = ResumeSchema.safeParse(JSON.parse(await readFile(resumePath(path), 'utf8')));
    return parsed.success ? parsed.data : null;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

/** What If-Range accepts: a strong entity tag, or else the date of last change. */
function validatorOf({ headers }: TransportResponse): string | null {
  const { etag } = headers;
  if (etag?.startsWith('"')) return etag;
  return headers['last-modified'] ?? null;
}

function contentLength({ headers }: TransportResponse): number | null {
  const text = headers['content-length'];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

async function writeAll(handle: FileHandle, chunk: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}
