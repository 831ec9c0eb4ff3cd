/**
 * The shapes that can be synthesised: published models by name, probes, and small fixtures.
 * Figures only. Their sources: the models' own published configurations (config.json); layers,
 * widths, heads, vocabularies and contexts were checked against the published parameter counts.
 */

/** The engine's name of the architecture (`general.architecture`). */
export type SynthArch = 'llama' | 'qwen2' | 'qwen3' | 'qwen3moe' | 'gpt-oss' | 'gemma3' | 'bert';

export interface SynthShape {
  readonly name: string;
  readonly arch: SynthArch;
  readonly layers: number;
  /** d_model, the residual stream's width. */
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Hidden width of a feed-forward block; of one expert where there are experts. */
  readonly ff: number;
  /** Tokens, with the control tokens. */
  readonly vocab: number;
  readonly contextTokens: number;
  /** The output matrix is the token embedding. */
  readonly tied: boolean;
  readonly experts: number;
  readonly expertsUsed: number;
  /** Sliding window in tokens, 0 for none; every `windowPeriod`-th layer attends to everything. */
  readonly window: number;
  readonly windowPeriod: number;
  readonly ropeBase: number;
  /** RoPE scaling of the published configuration. */
  readonly ropeScaling: RopeScaling;
  readonly normEpsilon: number;
  /** Encoders only: how token vectors become one. */
  readonly pooling: 'none' | 'mean' | 'cls';
  readonly fixture: boolean;
  /** The quantisation used when a spec names none. */
  readonly defaultQuant: string;
}

export type RopeScaling =
  | { readonly kind: 'none' }
  | { readonly kind: 'linear'; readonly factor: number }
  | { readonly kind: 'yarn'; readonly factor: number; readonly originalTokens: number }
  | { readonly kind: 'llama3'; readonly factor: number };

type Dims = readonly [
  layers: number,
  width: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  ff: number,
  vocab: number,
  contextTokens: number,
];

function shape(name: string, arch: SynthArch, dims: Dims, more: Partial<SynthShape>): SynthShape {
  const [layers, width, heads, kvHeads, headDim, ff, vocab, contextTokens] = dims;
  return {
    name,
    arch,
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    ff,
    vocab,
    contextTokens,
    tied: false,
    experts: 0,
    expertsUsed: 0,
    window: 0,
    windowPeriod: 0,
    ropeBase: 10_000,
    ropeScaling: { kind: 'none' },
    normEpsilon: arch === 'llama' || arch === 'gpt-oss' ? 1e-5 : 1e-6,
    pooling: 'none',
    fixture: false,
    defaultQuant: arch === 'gpt-oss' ? 'mxfp4' : arch === 'bert' ? 'f16' : 'q4_k_m',
    ...more,
  };
}

const llama2 = (name: string, dims: Dims): SynthShape => shape(name, 'llama', dims, {});

const llama3 = (name: string, dims: Dims, factor: number, tied: boolean): SynthShape =>
  shape(name, 'llama', dims, { ropeBase: 500_000, ropeScaling: { kind: 'llama3', factor }, tied });

const smollm2 = (name: string, dims: Dims, ropeBase: number): SynthShape =>
  shape(name, 'llama', dims, { ropeBase, tied: true });

const mistral = (name: string, dims: Dims, ropeBase: number): SynthShape =>
  shape(name, 'llama', dims, { ropeBase });

const qwen2 = (name: string, dims: Dims, tied: boolean): SynthShape =>
  shape(name, 'qwen2', dims, { ropeBase: 1e6, tied });

const qwen3 = (name: string, dims: Dims, tied: boolean): SynthShape =>
  shape(name, 'qwen3', dims, { ropeBase: 1e6, tied });

const gptOss = (name: string, dims: Dims, experts: number): SynthShape =>
  shape(name, 'gpt-oss', dims, {
    experts,
    expertsUsed: 4,
    window: 128,
    windowPeriod: 2,
    ropeBase: 150_000,
    ropeScaling: { kind: 'yarn', factor: 32, originalTokens: 4096 },
  });

const gemma3 = (name: string, dims: Dims, window: number, linear: number): SynthShape =>
  shape(name, 'gemma3', dims, {
    tied: true,
    window,
    windowPeriod: 6,
    ropeBase: 1e6,
    ropeScaling: linear === 1 ? { kind: 'none' } : { kind: 'linear', factor: linear },
  });

const bert = (name: string, dims: Dims, pooling: 'mean' | 'cls'): SynthShape =>
  shape(name, 'bert', dims, { tied: true, pooling, normEpsilon: 1e-12 });

