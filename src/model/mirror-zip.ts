/**
 * Takes one member out of a ZIP archive, streaming, whatever its size in memory terms: stored or
 * deflated, up to 4 GiB. No encryption, no ZIP64, no archives in several volumes; those are refused
 * by name. Layout: PKWARE APPNOTE 6.3, sections 4.3.7 (local header), 4.3.12 (central directory),
 * 4.3.16 (end record). What comes out is judged by the caller's checksum.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { PlenumError } from '../base/errors.ts';

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const COMMENT_BYTES_MAX = 0xffff;
/** A directory of this size has some 100,000 members. */
const DIRECTORY_BYTES_MAX = 16 * 1024 * 1024;

interface Member {
  readonly method: number;
  readonly flags: number;
  readonly packedBytes: number;
  readonly bytes: number;
  readonly headerOffset: number;
}

export interface Extraction {
  readonly archive: string;
  readonly member: string;
  /** Replaced if it is there. */
  readonly to: string;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Sees each block on its way; for a checksum. */
  readonly onBlock?: ((block: Buffer) => void) | undefined;
}

/** Bytes of the member. @throws PlenumError file_corrupt; nothing is promised of `to` then. */
export async function extractMember(task: Extraction): Promise<number> {
  const file = await open(task.archive, 'r');
  let at: { member: Member; start: number };
  try {
    const member = await findMember(file, task);
    at = { member, start: await dataStart(file, member, task) };
  } finally {
    await file.close();
  }
  const { member, start } = at;
  let bytes = 0;
  const count = new Transform({
    transform(block: Buffer, _encoding, done) {
      bytes += block.length;
      // A member must not unpack to more than its own directory says.
      if (bytes > member.bytes) return done(corrupt(task, 'a member is longer than announced'));
      task.onBlock?.(block);
      task.onBytes?.(bytes);
      done(null, block);
    },
  });
  const end = start + Math.max(0, member.packedBytes - 1);
  const source = createReadStream(task.archive, { start, end });
  const sink = createWriteStream(task.to);
  const { signal } = task;
  const more = signal === undefined ? {} : { signal };
  try {
    if (member.method === 0) await pipeline(source, count, sink, more);
    else await pipeline(source, createInflateRaw(), count, sink, more);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw code.startsWith('Z_') ? corrupt(task, 'a member does not unpack') : error;
  }
  if (bytes !== member.bytes) throw corrupt(task, 'a member is shorter than announced');
  return bytes;
}

async function findMember(file: FileHandle, task: Extraction): Promise<Member> {
  const { size } = await file.stat();
  const tail = await read(file, Math.max(0, size - END_BYTES - COMMENT_BYTES_MAX), size);
  let end = tail.length - END_BYTES;
  while (end >= 0 && tail.readUInt32LE(end) !== END_SIGNATURE) end -= 1;
  if (end < 0) throw corrupt(task, 'it has no end record, so it is no ZIP archive or cut short');
  const directoryBytes = tail.readUInt32LE(end + 12);
  const directoryOffset = tail.readUInt32LE(end + 16);
  if (directoryOffset === 0xffffffff) throw corrupt(task, 'ZIP64 is not supported');
  if (directoryBytes > DIRECTORY_BYTES_MAX || directoryOffset + directoryBytes > size) {
    throw corrupt(task, 'its directory lies outside of it');
  }
  const directory = await read(file, directoryOffset, directoryOffset + directoryBytes);
  for (let at = 0; at + ENTRY_BYTES <= directory.length; ) {
    if (directory.readUInt32LE(at) !== ENTRY_SIGNATURE) break;
    const nameBytes = directory.readUInt16LE(at + 28);
    const next = at + ENTRY_BYTES + nameBytes + directory.readUInt16LE(at + 30);
    const name = directory.toString('utf8', at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes);
    if (name === task.member) return supported(memberAt(directory, at), task);
    at = next + directory.readUInt16LE(at + 32);
  }
  throw corrupt(task, `it has no member ${task.member}`);
}

function memberAt(directory: Buffer, at: number): Member {
  return {
    flags: directory.readUInt16LE(at + 8),
    method: directory.readUInt16LE(at + 10),
    packedBytes: directory.readUInt32LE(at + 20),
    bytes: directory.readUInt32LE(at + 24),
    headerOffset: directory.readUInt32LE(at + 42),
  };
}

function supported(member: Member, task: Extraction): Member {
  if ((member.flags & 1) !== 0) throw corrupt(task, 'the member is encrypted');
  if (member.method !== 0 && member.method !== 8) {
    throw corrupt(task, `the member is packed by method ${member.method}; 0 and 8 are supported`);
  }
  const large = 0xffffffff;
  if ([member.packedBytes, member.bytes, member.headerOffset].includes(large)) {
    throw corrupt(task, 'ZIP64 is not supported');
  }
  return member;
}

async function dataStart(file: FileHandle, member: Member, task: Extraction): Promise<number> {
  const header = await read(file, member.headerOffset, member.headerOffset + LOCAL_BYTES);
  if (header.length < LOCAL_BYTES || header.readUInt32LE(0) !== LOCAL_SIGNATURE) {
    throw corrupt(task, 'the member’s own header is not where the directory says');
  }
  const start =
    member.headerOffset + LOCAL_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
  const { size } = await file.stat();
  if (start + member.packedBytes > size) throw corrupt(task, 'it is cut short');
  return start;
}

async function read(file: FileHandle, from: number, to: number): Promise<Buffer> {
  const buffer = Buffer.alloc(Math.max(0, to - from));
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, from + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}

function corrupt(task: Extraction, why: string): PlenumError {
  return new PlenumError('file_corrupt', `${task.archive} cannot be unpacked: ${why}`);
}
