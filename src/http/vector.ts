/** Arithmetic on the rows that an encoder gives, and how a vector is written down. Pure. */
import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Row `index` of rows of `width` numbers, as a view. */
export function rowOf(values: Float32Array, width: number, index: number): Float32Array {
  return values.subarray(index * width, (index + 1) * width);
}

/** The vector with Euclidean length 1; a vector of zeros has no direction and stays. */
export function unit(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const x of vector) sum += x * x;
  if (sum === 0) return vector;
  const scale = 1 / Math.sqrt(sum);
  return vector.map((x) => x * scale);
}

/** Bytes of little-endian 32-bit floats in base64. */
export function base64Of(vector: Float32Array): string {
  const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  return (LITTLE_ENDIAN ? bytes : Buffer.from(bytes).swap32()).toString('base64');
}

/** The logistic function. */
export const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));