const PUBLISHED: readonly SynthShape[] = [
  llama2('llama-2-7b', [32, 4096, 32, 32, 128, 11008, 32000, 4096]),
  llama2('llama-2-13b', [40, 5120, 40, 40, 128, 13824, 32000, 4096]),
  llama3('llama-3.1-8b', [32, 4096, 32, 8, 128, 14336, 128256, 131072], 8, false),
  llama3('llama-3.3-70b', [80, 8192, 64, 8, 128, 28672, 128256, 131072], 8, false),
  llama3('llama-3.2-1b', [16, 2048, 32, 8, 64, 8192, 128256, 131072], 32, true),
  llama3('llama-3.2-3b', [28, 3072, 24, 8, 128, 8192, 128256, 131072], 32, true),
  llama3('deepseek-r1-distill-llama-8b', [32, 4096, 32, 8, 128, 14336, 128256, 131072], 8, false),
  llama3('deepseek-r1-distill-llama-70b', [80, 8192, 64, 8, 128, 28672, 128256, 131072], 8, false),
  smollm2('smollm2-135m', [30, 576, 9, 3, 64, 1536, 49152, 8192], 100_000),
  smollm2('smollm2-360m', [32, 960, 15, 5, 64, 2560, 49152, 8192], 100_000),
  smollm2('smollm2-1.7b', [24, 2048, 32, 32, 64, 8192, 49152, 8192], 130_000),
  mistral('mistral-7b-v0.3', [32, 4096, 32, 8, 128, 14336, 32768, 32768], 1e6),
  mistral('mistral-small-24b', [40, 5120, 32, 8, 128, 32768, 131072, 131072], 1e9),
  shape('mixtral-8x7b', 'llama', [32, 4096, 32, 8, 128, 14336, 32000, 32768], {
    experts: 8,
    expertsUsed: 2,
    ropeBase: 1e6,
  }),
  qwen2('qwen2.5-0.5b', [24, 896, 14, 2, 64, 4864, 151936, 32768], true),
  qwen2('qwen2.5-1.5b', [28, 1536, 12, 2, 128, 8960, 151936, 131072], true),
  qwen2('qwen2.5-3b', [36, 2048, 16, 2, 128, 11008, 151936, 32768], true),
  qwen2('qwen2.5-7b', [28, 3584, 28, 4, 128, 18944, 152064, 131072], false),
  qwen2('qwen2.5-14b', [48, 5120, 40, 8, 128, 13824, 152064, 131072], false),
  qwen2('qwen2.5-32b', [64, 5120, 40, 8, 128, 27648, 152064, 131072], false),
  qwen2('qwen2.5-72b', [80, 8192, 64, 8, 128, 29568, 152064, 131072], false),
  qwen2('deepseek-r1-distill-qwen-1.5b', [28, 1536, 12, 2, 128, 8960, 151936, 131072], false),
  qwen2('deepseek-r1-distill-qwen-7b', [28, 3584, 28, 4, 128, 18944, 152064, 131072], false),
  qwen2('deepseek-r1-distill-qwen-14b', [48, 5120, 40, 8, 128, 13824, 152064, 131072], false),
  qwen2('deepseek-r1-distill-qwen-32b', [64, 5120, 40, 8, 128, 27648, 152064, 131072], false),
  qwen3('qwen3-0.6b', [28, 1024, 16, 8, 128, 3072, 151936, 40960], true),
  qwen3('qwen3-1.7b', [28, 2048, 16, 8, 128, 6144, 151936, 40960], true),
  qwen3('qwen3-4b', [36, 2560, 32, 8, 128, 9728, 151936, 40960], true),
  qwen3('qwen3-8b', [36, 4096, 32, 8, 128, 12288, 151936, 40960], false),
  qwen3('qwen3-14b', [40, 5120, 40, 8, 128, 17408, 151936, 40960], false),
  qwen3('qwen3-32b', [64, 5120, 64, 8, 128, 25600, 151936, 40960], false),
  shape('qwen3-30b-a3b', 'qwen3moe', [48, 2048, 32, 4, 128, 768, 151936, 40960], {
    experts: 128,
    expertsUsed: 8,
    ropeBase: 1e6,
  }),
  gptOss('gpt-oss-20b', [24, 2880, 64, 8, 64, 2880, 201088, 131072], 32),
  gptOss('gpt-oss-120b', [36, 2880, 64, 8, 64, 2880, 201088, 131072], 128),
  gemma3('gemma-3-270m', [18, 640, 4, 1, 256, 2048, 262144, 32768], 512, 1),
  gemma3('gemma-3-1b', [26, 1152, 4, 1, 256, 6912, 262144, 32768], 512, 1),
  gemma3('gemma-3-4b', [34, 2560, 8, 4, 256, 10240, 262144, 131072], 1024, 8),
  gemma3('gemma-3-12b', [48, 3840, 16, 8, 256, 15360, 262144, 131072], 1024, 8),
  gemma3('gemma-3-27b', [62, 5376, 32, 16, 128, 21504, 262144, 131072], 1024, 8),
  bert('all-minilm-l6-v2', [6, 384, 12, 12, 32, 1536, 30522, 512], 'mean'),
  bert('bge-small-en-v1.5', [12, 384, 12, 12, 32, 1536, 30522, 512], 'cls'),
  bert('bge-base-en-v1.5', [12, 768, 12, 12, 64, 3072, 30522, 512], 'cls'),
  bert('bge-large-en-v1.5', [24, 1024, 16, 16, 64, 4096, 30522, 512], 'cls'),
];

