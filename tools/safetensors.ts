/**
 * Reads the tensors of a safetensors file: eight bytes of length, a JSON table, the data. F32 only;
 * anything else is refused by name.
 */
import { readFileSync } from 'node:fs';
import { assert, defined } from '../src/base/assert.ts';

export interface SafeTensor {
  /** Slowest dimension first, as PyTorch says it. */
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export function readSafetensors(path: string): ReadonlyMap<string, SafeTensor> {
  const file = readFileSync(path);
  const tableBytes = Number(file.readBigUInt64LE(0));
  const table: Record<string, Entry> = JSON.parse(file.toString('utf8', 8, 8 + tableBytes));
  const tensors = new Map<string, SafeTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(table)) {
    if (name === '__metadata__' || dtype.startsWith('I')) continue;
    assert(dtype === 'F32', `${name} is ${dtype}; only F32 is read`);
    const [from, to] = data_offsets.map((offset) => 8 + tableBytes + offset);
    // A copy: the data need not lie at a multiple of four bytes.
    const bytes = Uint8Array.prototype.slice.call(file, from, to);
    tensors.set(name, { shape, values: new Float32Array(bytes.buffer) });
  }
  return tensors;
}

/** The tensor called `name`. Throws when there is none. */
export const tensorOf = (tensors: ReadonlyMap<string, SafeTensor>, name: string): SafeTensor =>
  defined(tensors.get(name), `tensor ${name}`);
