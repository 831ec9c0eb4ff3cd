/**
 * The tables of the GGUF format: tensor types with their block sizes, and metadata value types.
 * Facts only; it reads and writes nothing.
 * Source: ggml/include/ggml.h and ggml/src/ggml-common.h of the pinned llama.cpp release.
 */

export interface GgmlType {
  readonly id: number;
  readonly name: string;
  /** Elements in one block; a row is a whole number of blocks. */
  readonly blockSize: number;
  /** Bytes of one block. */
  readonly blockBytes: number;
}

const row = (id: number, name: string, blockSize: number, blockBytes: number): GgmlType => ({
  id,
  name,
  blockSize,
  blockBytes,
});

/** Every type that the pinned release can store in a file, by its id. */
export const GGML_TYPES: readonly GgmlType[] = [
  row(0, 'F32', 1, 4),
  row(1, 'F16', 1, 2),
  row(2, 'Q4_0', 32, 18),
  row(3, 'Q4_1', 32, 20),
  row(6, 'Q5_0', 32, 22),
  row(7, 'Q5_1', 32, 24),
  row(8, 'Q8_0', 32, 34),
  row(9, 'Q8_1', 32, 36),
  row(10, 'Q2_K', 256, 84),
  row(11, 'Q3_K', 256, 110),
  row(12, 'Q4_K', 256, 144),
  row(13, 'Q5_K', 256, 176),
  row(14, 'Q6_K', 256, 210),
  row(15, 'Q8_K', 256, 292),
  row(16, 'IQ2_XXS', 256, 66),
  row(17, 'IQ2_XS', 256, 74),
  row(18, 'IQ3_XXS', 256, 98),
  row(19, 'IQ1_S', 256, 50),
  row(20, 'IQ4_NL', 32, 18),
  row(21, 'IQ3_S', 256, 110),
  row(22, 'IQ2_S', 256, 82),
  row(23, 'IQ4_XS', 256, 136),
  row(24, 'I8', 1, 1),
  row(25, 'I16', 1, 2),
  row(26, 'I32', 1, 4),
  row(27, 'I64', 1, 8),
  row(28, 'F64', 1, 8),
  row(29, 'IQ1_M', 256, 56),
  row(30, 'BF16', 1, 2),
  row(34, 'TQ1_0', 256, 54),
  row(35, 'TQ2_0', 256, 66),
  row(39, 'MXFP4', 32, 17),
  row(40, 'NVFP4', 64, 36),
  row(41, 'Q1_0', 128, 18),
  row(42, 'Q2_0', 64, 18),
];

/** Ids that once were types and that the engine refuses now, with what replaced them. */
export const REMOVED_GGML_TYPES: ReadonlyMap<number, string> = new Map([
  [4, 'Q4_2, removed from ggml'],
  [5, 'Q4_3, removed from ggml'],
  [31, 'Q4_0_4_4, replaced by Q4_0'],
  [32, 'Q4_0_4_8, replaced by Q4_0'],
  [33, 'Q4_0_8_8, replaced by Q4_0'],
  [36, 'IQ4_NL_4_4, replaced by IQ4_NL'],
  [37, 'IQ4_NL_4_8, replaced by IQ4_NL'],
  [38, 'IQ4_NL_8_8, replaced by IQ4_NL'],
]);

const byId = new Map(GGML_TYPES.map((type) => [type.id, type]));
const byName = new Map(GGML_TYPES.map((type) => [type.name, type]));

export const ggmlTypeById = (id: number): GgmlType | undefined => byId.get(id);

/** The type called `name` (`Q4_K`, upper case as in GGML_TYPES); undefined when there is none. */
export const ggmlTypeByName = (name: string): GgmlType | undefined => byName.get(name);

/** Bytes of `elements` values; `elements` is a whole number of blocks. */
export function ggmlBytes(type: GgmlType, elements: number): number {
  return (elements / type.blockSize) * type.blockBytes;
}

/** Metadata value types, by the id that the file has. */
export const GGUF_VALUE_TYPES = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;

export type GgufValueType = (typeof GGUF_VALUE_TYPES)[number];
export type GgufScalarType = Exclude<GgufValueType, 'array'>;

/** Bytes of one value; 0 for those of variable length. */
export const GGUF_VALUE_BYTES: Readonly<Record<GgufValueType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 0,
  array: 0,
  u64: 8,
  i64: 8,
  f64: 8,
};

/** Files whose quantisation is named by `general.file_type` (llama.h, enum llama_ftype). */
export const FILE_TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [7, 'Q8_0'],
  [8, 'Q5_0'],
  [9, 'Q5_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K_S'],
  [12, 'Q3_K_M'],
  [13, 'Q3_K_L'],
  [14, 'Q4_K_S'],
  [15, 'Q4_K_M'],
  [16, 'Q5_K_S'],
  [17, 'Q5_K_M'],
  [18, 'Q6_K'],
  [19, 'IQ2_XXS'],
  [20, 'IQ2_XS'],
  [21, 'Q2_K_S'],
  [22, 'IQ3_XS'],
  [23, 'IQ3_XXS'],
  [24, 'IQ1_S'],
  [25, 'IQ4_NL'],
  [26, 'IQ3_S'],
  [27, 'IQ3_M'],
  [28, 'IQ2_S'],
  [29, 'IQ2_M'],
  [30, 'IQ4_XS'],
  [31, 'IQ1_M'],
  [32, 'BF16'],
  [36, 'TQ1_0'],
  [37, 'TQ2_0'],
  [38, 'MXFP4'],
  [39, 'NVFP4'],
  [40, 'Q1_0'],
  [41, 'Q2_0'],
]);
