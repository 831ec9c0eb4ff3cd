/**
 * Writes a GGUF header (version 3, little endian) into memory: metadata, tensor table, padding.
 * The tensors themselves are written by the caller, each at its offset. Its input is this
 * program's own, so what is wrong with it is an assertion.
 */
import { assert, defined } from '../base/assert.ts';
import {
  GGUF_VALUE_TYPES,
  type GgmlType,
  type GgufScalarType,
  type GgufValueType,
  ggmlBytes,
} from './gguf-types.ts';

export type EncodableValue =
  | { readonly type: Exclude<GgufScalarType, 'string' | 'bool'>; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'strings'; readonly values: readonly string[] }
  | {
      readonly type: 'numbers';
      readonly of: Exclude<GgufScalarType, 'string' | 'bool'>;
      readonly values: ArrayLike<number>;
    };

export interface EncodableTensor {
  readonly name: string;
  /** ne[0] first: the length of a row. */
  readonly dims: readonly number[];
  readonly type: GgmlType;
}

export interface EncodedHeader {
  /** The header with its padding; the first tensor begins where it ends. */
  readonly header: Uint8Array;
  /** Of each tensor, from the end of the header. */
  readonly offsets: readonly number[];
  /** Header, tensors and the padding between them. */
  readonly fileBytes: number;
}

export const GGUF_ALIGNMENT = 32;

const padded = (n: number): number => Math.ceil(n / GGUF_ALIGNMENT) * GGUF_ALIGNMENT;

export function encodeHeader(
  metadata: ReadonlyMap<string, EncodableValue>,
  tensors: readonly EncodableTensor[],
): EncodedHeader {
  const out = new Writer();
  out.bytes(Buffer.from('GGUF', 'latin1'));
  out.scalar('u32', 3);
  out.scalar('u64', tensors.length);
  out.scalar('u64', metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    writeValue(out, value);
  }
  const offsets: number[] = [];
  let offset = 0;
  for (const { name, dims, type } of tensors) {
    assert(defined(dims[0], 'a dimension') % type.blockSize === 0, `${name}: rows of whole blocks`);
    offsets.push(offset);
    out.string(name);
    out.scalar('u32', dims.length);
    for (const dim of dims) out.scalar('u64', dim);
    out.scalar('u32', type.id);
    out.scalar('u64', offset);
    const elements = dims.reduce((product, dim) => product * dim, 1);
    offset += padded(ggmlBytes(type, elements));
  }
  const header = new Uint8Array(padded(out.length));
  header.set(out.taken());
  return { header, offsets, fileBytes: header.length + offset };
}

function writeValue(out: Writer, value: EncodableValue): void {
  switch (value.type) {
    case 'string':
      out.type('string');
      out.string(value.value);
      break;
    case 'bool':
      out.type('bool');
      out.scalar('bool', value.value ? 1 : 0);
      break;
    case 'strings':
      out.arrayOf('string', value.values.length);
      for (const text of value.values) out.string(text);
      break;
    case 'numbers':
      out.arrayOf(value.of, value.values.length);
      for (let i = 0; i < value.values.length; i++) {
        out.scalar(value.of, defined(value.values[i], 'an array value'));
      }
      break;
    default:
      out.type(value.type);
      out.scalar(value.type, value.value);
  }
}

/** A growing little-endian buffer. */
class Writer {
  #buffer = Buffer.alloc(64 * 1024);
  length = 0;

  #room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.length));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
    }
    return at;
  }

  taken(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  bytes(data: Uint8Array): void {
    const at = this.#room(data.length);
    this.#buffer.set(data, at);
  }

  string(text: string): void {
    const length = Buffer.byteLength(text);
    this.scalar('u64', length);
    const at = this.#room(length);
    this.#buffer.write(text, at);
  }

  type(type: GgufValueType): void {
    this.scalar('u32', GGUF_VALUE_TYPES.indexOf(type));
  }

  arrayOf(type: GgufScalarType, length: number): void {
    this.type('array');
    this.type(type);
    this.scalar('u64', length);
  }

  scalar(type: Exclude<GgufScalarType, 'string'>, value: number): void {
    switch (type) {
      case 'u8':
      case 'bool': {
        const at = this.#room(1);
        this.#buffer.writeUInt8(value, at);
        return;
      }
      case 'i8': {
        const at = this.#room(1);
        this.#buffer.writeInt8(value, at);
        return;
      }
      case 'u16':
      case 'i16': {
        const at = this.#room(2);
        if (type === 'u16') this.#buffer.writeUInt16LE(value, at);
        else this.#buffer.writeInt16LE(value, at);
        return;
      }
      case 'u32':
      case 'i32':
      case 'f32': {
        const at = this.#room(4);
        if (type === 'u32') this.#buffer.writeUInt32LE(value, at);
        else if (type === 'i32') this.#buffer.writeInt32LE(value, at);
        else this.#buffer.writeFloatLE(value, at);
        return;
      }
      default: {
        const at = this.#room(8);
        if (type === 'u64') this.#buffer.writeBigUInt64LE(BigInt(value), at);
        else if (type === 'i64') this.#buffer.writeBigInt64LE(BigInt(value), at);
        else this.#buffer.writeDoubleLE(value, at);
      }
    }
  }
}
