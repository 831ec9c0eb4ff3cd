/**
 * Where the bytes of a GGUF header come from: a local file, memory, or (by another implementation
 * of ByteSource) a range request. Reads what is asked for and nothing else.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { PlenumError } from '../base/errors.ts';

export interface ByteSource {
  /** Bytes of the whole file; null when that is not known. */
  readonly size: number | null;
  /** The bytes from `offset`: `length` of them, fewer only where the file ends. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * Runs `use` on an open file and closes it. Throws PlenumError `file_not_found` when it is not
 * there or may not be read, `file_foreign` when it is no regular file.
 */
export async function withFile<T>(
  path: string,
  use: (source: ByteSource) => Promise<T>,
): Promise<T> {
  const file = await openFile(path);
  try {
    const stat = await file.stat();
    if (!stat.isFile()) {
      const what = stat.isDirectory() ? 'a directory' : 'not a regular file';
      throw new PlenumError('file_foreign', `${path} is ${what}; give the path of a .gguf file`);
    }
    return await use({ size: stat.size, read: (offset, length) => readAt(file, offset, length) });
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown';
    const reason = code === 'ENOENT' || code === 'ENOTDIR' ? 'there is no such file' : code;
    const message = `Cannot open ${path}: ${reason}`;
    throw new PlenumError('file_not_found', message, { cause: thrown });
  }
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
