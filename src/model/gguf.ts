/**
 * Reads and checks the header of a GGUF model: metadata, tensor table, and the length that the
 * file must have. It names what is wrong with a file that is truncated, corrupt or something
 * else, before an engine touches it. It never reads the tensors.
 *
 * What is checked is what the engine would refuse (ggml/src/gguf.cpp of the pinned release), and
 * memory is bounded: lists are read only where they are short or asked for.
 */
import { basename, dirname, join } from 'node:path';
import { PlenumError } from '../base/errors.ts';
import {
  corrupt,
  GgufCursor,
  type GgufScalar,
  type GgufValue,
  isGgufArray,
  NeedMoreBytes,
} from './gguf-cursor.ts';
import { describeForeign, FOREIGN_BYTES } from './gguf-foreign.ts';
import { type ByteSource, withFile } from './gguf-source.ts';
import { type GgmlType, ggmlBytes, ggmlTypeById, REMOVED_GGML_TYPES } from './gguf-types.ts';

export interface GgufTensor {
  readonly name: string;
  /** ne[0] first: the length of a row. */
  readonly dims: readonly number[];
  readonly type: GgmlType;
  readonly elements: number;
  /** From the start of the file that holds it. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufSplit {
  /** 0 for the first part. */
  readonly index: number;
  readonly count: number;
}

export interface GgufHeader {
  readonly version: 2 | 3;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Of a split model: the tensors of every part. */
  readonly tensors: readonly GgufTensor[];
  readonly alignment: number;
  /** Where the tensors begin, in the first part. */
  readonly dataOffset: number;
  /** What the file must have at least: header and tensors. Of a split model: the sum. */
  readonly expectedBytes: number;
  /** The parts in order, one for a model in one file. Empty when the source was not a file. */
  readonly files: readonly string[];
  /** Null for a model in one file. */
  readonly split: GgufSplit | null;
}

export interface InspectOptions {
  /** Lists to keep whatever their length, such as `tokenizer.ggml.tokens`. */
  readonly wholeLists?: readonly string[] | undefined;
  /** How the source is called in messages. */
  readonly name?: string | undefined;
}

/** Lists up to this length are always kept: per-layer settings, not vocabularies. */
const LIST_LENGTH_MAX = 2048;
const FIRST_READ_BYTES = 1024 * 1024;
/** Vocabularies of 262,144 tokens with merges need about 16 MB. */
const HEADER_BYTES_MAX = 256 * 1024 * 1024;
const COUNT_MAX = 1 << 20;
/** ggml.h: GGML_MAX_NAME with its terminating zero, GGML_MAX_DIMS. */
const TENSOR_NAME_BYTES_MAX = 63;
const TENSOR_DIMS_MAX = 4;
const KEY_BYTES_MAX = 65_535;

/**
 * Checks the model at `path`, every part of it when it is split. Throws PlenumError
 * `file_not_found` (also a missing part), `file_foreign`, `file_truncated`, `file_corrupt`,
 * `model_unsupported`.
 */
export async function inspectGguf(path: string, options: InspectOptions = {}): Promise<GgufHeader> {
  const named = { ...options, name: path };
  const first = await withFile(path, (source) => readGguf(source, named));
  if (first.split === null) return { ...first, files: [path] };
  const files = partPaths(path, first.split);
  const tensors = [...first.tensors];
  let expectedBytes = first.expectedBytes;
  for (const file of files.slice(1)) {
    const part = await inspectPart(file, first.split.count);
    tensors.push(...part.tensors);
    expectedBytes += part.expectedBytes;
  }
  const promised = first.metadata.get('split.tensors.count');
  if (typeof promised === 'number' && promised !== tensors.length) {
    const found = `the parts hold ${tensors.length} tensors, but the first promises ${promised}`;
    throw new PlenumError('file_corrupt', `${path}: ${found}; the parts are of different models`);
  }
  return { ...first, tensors, expectedBytes, files };
}

async function inspectPart(path: string, count: number): Promise<GgufHeader> {
  try {
    return await withFile(path, (source) => readGguf(source, { name: path }));
  } catch (thrown) {
    if (!(thrown instanceof PlenumError && thrown.code === 'file_not_found')) throw thrown;
    const message = `A part of the model is missing: ${basename(path)} (of ${count} parts)`;
    throw new PlenumError('file_not_found', message, { details: { missing: path }, cause: thrown });
  }
}

const PART_NAME = /-(\d{5})-of-(\d{5})\.gguf$/;

