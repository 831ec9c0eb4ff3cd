/**
 * Reads the primitive values of a GGUF header from its first bytes, in order. Every length is
 * checked before it is used. It throws NeedMoreBytes where the bytes at hand end, so that the
 * caller fetches more and begins again, and PlenumError `file_corrupt` where the file is wrong.
 */
import { PlenumError } from '../base/errors.ts';
import { GGUF_VALUE_BYTES, GGUF_VALUE_TYPES, type GgufScalarType } from './gguf-types.ts';

/** The header goes on beyond the bytes at hand: at least to `end`. */
export class NeedMoreBytes extends Error {
  override readonly name = 'NeedMoreBytes';
  readonly end: number;
  /** What was being read. */
  readonly what: string;

  constructor(end: number, what: string) {
    super(`header goes on to byte ${end}`);
    this.end = end;
    this.what = what;
  }
}

export type GgufScalar = number | bigint | string | boolean;

/** A list; `values` is null when it is long and nobody asked for it. */
export interface GgufArray {
  readonly type: GgufScalarType;
  readonly length: number;
  readonly values: readonly GgufScalar[] | null;
}

export type GgufValue = GgufScalar | GgufArray;

export const isGgufArray = (value: GgufValue | undefined): value is GgufArray =>
  typeof value === 'object';

/** The longest string that is believed; chat templates reach 100 kB. */
const STRING_BYTES_MAX = 64 * 1024 * 1024;

export class GgufCursor {
  offset = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(length: number, what: string): number {
    const at = this.offset;
    if (at + length > this.#bytes.length) throw new NeedMoreBytes(at + length, what);
    this.offset += length;
    return at;
  }

  u32(what: string): number {
    const at = this.#take(4, what);
    return this.#bytes.readUInt32LE(at);
  }

  /** A count, offset or dimension: a number that can be computed with exactly. */
  size(what: string): number {
    const begin = this.offset;
    const at = this.#take(8, what);
    const value = this.#bytes.readBigUInt64LE(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw corrupt(begin, `${what} is ${value}, which no file can hold`);
    }
    return Number(value);
  }

  string(what: string, bytesMax = STRING_BYTES_MAX): string {
    const begin = this.offset;
    const length = this.size(`the length of ${what}`);
    if (length > bytesMax) {
      throw corrupt(begin, `${what} claims ${length} bytes; at most ${bytesMax} are believed`);
    }
    const at = this.#take(length, what);
    return this.#bytes.toString('utf8', at, at + length);
  }

  value(key: string, isWanted: (length: number) => boolean): GgufValue {
    const type = this.#type(key);
    return type === 'array' ? this.#array(key, isWanted) : this.#scalar(type, key);
  }

  #type(key: string): (typeof GGUF_VALUE_TYPES)[number] {
    const begin = this.offset;
    const id = this.u32(`the type of ${key}`);
    const type = GGUF_VALUE_TYPES[id];
    if (type === undefined) throw corrupt(begin, `${key} has the unknown value type ${id}`);
    return type;
  }

  #array(key: string, isWanted: (length: number) => boolean): GgufArray {
    const begin = this.offset;
    const type = this.#type(key);
    if (type === 'array') throw corrupt(begin, `${key} is a list of lists, which no engine reads`);
    const length = this.size(`the length of ${key}`);
    const values: GgufScalar[] | null = isWanted(length) ? [] : null;
    const fixed = GGUF_VALUE_BYTES[type];
    if (values === null && fixed > 0) {
      this.#take(length * fixed, key);
      return { type, length, values };
    }
    for (let i = 0; i < length; i++) {
      if (values !== null) values.push(this.#scalar(type, key));
      else this.#skipString(key);
    }
    return { type, length, values };
  }

  #skipString(key: string): void {
    const begin = this.offset;
    const length = this.size(`a string in ${key}`);
    if (length > STRING_BYTES_MAX) {
      throw corrupt(begin, `a string in ${key} claims ${length} bytes`);
    }
    this.#take(length, key);
  }

  #scalar(type: GgufScalarType, key: string): GgufScalar {
    if (type === 'string') return this.string(key);
    const at = this.#take(GGUF_VALUE_BYTES[type], key);
    switch (type) {
      case 'u8':
        return this.#bytes.readUInt8(at);
      case 'i8':
        return this.#bytes.readInt8(at);
      case 'u16':
        return this.#bytes.readUInt16LE(at);
      case 'i16':
        return this.#bytes.readInt16LE(at);
      case 'u32':
        return this.#bytes.readUInt32LE(at);
      case 'i32':
        return this.#bytes.readInt32LE(at);
      case 'f32':
        return this.#bytes.readFloatLE(at);
      case 'f64':
        return this.#bytes.readDoubleLE(at);
      case 'u64':
        return narrowed(this.#bytes.readBigUInt64LE(at));
      case 'i64':
        return narrowed(this.#bytes.readBigInt64LE(at));
      case 'bool':
        return this.#bool(at, key);
    }
  }

  #bool(at: number, key: string): boolean {
    const byte = this.#bytes.readUInt8(at);
    if (byte > 1) throw corrupt(at, `${key} is a truth value of ${byte}`);
    return byte === 1;
  }
}

const narrowed = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;

export function corrupt(offset: number, why: string): PlenumError {
  return new PlenumError('file_corrupt', `The GGUF header is corrupt at byte ${offset}: ${why}`, {
    details: { offset },
  });
}
