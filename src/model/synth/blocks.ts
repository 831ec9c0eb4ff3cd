/**
 * Random weights at disk speed. A pool of random cells (quantisation blocks with valid scales, or
 * 32 plain numbers) is made once per type and scale; a tensor is a window that runs round the
 * pool from an offset of its own. The number of cells is a prime above the number of rows, so
 * that no two rows of a matrix are equal. Deterministic on every machine: it uses no function
 * whose last bit is not specified.
 */
import { defined, unreachable } from '../../base/assert.ts';
import { Prng } from '../../base/prng.ts';
import type { GgmlType } from '../gguf-types.ts';

export interface PoolNeed {
  readonly type: GgmlType;
  /** Standard deviation of the values. */
  readonly std: number;
  /** Most rows of a matrix that is filled from it. */
  readonly rows: number;
  readonly seed: number;
}

export interface Pool {
  readonly bytes: Uint8Array;
  readonly cellBytes: number;
  readonly cells: number;
}

const PLAIN_CELL_ELEMENTS = 32;
const CELLS_MIN = 4099;
/** Above it rows repeat; only vocabularies in F32 beyond half a million tokens get there. */
const POOL_BYTES_MAX = 64 * 1024 * 1024;

export function makePool({ type, std, rows, seed }: PoolNeed): Pool {
  const cellBytes = type.blockSize === 1 ? type.blockBytes * PLAIN_CELL_ELEMENTS : type.blockBytes;
  const most = Math.floor(POOL_BYTES_MAX / cellBytes);
  const cells = primeBelow(primeAbove(Math.max(rows, CELLS_MIN)), most);
  const prng = new Prng(seed);
  // Whole words, so that the generator can fill them four bytes at a time.
  const words = new Uint32Array(Math.ceil((cells * cellBytes) / 4));
  for (let i = 0; i < words.length; i++) words[i] = prng.uint32();
  const bytes = new Uint8Array(words.buffer, 0, cells * cellBytes);
  if (type.blockSize === 1) plainNumbers(bytes, words, type, std);
  else scaleBlocks(bytes, type, std, prng);
  return { bytes, cellBytes, cells };
}

/** Uniform in [-√3, √3): standard deviation 1. */
const uniform = (word: number): number => (word / 2147483648 - 1) * Math.sqrt(3);

/** A number around 1, between 0.75 and 1.25. */
const jitter = (prng: Prng): number => 0.75 + prng.float() / 2;

function plainNumbers(bytes: Uint8Array, words: Uint32Array, type: GgmlType, std: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (type.name === 'F32') {
    for (let i = 0; i < words.length; i++) {
      view.setFloat32(i * 4, uniform(defined(words[i], 'word')) * std, true);
    }
    return;
  }
  const encode = type.name === 'BF16' ? toBf16 : toF16;
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const word = view.getUint16(at, true) * 65536;
    view.setUint16(at, encode(uniform(word) * std), true);
  }
}

// Standard deviations of uniform integers: √((n² − 1)/12) for n values. The 16 values of FP4,
// doubled, are ±{0, 1, 2, 3, 4, 6, 8, 12}: √(274/8).
const STD_4_BITS = Math.sqrt(255 / 12);
const STD_5_BITS = Math.sqrt(1023 / 12);
const STD_6_BITS = Math.sqrt(4095 / 12);
const STD_8_BITS = Math.sqrt(65535 / 12);
const STD_FP4 = Math.sqrt(274 / 8);

/**
 * Overwrites the scales of random blocks. Signed types are not quite centred on zero, so their
 * scales have random signs; the others get the minimum that centres them.
 */