const fixture = (base: SynthShape, more: Partial<SynthShape> = {}): SynthShape => ({
  ...base,
  fixture: true,
  defaultQuant: 'f32',
  ...more,
});

// Widths are multiples of 32, the block of most quantisations and of GPU kernels; a fixture for
// 256-element blocks is `small`. About 1 MB each, a few milliseconds per token on one core.
const FIXTURES: readonly SynthShape[] = [
  fixture(llama2('tiny', [4, 64, 4, 2, 32, 192, 512, 8192])),
  fixture(llama2('small', [8, 256, 8, 4, 32, 768, 4096, 8192]), { defaultQuant: 'q8_0' }),
  fixture(llama3('tiny-tied', [3, 64, 4, 2, 32, 192, 512, 8192], 8, true)),
  fixture(
    shape('tiny-moe', 'llama', [2, 64, 4, 2, 32, 96, 512, 8192], { experts: 4, expertsUsed: 2 }),
  ),
  fixture(qwen2('tiny-qwen2', [3, 64, 2, 1, 32, 192, 512, 8192], false)),
  fixture(qwen3('tiny-qwen3', [3, 64, 4, 2, 32, 192, 512, 8192], false)),
  fixture(
    shape('tiny-qwen3moe', 'qwen3moe', [2, 64, 4, 2, 32, 64, 512, 8192], {
      experts: 8,
      expertsUsed: 2,
    }),
  ),
  fixture(gemma3('tiny-swa', [6, 64, 4, 2, 32, 192, 512, 8192], 64, 1)),
  fixture(gptOss('tiny-gpt-oss', [2, 64, 4, 2, 32, 64, 512, 8192], 4), { expertsUsed: 2 }),
  fixture(bert('tiny-bert', [2, 64, 2, 2, 32, 192, 1024, 512], 'mean')),
];

// Of no published model, but of such sizes that a machine is measured on them within seconds: more
// weights than a cache holds, rows that every quantisation divides, little vocabulary.
const PROBES: readonly SynthShape[] = [
  llama2('probe-dense', [10, 1024, 16, 4, 64, 2816, 8192, 8192]),
  llama2('probe-narrow', [24, 512, 8, 2, 64, 1536, 8192, 8192]),
  // As wide, but with rows of results that are no whole pages of 4 KiB.
  llama2('probe-offset', [2, 4352, 34, 2, 128, 14592, 16384, 8192]),
  llama2('probe-wide', [2, 4096, 32, 8, 128, 14336, 16384, 8192]),
  shape('probe-moe', 'qwen3moe', [8, 768, 12, 4, 64, 512, 8192, 8192], {
    experts: 32,
    expertsUsed: 4,
  }),
  shape('probe-moe-few', 'qwen3moe', [4, 1280, 20, 4, 64, 2048, 8192, 8192], {
    experts: 8,
    expertsUsed: 2,
  }),
  shape('probe-moe-wide', 'llama', [10, 1024, 16, 8, 64, 1536, 16384, 8192], {
    experts: 8,
    expertsUsed: 2,
  }),
];

const byName = new Map([...PUBLISHED, ...PROBES, ...FIXTURES].map((known) => [known.name, known]));

/** Every shape: the published ones, those to measure with, then the fixtures. */
export const SHAPES: readonly SynthShape[] = [...PUBLISHED, ...PROBES, ...FIXTURES];

/** The shape called `name`, in lower case; undefined when there is none. */
export const shapeByName = (name: string): SynthShape | undefined => byName.get(name);
