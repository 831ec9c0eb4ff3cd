/** What the registry wants to know of a model file before it accepts it, in one line of words. */

import { type GgufHeader, inspectGguf, metadataNumber, metadataString } from './gguf.ts';
import { FILE_TYPE_NAMES } from './gguf-types.ts';
import { SYNTHETIC_KEY } from './synth/metadata.ts';

export interface Inspected {
  /** Such as `llama 135M Q4_1`. */
  readonly description: string;
  /** The file says of itself that its weights are random. */
  readonly synthetic: boolean;
  /** What it was made from, such as `tiny@f32`, where it is synthetic. */
  readonly spec?: string | null | undefined;
}

/**
 * Looks into a file and, where it is the first of a set, into the parts beside it.
 * @throws PlenumError file_not_found, file_foreign, file_truncated, file_corrupt.
 */
export async function inspectModel(path: string): Promise<Inspected> {
  const header = await inspectGguf(path);
  return {
    description: describe(header),
    synthetic: header.metadata.get(SYNTHETIC_KEY) === true,
    spec: metadataString(header, `${SYNTHETIC_KEY}.spec`),
  };
}

function describe(header: GgufHeader): string {
  const parameters = header.tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  const fileType = metadataNumber(header, 'general.file_type');
  const quant = fileType === null ? undefined : FILE_TYPE_NAMES.get(fileType);
  return [
    metadataString(header, 'general.architecture') ?? 'unknown architecture',
    formatCount(parameters),
    quant ?? commonType(header),
  ].join(' ');
}

/** `134515008` → `135M`. */
function formatCount(n: number): string {
  const [unit, size] = n >= 1e9 ? ['B', 1e9] : n >= 1e6 ? ['M', 1e6] : ['k', 1e3];
  return `${Number((n / size).toPrecision(n / size >= 100 ? 3 : 2))}${unit}`;
}

/** The type that most weights have, for files that do not say. */
function commonType(header: GgufHeader): string {
  const elements = new Map<string, number>();
  for (const { type, elements: count } of header.tensors) {
    elements.set(type.name, (elements.get(type.name) ?? 0) + count);
  }
  const [most] = [...elements].sort((a, b) => b[1] - a[1]);
  return most?.[0] ?? 'no tensors';
}
