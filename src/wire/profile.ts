/**
 * The profile of a machine: what `plenum measure` found of it, as it is stored and as a host gets
 * it. Rates are of this machine with this engine and so many threads, and of nothing else.
 */
import { z } from 'zod';

/** Raised whenever a field changes its meaning; older profiles are measured anew. */
export const PROFILE_SCHEMA = 4;

const positive = z.number().positive();
const share = z.number().positive();

/** By kind of weight; planner/model-cost.ts says which type is of which kind. */
const byKind = z.strictObject({
  float: share,
  q8: share,
  q4: share,
  k: share,
  k6: share,
  mx: share,
});
const kind = z.enum(['float', 'q8', 'q4', 'k', 'k6', 'mx']);

const identity = z.strictObject({
  platform: z.string().min(1),
  arch: z.string().min(1),
  /** `AMD EPYC`, as the system names it. */
  cpu: z.string().min(1),
  cores: z.int().positive(),
  /** Of all memory. */
  ramBytes: positive,
});

export type MachineIdentity = z.output<typeof identity>;

/** Parameters of the step-cost model; planner/speed-params.ts says what each means. */
const params = z.strictObject({
  readShare: byKind,
  kernelMicros: z.number().nonnegative(),
  elementNanos: z.number().nonnegative(),
  softness: z.number().min(1),
  oneRowKernels: z.boolean(),
  vectorShare: byKind,
  matrixShare: byKind,
  paddingByKind: byKind,
  pagedFactor: z.number().min(1),
  /** Null where no mixture of experts was measured. */
  expertShare: byKind.nullable(),
  expertPadding: z.number().nonnegative(),
  routingMicros: z.number().nonnegative(),
  attention: z.strictObject({
    cacheShare: share,
    attentionShare: share,
    rowShare: share,
    /** Null where kernels skip cells that are masked. */
    blockCells: z.int().positive().nullable(),
  }),
});

/** How the engine computed; steps of another way take other times. */
const kernels = z.strictObject({
  /** The build of the library for this kind of processor: `haswell`; null on a GPU. */
  library: z.string().min(1).nullable(),
  /** `split`: every sequence has a KV cache of its own. */
  layout: z.enum(['unified', 'split']),
  attention: z.enum(['plain', 'flash']),
  /** Tokens computed at once (n_ubatch). */
  ubatchTokens: z.int().positive(),
});

const step = z.strictObject({
  model: z.string(),
  sequences: z.int().positive(),
  tokensEach: z.int().positive(),
  depth: z.int().nonnegative(),
  outputs: z.int().nonnegative(),
  /** Mean of the middle half of the repetitions. */
  measuredMs: positive,
  /** Distance of the quartiles, in percent of the median. */
  spreadPct: z.number().nonnegative(),
  repetitions: z.int().positive(),
  predictedMs: positive,
});

export type ProfileStep = z.output<typeof step>;

export const machineProfileSchema = z.strictObject({
  schema: z.literal(PROFILE_SCHEMA),
  machine: identity,
  /** `llama v0.4.0`. */
  engine: z.string().min(1),
  /** What computed, as the engine says it. */
  device: z.string().min(1),
  compute: z.enum(['cpu', 'gpu']),
  threads: z.int().positive(),
  kernels,
  /** ISO 8601. */
  measuredAt: z.iso.datetime(),
  /** Of a streaming read by so many threads. */
  bandwidth: z.strictObject({ bytesPerSecond: positive, spreadPct: z.number().nonnegative() }),
  /** Of the best step; shares of rates relate to it. */
  opsPerSecond: positive,
  params,
  /** Kinds of weights that were measured; the others have the values of their nearest. */
  kinds: z.array(kind).min(1),
  expertKinds: z.array(kind),
  /** Root mean square of the relative residuals, in percent. */
  errorPct: z.strictObject({ decode: z.number(), prefill: z.number() }),
  steps: z.array(step).min(1),
});

export type MachineProfile = z.output<typeof machineProfileSchema>;