function partPaths(path: string, { index, count }: GgufSplit): readonly string[] {
  const name = basename(path);
  const match = PART_NAME.exec(name);
  const digits = (n: number): string => String(n).padStart(5, '0');
  const partName = (stem: string, part: number): string =>
    `${stem}-${digits(part)}-of-${digits(count)}.gguf`;
  const stem = match === null ? null : name.slice(0, match.index);
  if (stem === null || name !== partName(stem, index + 1)) {
    const want = partName(stem ?? 'NAME', index + 1);
    const message = `${path} is part ${index + 1} of ${count} and must be called ${want}`;
    throw new PlenumError('file_corrupt', message);
  }
  if (index !== 0) {
    const want = partName(stem, 1);
    const message = `${path} is part ${index + 1} of ${count} of a model; give its first part`;
    throw new PlenumError('file_foreign', `${message}, ${want}`);
  }
  return Array.from({ length: count }, (_, part) => join(dirname(path), partName(stem, part + 1)));
}

/** As `inspectGguf`, from any source and without looking for other parts of a split model. */
export async function readGguf(
  source: ByteSource,
  options: InspectOptions = {},
): Promise<GgufHeader> {
  const name = options.name ?? 'the file';
  let head = await source.read(0, FIRST_READ_BYTES);
  checkMagic(head, name);
  for (;;) {
    try {
      const parsed = parseHeader(head, options);
      checkLength(parsed, source.size, name);
      return parsed;
    } catch (thrown) {
      if (!(thrown instanceof NeedMoreBytes)) throw named(thrown, name);
      head = await extended(head, source, { need: thrown, name });
    }
  }
}

/** More of the header: four times as much, or as much as is known to be needed. */
async function extended(
  head: Uint8Array,
  source: ByteSource,
  { need, name }: { readonly need: NeedMoreBytes; readonly name: string },
): Promise<Uint8Array> {
  const { size } = source;
  if (need.end > HEADER_BYTES_MAX) {
    throw named(corrupt(head.length, `${need.what} does not end within the header`), name);
  }
  const wanted = Math.min(Math.max(head.length * 4, need.end), HEADER_BYTES_MAX);
  const more =
    size !== null && need.end > size
      ? new Uint8Array(0)
      : await source.read(head.length, wanted - head.length);
  if (more.length > 0) return Buffer.concat([head, more]);
  const where = `it ends inside its header, in ${need.what}`;
  const details = { foundBytes: size ?? head.length, expectedBytesMin: need.end };
  throw new PlenumError('file_truncated', `${name} is truncated: ${where}`, { details });
}

function named(thrown: unknown, name: string): unknown {
  if (!(thrown instanceof PlenumError) || thrown.message.startsWith(name)) return thrown;
  const { code, details } = thrown;
  return new PlenumError(code, `${name}: ${thrown.message}`, { details, cause: thrown });
}

function checkMagic(head: Uint8Array, name: string): void {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, FOREIGN_BYTES));
  if (bytes.toString('latin1', 0, 4) !== 'GGUF') {
    const what = describeForeign(bytes);
    throw new PlenumError('file_foreign', `${name} is not a GGUF model; it looks like ${what}`);
  }
  if (bytes.length < 8) {
    const message = `${name} is truncated: it ends after ${bytes.length} bytes`;
    throw new PlenumError('file_truncated', message, { details: { foundBytes: bytes.length } });
  }
  const version = bytes.readUInt32LE(4);
  if (version !== 0 && (version & 0xffff) === 0) {
    const message = `${name} is a big-endian GGUF, for other processors; get the usual one`;
    throw new PlenumError('file_foreign', message);
  }
  if (version !== 2 && version !== 3) {
    const why =
      version < 2 ? 'too old: convert the original model again' : 'newer than this engine';
    const message = `${name} is a GGUF of version ${version}, which is ${why} (2 and 3 are read)`;
    throw new PlenumError('model_unsupported', message, { details: { version } });
  }
}

function parseHeader(head: Uint8Array, options: InspectOptions): GgufHeader {
  const cursor = new GgufCursor(head);
  cursor.u32('the magic');
  const version = cursor.u32('the version') === 2 ? 2 : 3;
  const tensorCount = count(cursor, 'tensors');
  const keyCount = count(cursor, 'metadata keys');
  const metadata = parseMetadata(cursor, keyCount, options.wholeLists ?? []);
  const alignment = alignmentOf(metadata);
  const table = parseTable(cursor, tensorCount, alignment);
  const dataOffset = padded(cursor.offset, alignment);
  const tensors = table.map((tensor) => ({ ...tensor, offset: dataOffset + tensor.offset }));
  const last = tensors.at(-1);
  const expectedBytes = last === undefined ? cursor.offset : last.offset + last.bytes;
  const split = splitOf(metadata);
  return { version, metadata, tensors, alignment, dataOffset, expectedBytes, files: [], split };
}

function count(cursor: GgufCursor, what: string): number {
  const begin = cursor.offset;
  const value = cursor.size(`the number of ${what}`);
  if (value > COUNT_MAX) throw corrupt(begin, `it claims ${value} ${what}`);
  return value;
}

