/**
 * What only the engine's source says about architectures, because no metadata key does: which
 * layers of a windowed model see everything, which models keep a state instead of a cache, which
 * are encoders. Source: src/models/*.cpp and src/llama-arch.cpp of the pinned llama.cpp release.
 */

export interface WindowRule {
  /** Of `period` layers one attends to everything: the last, or the first. 0: read from a list. */
  readonly period: number;
  readonly isFullFirst: boolean;
  /** The window where the file has no key for it; 0 for none. */
  readonly defaultTokens: number;
}

const rule = (period: number, defaultTokens = 0, isFullFirst = false): WindowRule => ({
  period,
  isFullFirst,
  defaultTokens,
});

/** Architectures not listed ignore `attention.sliding_window`. */
export const WINDOW_RULES: ReadonlyMap<string, WindowRule> = new Map([
  ['afmoe', rule(4)],
  ['cohere2', rule(4)],
  ['cohere2moe', rule(4, 0, true)],
  ['exaone-moe', rule(4, 128)],
  ['exaone4', rule(4)],
  ['gemma-embedding', rule(6)],
  ['gemma2', rule(2, 4096)],
  ['gemma3', rule(6)],
  ['gemma3n', rule(5)],
  ['gemma4', rule(0)],
  ['gpt-oss', rule(2)],
  ['granite_swa', rule(0)],
  ['laguna', rule(4, 0, true)],
  ['llama4', rule(4, 8192)],
  ['mellum', rule(4)],
  ['mimo2', rule(0)],
  ['modern-bert', rule(3, 0, true)],
  ['muse-glimmer', rule(4)],
  ['olmo2', rule(4)],
  ['plamo3', rule(8)],
  ['smallthinker', rule(4, 0, true)],
  ['step35', rule(0)],
]);

/**
 * Their last layer computes all rows, where others take out those with logits before its
 * feed-forward block (inp_out_ids in src/models of the pinned llama.cpp, which does so for these
 * only when it drafts tokens: embeddings_nextn_masked).
 */
export const ALL_ROWS: ReadonlySet<string> = new Set([
  'bailingmoe3',
  'cohere2moe',
  'gemma3n',
  'gemma4',
  'gpt-oss',
  'hy_v3',
  'nemotron_h',
  'qwen35',
  'qwen35moe',
  'qwen3next',
  'step35',
]);

/** They keep a state of fixed size and no KV cache. */
export const RECURRENT: ReadonlySet<string> = new Set([
  'mamba',
  'mamba2',
  'rwkv6',
  'rwkv6qwen2',
  'rwkv7',
  'arwkv7',
]);

/** Some layers keep a state, some a KV cache. */
export const HYBRID: ReadonlySet<string> = new Set([
  'jamba',
  'falcon-h1',
  'plamo2',
  'granitehybrid',
  'lfm2',
  'lfm2moe',
  'nemotron_h',
  'nemotron_h_moe',
  'qwen3next',
  'qwen35',
  'qwen35moe',
  'qwen4exp',
  'kimi-linear',
  'kimi-k3',
  'bailingmoe3',
  'deepseek4',
  'minimax-01',
]);

/** They see a whole text at once, have no KV cache and generate nothing. */
export const ENCODERS: ReadonlySet<string> = new Set([
  'bert',
  'modern-bert',
  'nomic-bert',
  'nomic-bert-moe',
  'neo-bert',
  'jina-bert-v2',
  'jina-bert-v3',
  'eurobert',
  'gemma-embedding',
  'llama-embed',
  't5encoder',
]);

/** llama.h, enum llama_pooling_type, by id. */
export const POOLING = ['none', 'mean', 'cls', 'last', 'rank'] as const;
export type Pooling = (typeof POOLING)[number];
