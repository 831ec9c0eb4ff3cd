/**
 * Sums over the tensor table: parameters and bytes by what they do, and what one decoded token
 * makes the machine read.
 */
import type { GgufTensor } from './gguf.ts';

export const WEIGHT_CLASSES = [
  'embedding',
  'output',
  'attention',
  'feed_forward',
  'experts',
  'recurrent',
  'norm',
  'other',
] as const;
export type WeightClass = (typeof WEIGHT_CLASSES)[number];

export interface WeightSum {
  readonly parameters: number;
  readonly bytes: number;
  /** Of the parameters, those of matrices that give out a multiple of PAGED_OUTPUTS numbers. */
  readonly pagedParameters: number;
}

/** So many F32 numbers are a page of 4 KiB: rows of as many share the sets of a cache. */
const PAGED_OUTPUTS = 1024;
type Sum = { -readonly [key in keyof WeightSum]: number };

export interface Weights {
  readonly parameters: number;
  readonly bytes: number;
  /**
   * Parameters that compute for one token: without a lookup table (an embedding that is not also
   * the output matrix) and without the experts that a token does not choose.
   */
  readonly activeParameters: number;
  /** The bytes of those, which decoding one token alone has to read. */
  readonly activeBytes: number;
  readonly byClass: Readonly<Record<WeightClass, WeightSum>>;
  /** `Q4_K` → bytes of tensors of that type. */
  readonly bytesByType: ReadonlyMap<string, number>;
  /** By class: `Q4_K` → parameters of that type. Kernels differ by type, and classes in use. */
  readonly typesByClass: Readonly<Record<WeightClass, ReadonlyMap<string, number>>>;
  /** The embedding is also the output matrix. */
  readonly isTied: boolean;
  readonly hasExperts: boolean;
}

export interface WeightOptions {
  readonly experts: number;
  readonly expertsUsed: number;
  readonly isEncoder: boolean;
}

export function weightsOf(tensors: readonly GgufTensor[], options: WeightOptions): Weights {
  const sums = Object.fromEntries(WEIGHT_CLASSES.map((name) => [name, nothing()])) as Record<
    WeightClass,
    Sum
  >;
  const lookup = nothing();
  const bytesByType = new Map<string, number>();
  const types = Object.fromEntries(
    WEIGHT_CLASSES.map((name) => [name, new Map<string, number>()]),
  ) as Record<WeightClass, Map<string, number>>;
  const isTied = !options.isEncoder && !tensors.some(({ name }) => name === 'output.weight');
  for (const { name, dims, elements, bytes, type } of tensors) {
    const weightClass = classOf(name);
    const [, outputs = 1] = dims;
    const pagedParameters = outputs % PAGED_OUTPUTS === 0 ? elements : 0;
    add(sums[weightClass], { parameters: elements, bytes, pagedParameters });
    const isOutput = isTied && name === 'token_embd.weight';
    if (weightClass === 'embedding' && !isOutput) {
      add(lookup, { parameters: elements, bytes, pagedParameters });
    }
    bytesByType.set(type.name, (bytesByType.get(type.name) ?? 0) + bytes);
    const own = types[weightClass];
    own.set(type.name, (own.get(type.name) ?? 0) + elements);
  }
  const total = nothing();
  for (const name of WEIGHT_CLASSES) add(total, sums[name]);
  const idle = options.experts === 0 ? 0 : 1 - options.expertsUsed / options.experts;
  const active = (of: 'parameters' | 'bytes'): number =>
    Math.round(total[of] - lookup[of] - idle * sums.experts[of]);
  return {
    parameters: total.parameters,
    bytes: total.bytes,
    activeParameters: active('parameters'),
    activeBytes: active('bytes'),
    byClass: sums,
    bytesByType,
    typesByClass: types,
    isTied,
    hasExperts: options.experts > 0,
  };
}

const nothing = (): Sum => ({ parameters: 0, bytes: 0, pagedParameters: 0 });

function add(sum: Sum, { parameters, bytes, pagedParameters }: WeightSum): void {
  sum.parameters += parameters;
  sum.bytes += bytes;
  sum.pagedParameters += pagedParameters;
}

const RULES: readonly (readonly [pattern: RegExp, weightClass: WeightClass])[] = [
  [/norm/, 'norm'],
  [/^(token_embd|position_embd|token_types|per_layer_token_embd)\b/, 'embedding'],
  [/^(output|cls)\b/, 'output'],
  [/_exps\b/, 'experts'],
  [/ssm_|time_mix|channel_mix|shortconv/, 'recurrent'],
  [/attn_/, 'attention'],
  [/ffn_/, 'feed_forward'],
];

function classOf(name: string): WeightClass {
  return RULES.find(([pattern]) => pattern.test(name))?.[1] ?? 'other';
}