function parseMetadata(
  cursor: GgufCursor,
  keyCount: number,
  wholeLists: readonly string[],
): ReadonlyMap<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const begin = cursor.offset;
    const key = cursor.string(`the name of metadata key ${i + 1}`, KEY_BYTES_MAX);
    if (metadata.has(key)) throw corrupt(begin, `the key ${JSON.stringify(key)} is there twice`);
    const isWanted = (length: number): boolean =>
      length <= LIST_LENGTH_MAX || wholeLists.includes(key);
    metadata.set(key, cursor.value(key, isWanted));
  }
  return metadata;
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || alignment < 1 || !Number.isInteger(Math.log2(alignment))) {
    throw corrupt(0, `general.alignment is ${String(alignment)}, not a power of two`);
  }
  return alignment;
}

const padded = (n: number, alignment: number): number => Math.ceil(n / alignment) * alignment;

/** Tensors with offsets from the start of the data. */
function parseTable(cursor: GgufCursor, length: number, alignment: number): readonly GgufTensor[] {
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  let next = 0;
  for (let i = 0; i < length; i++) {
    const begin = cursor.offset;
    const tensor = parseTensor(cursor, i);
    if (names.has(tensor.name)) throw corrupt(begin, `the tensor ${tensor.name} is there twice`);
    names.add(tensor.name);
    if (tensor.offset !== next) {
      const where = `begins at ${tensor.offset} of the data instead of ${next}`;
      throw corrupt(begin, `the tensor ${tensor.name} ${where}`);
    }
    next = padded(next + tensor.bytes, alignment);
    tensors.push(tensor);
  }
  return tensors;
}

function parseTensor(cursor: GgufCursor, index: number): GgufTensor {
  const begin = cursor.offset;
  const name = cursor.string(`the name of tensor ${index + 1}`, TENSOR_NAME_BYTES_MAX);
  const dimCount = cursor.u32(`the dimensions of ${name}`);
  if (dimCount > TENSOR_DIMS_MAX) throw corrupt(begin, `${name} has ${dimCount} dimensions`);
  const dims = Array.from({ length: dimCount }, () => cursor.size(`the dimensions of ${name}`));
  const elements = dims.reduce((product, dim) => product * dim, 1);
  if (!Number.isSafeInteger(elements) || elements === 0) {
    throw corrupt(begin, `${name} has the shape ${dims.join(' × ')}`);
  }
  const type = typeOf(cursor.u32(`the type of ${name}`), name);
  const rowLength = dims[0] ?? 1;
  if (rowLength % type.blockSize !== 0) {
    const blocks = `whole blocks of ${type.blockSize} (${type.name})`;
    throw corrupt(begin, `the rows of ${name} have ${rowLength} elements, not ${blocks}`);
  }
  const offset = cursor.size(`the offset of ${name}`);
  return { name, dims, type, elements, offset, bytes: ggmlBytes(type, elements) };
}

function typeOf(id: number, tensor: string): GgmlType {
  const type = ggmlTypeById(id);
  if (type !== undefined) return type;
  const removed = REMOVED_GGML_TYPES.get(id);
  const what = removed ?? `${id}, which this engine does not know`;
  throw new PlenumError('model_unsupported', `${tensor} has the tensor type ${what}`, {
    details: { tensor, type: id },
  });
}

function checkLength(header: GgufHeader, size: number | null, name: string): void {
  if (size === null || size >= header.expectedBytes) return;
  const cut = header.tensors.find((tensor) => tensor.offset + tensor.bytes > size);
  const at = cut === undefined ? 'the header' : `the tensor ${cut.name}`;
  const sum = `it has ${size} bytes of ${header.expectedBytes}`;
  const message = `${name} is truncated: ${sum}, and is cut in ${at}. Download it again`;
  throw new PlenumError('file_truncated', message, {
    details: {
      expectedBytes: header.expectedBytes,
      foundBytes: size,
      firstCutTensor: cut?.name ?? null,
    },
  });
}

function splitOf(metadata: ReadonlyMap<string, GgufValue>): GgufSplit | null {
  const parts = metadata.get('split.count');
  const index = metadata.get('split.no');
  if (typeof parts !== 'number' || parts <= 1) return null;
  if (typeof index !== 'number' || index >= parts) {
    throw corrupt(0, `split.no is ${String(index)} of ${parts} parts`);
  }
  return { index, count: parts };
}

/** The value of a key if it is a number (not a bigint). */
export function metadataNumber(header: GgufHeader, key: string): number | null {
  const value = header.metadata.get(key);
  return typeof value === 'number' ? value : null;
}

export function metadataString(header: GgufHeader, key: string): string | null {
  const value = header.metadata.get(key);
  return typeof value === 'string' ? value : null;
}

/** The values of a list; null when the key is missing, no list, or a list that was not kept. */
export function metadataList(header: GgufHeader, key: string): readonly GgufScalar[] | null {
  const value = header.metadata.get(key);
  return isGgufArray(value) ? value.values : null;
}
