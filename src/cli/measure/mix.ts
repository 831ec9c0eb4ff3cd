/**
 * What is measured when nothing is named: small synthetic models whose weights are of each kind
 * that kernels tell apart, wide and narrow dense ones and mixtures of experts, all larger than a
 * cache; and which steps of each. Constants only.
 */
import { type StepPoint, stepPoint as step } from './messages.ts';

export interface MixEntry {
  /** As `synth` takes it. */
  readonly spec: string;
  readonly points: readonly StepPoint[];
}

/** Matrices: one row, the few rows of streams, a small and a large piece of a prompt. */
const MATRICES = [step(1, 1, 0), step(2, 1, 0), step(4, 1, 0), step(8, 1, 0), step(1, 16, 0)];
const PROMPT = step(1, 128, 0);
const PROMPTS = [PROMPT, step(4, 32, 0)];
/** Attention: by rows and in tiles, of one sequence and of several. */
const ATTENTION = [step(4, 1, 256), step(1, 1, 600), step(1, 64, 600)];

const ALL = [...MATRICES, ...PROMPTS];
/**
 * How many experts a few tokens touch is a matter of chance, and of what a router likes; of one and
 * of many it is known.
 */
const EXPERTS = ALL.filter(({ sequences, tokensEach }) => {
  const tokens = sequences * tokensEach;
  return tokens === 1 || tokens > 4;
});
/** Of a model that a person names, too. */
export const WHOLE = [...ALL, ...ATTENTION];
const FEW = [step(1, 1, 0), step(4, 1, 0), step(8, 1, 0), PROMPT];

export const STANDARD_MIX: readonly MixEntry[] = [
  { spec: 'probe-dense@f16', points: ALL },
  { spec: 'probe-dense@q8_0', points: WHOLE },
  { spec: 'probe-dense@q4_0', points: ALL },
  { spec: 'probe-dense@q4_k_m', points: ALL },
  { spec: 'probe-dense@q6_k', points: ALL },
  { spec: 'probe-narrow@q8_0', points: ALL },
  { spec: 'probe-narrow@q4_0', points: WHOLE },
  { spec: 'probe-wide@q8_0', points: ALL },
  { spec: 'probe-wide@q4_k_m', points: ALL },
  { spec: 'probe-offset@q8_0', points: ALL },
  { spec: 'probe-offset@q4_0', points: ALL },
  { spec: 'probe-moe@q8_0', points: EXPERTS },
  { spec: 'probe-moe@q4_0', points: EXPERTS },
  { spec: 'probe-moe@q4_k_m', points: EXPERTS },
  { spec: 'probe-moe-few@q8_0', points: EXPERTS },
];

export const QUICK_MIX: readonly MixEntry[] = [
  { spec: 'probe-dense@q8_0', points: [...FEW, ...ATTENTION] },
  { spec: 'probe-dense@q4_k_m', points: FEW },
  { spec: 'probe-narrow@q8_0', points: FEW },
  { spec: 'probe-moe@q4_k_m', points: FEW },
];

/** Times that every model has its turn, and repetitions of each step in a turn. */
export const STANDARD_EFFORT = { rounds: 4, repeats: 1 } as const;
export const QUICK_EFFORT = { rounds: 2, repeats: 1 } as const;