function scaleBlocks(bytes: Uint8Array, type: GgmlType, std: number, prng: Prng): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signed = (): number => (prng.float() < 0.5 ? -1 : 1) * jitter(prng);
  for (let at = 0; at < bytes.length; at += type.blockBytes) {
    switch (type.name) {
      case 'Q4_0':
        view.setUint16(at, toF16((std / STD_4_BITS) * signed()), true);
        break;
      case 'Q5_0':
        view.setUint16(at, toF16((std / STD_5_BITS) * signed()), true);
        break;
      case 'Q8_0':
        view.setUint16(at, toF16((std / STD_8_BITS) * signed()), true);
        break;
      case 'Q4_1':
        scaleAndMin(view, at, (std / STD_4_BITS) * jitter(prng), -7.5);
        break;
      case 'Q5_1':
        scaleAndMin(view, at, (std / STD_5_BITS) * jitter(prng), -15.5);
        break;
      case 'Q4_K':
        scaleAndMin(view, at, std / STD_4_BITS / SUBSCALE_MEAN, 7.5);
        subScales6Bits(bytes, at + 4, prng);
        break;
      case 'Q5_K':
        scaleAndMin(view, at, std / STD_5_BITS / SUBSCALE_MEAN, 15.5);
        subScales6Bits(bytes, at + 4, prng);
        break;
      case 'Q6_K':
        // 128 bytes of low bits and 64 of high bits come first.
        for (let i = 0; i < 16; i++) view.setInt8(at + 192 + i, subScale(prng) * randomSign(prng));
        view.setUint16(at + 208, toF16(std / STD_6_BITS / SUBSCALE_MEAN), true);
        break;
      case 'MXFP4':
        bytes[at] = exponent(std / STD_FP4, prng);
        break;
      default:
        unreachable(type.name as never);
    }
  }
}

function scaleAndMin(view: DataView, at: number, scale: number, minOverScale: number): void {
  view.setUint16(at, toF16(scale), true);
  view.setUint16(at + 2, toF16(scale * minOverScale), true);
}

const SUBSCALE_MEAN = 12;
const subScale = (prng: Prng): number => prng.int(9, 15);
const randomSign = (prng: Prng): number => (prng.float() < 0.5 ? -1 : 1);

/**
 * Eight scales and eight minima of 6 bits in 12 bytes, each minimum equal to its scale. Scales
 * 0–3 in bytes 0–3 and minima 0–3 in bytes 4–7, whose top two bits belong to numbers 4–7; the low
 * four bits of those in bytes 8–11. All are below 16 here, so that the top bits are zero.
 */
function subScales6Bits(bytes: Uint8Array, at: number, prng: Prng): void {
  for (let i = 0; i < 4; i++) {
    const low = subScale(prng);
    const high = subScale(prng);
    bytes[at + i] = low;
    bytes[at + 4 + i] = low;
    bytes[at + 8 + i] = high | (high << 4);
  }
}

/** An exponent whose power of two is `target` or, mixed at random, right in the mean square. */
function exponent(target: number, prng: Prng): number {
  // The engine reads e as 2^(e − 128), for values that are doubled.
  let biased = 128;
  let power = 1;
  while (power > target) {
    power /= 2;
    biased -= 1;
  }
  while (power * 2 <= target) {
    power *= 2;
    biased += 1;
  }
  const ratio = target / power;
  return prng.float() < (ratio * ratio - 1) / 3 ? biased + 1 : biased;
}

const floats = new Float32Array(1);
const floatBits = new Uint32Array(floats.buffer);

/** The nearest half-precision number, ties away from zero; |value| is below 65504. */
export function toF16(value: number): number {
  const sign = value < 0 ? 0x8000 : 0;
  const size = Math.abs(value);
  // Below 2^-14 halves are multiples of 2^-24.
  if (size < 2 ** -14) return sign | Math.round(size * 2 ** 24);
  floats[0] = size;
  const bits = floatBits[0] ?? 0;
  return sign | ((bits + 0x1000 - (112 << 23)) >>> 13);
}

function toBf16(value: number): number {
  floats[0] = value;
  return ((floatBits[0] ?? 0) + 0x8000) >>> 16;
}

function isPrime(n: number): boolean {
  if (n % 2 === 0) return n === 2;
  for (let divisor = 3; divisor * divisor <= n; divisor += 2) if (n % divisor === 0) return false;
  return n > 1;
}

function primeAbove(n: number): number {
  let candidate = n + 1;
  while (!isPrime(candidate)) candidate += 1;
  return candidate;
}

/** `wanted`, or the largest prime that is not above `most`. */
function primeBelow(wanted: number, most: number): number {
  let candidate = Math.min(wanted, most);
  while (!isPrime(candidate)) candidate -= 1;
  return candidate;
}
