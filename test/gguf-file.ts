/**
 * Writes whole GGUF files for tests and converters: a header and tensors that are in memory. The
 * values come as numbers and are stored as F32 or F16.
 */
import { open } from 'node:fs/promises';
import { assert, defined } from '../src/base/assert.ts';
import { type EncodableValue, encodeHeader } from '../src/model/gguf-encode.ts';
import { ggmlTypeByName } from '../src/model/gguf-types.ts';

export interface TensorData {
  readonly name: string;
  /** Length of a row first. */
  readonly dims: readonly number[];
  readonly type: 'F32' | 'F16';
  readonly values: Float32Array;
}

export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, EncodableValue>,
  tensors: readonly TensorData[],
): Promise<void> {
  const table = tensors.map(({ name, dims, type }) => ({
    name,
    dims,
    type: defined(ggmlTypeByName(type), type),
  }));
  const { header, offsets, fileBytes } = encodeHeader(metadata, table);
  const file = await open(path, 'w');
  try {
    await file.write(header, 0, header.length, 0);
    for (const [i, tensor] of tensors.entries()) {
      const data = bytesOf(tensor);
      await file.write(data, 0, data.length, header.length + defined(offsets[i], 'offset'));
    }
    await file.truncate(fileBytes);
  } finally {
    await file.close();
  }
}

function bytesOf({ name, dims, type, values }: TensorData): Uint8Array {
  const elements = dims.reduce((product, dim) => product * dim, 1);
  assert(values.length === elements, `${name} has ${values.length} values, not ${elements}`);
  const stored = type === 'F32' ? values : new Float16Array(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}
