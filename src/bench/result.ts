/**
 * The report of a benchmark: every shape of the JSON that `plenum bench --json` writes and that
 * statistics, comparisons and pages read. Schema and type together; unknown keys of a later version
 * are kept out, `version` says which one it is. It computes nothing.
 *
 * Times: `…Ms` of a record, a sample or an event are milliseconds after `startedAt` of their run,
 * rounded to a microsecond. What was not seen is null, never 0.
 */
import { z } from 'zod';

const ms = z.number();
const count = z.int().nonnegative();

/** Why a request has no good answer. `docs/bench.md` explains each. */
export const ERROR_KINDS = [
  'connect_failed',
  'connection_lost',
  'no_answer',
  'stalled',
  'too_long',
  'endless',
  'rate_limited',
  'overloaded',
  'http_error',
  'wrong_content_type',
  'garbage',
  'error_event',
  'ended_early',
  'empty',
  'client',
] as const;
export const errorKindSchema = z.enum(ERROR_KINDS);
export type ErrorKind = z.infer<typeof errorKindSchema>;

export const SCENARIOS = ['chat', 'rag', 'agent', 'batch', 'embed', 'rerank', 'mixed'] as const;
export const scenarioNameSchema = z.enum(SCENARIOS);
export type ScenarioName = z.infer<typeof scenarioNameSchema>;

/** What a request asks for. `chat` and `completion` stream tokens, the others answer at once. */
export const requestKindSchema = z.enum(['chat', 'completion', 'embed', 'rerank']);
export type RequestKind = z.infer<typeof requestKindSchema>;

export const recordSchema = z.object({
  /** Place in the seeded list of requests: the same index is the same request at every target. */
  index: count,
  kind: requestKindSchema,
  /** Conversation and turn of it, both from 0; null where requests are independent. */
  conversation: count.nullable(),
  turn: count.nullable(),
  /** When the load wanted it sent. TTFT and end-to-end count from here. */
  intendedMs: ms,
  /** When its bytes were handed to the socket; later than intended only if the client was late. */
  sentMs: ms,
  headersMs: ms.nullable(),
  /** The first piece of text, reasoning or tool call; not a chunk that has only a role. */
  firstTokenMs: ms.nullable(),
  endMs: ms,
  promptTokens: count.nullable(),
  cachedTokens: count.nullable(),
  outputTokens: count.nullable(),
  /** `usage`: the server said so; `chunks`: one token was counted for each piece of text. */
  outputTokensFrom: z.enum(['usage', 'chunks']).nullable(),
  /** Pieces of text that arrived; fewer than tokens where a server sends several at once. */
  chunks: count,
  /** Times between pieces (chunks - 1 of them); null for what does not stream or was too much. */
  gapsMs: z.array(ms).nullable(),
  gapMaxMs: ms.nullable(),
  /** `aborted`: the bench ended while it was on its way; neither good nor an error. */
  outcome: z.enum(['ok', 'error', 'aborted']),
  finish: z.string().nullable(),
  error: z
    .object({ kind: errorKindSchema, message: z.string(), status: z.int().nullable() })
    .nullable(),
  /** Of a refusal: what Retry-After said. */
  retryAfterMs: ms.nullable(),
});
export type RequestRecord = z.infer<typeof recordSchema>;

/** The state of a run at one moment; counts are since its start. */
export const timelineSampleSchema = z.object({
  atMs: ms,
  inFlight: count,
  completed: count,
  errors: count,
  outputTokens: count,
});
export type TimelineSample = z.infer<typeof timelineSampleSchema>;

export const resourcesSchema = z.object({
  /** What memory means here: proportional set size (Linux), physical footprint (macOS), or RSS. */
  memoryMethod: z.enum(['pss', 'footprint', 'rss']),
  memoryPeakBytes: z.number(),
  memoryMeanBytes: z.number(),
  /** Processor time of the whole process tree during the run. */
  cpuMs: ms,
  processes: count,
  samples: z.array(z.object({ atMs: ms, cpuMs: ms, memoryBytes: z.number() })),
});
export type Resources = z.infer<typeof resourcesSchema>;

const delaySchema = z.object({ p50: ms, p99: ms, max: ms });
export type Delay = z.infer<typeof delaySchema>;

/** The measuring client itself: what it added, and whether it was what was measured. */
export const clientHealthSchema = z.object({
  cpuMs: ms,
  wallMs: ms,
  /** Delay of the client's event loop. */
  loopMs: delaySchema,
  /** From the moment that bytes were read from a socket until all of them were parsed. */
  parseMs: delaySchema,
  /** How much later than intended requests were sent. */
  lateMs: delaySchema,
  bottleneck: z.boolean(),
  reasons: z.array(z.string()),
});
export type ClientHealth = z.infer<typeof clientHealthSchema>;

export const energySchema = z.object({
  joules: z.number(),
  wattsMean: z.number(),
  /** Measured by a meter, or modelled from the processor's use; a page must say which. */
  source: z.enum(['measured', 'modelled']),
  /** `rapl`, `macmon`, `nvidia-smi`, … or the name of the model. */
  meter: z.string(),
});
export type Energy = z.infer<typeof energySchema>;

/** One value of a sweep: `rate` in requests per second or `clients` at once. */
export const pointSchema = z.object({ axis: z.enum(['rate', 'clients']), value: z.number() });
export type SweepPoint = z.infer<typeof pointSchema>;

/** One repetition of one target at one point. */
export const runSchema = z.object({
  target: z.string(),
  /** From 1. Runs of one repetition lie next to each other in time: they are pairs. */
  repetition: z.int().positive(),
  /** Place in the order in which all runs were made, from 0. */
  order: count,
  point: pointSchema.nullable(),
  startedAt: z.iso.datetime(),
  /** From the start until the last request ended: the divisor of every rate. */
  wallMs: ms,
  /** The warm-up before it: not in `records`, and in no statistic of the run. */
  warmup: z.array(recordSchema),
  records: z.array(recordSchema),
  timeline: z.array(timelineSampleSchema),
  resources: resourcesSchema.nullable(),
  client: clientHealthSchema,
  energy: energySchema.nullable(),
  /** SHA-256 over the requests as planned: equal for all targets of a repetition. */
  requestsSha256: z.string(),
  /** False where the client was the bottleneck, the run was cut off or the server fell away. */
  valid: z.boolean(),
  notes: z.array(z.string()),
});
export type Run = z.infer<typeof runSchema>;

export const coldStartSchema = z.object({
  /** From starting the process until it said that it is ready. */
  readyMs: ms,
  /** The first request that it ever got; its times are milliseconds after it was sent. */
  first: recordSchema.nullable(),
});
export type ColdStart = z.infer<typeof coldStartSchema>;

export const targetSchema = z.object({
  name: z.string(),
  url: z.string(),
  origin: z.enum(['external', 'spawned']),
  /** The command of a spawned one, as given. */
  command: z.string().nullable(),
  model: z.string().nullable(),
  /** What it says that it is (Server header, version endpoint); null if it does not say. */
  server: z.string().nullable(),
  /** How prompts were made to their length. */
  tokenizer: z.enum(['plenum', 'llama-server', 'calibrated', 'none']),
  /** One for each start of a spawned server. */
  coldStarts: z.array(coldStartSchema),
  quirks: z.array(z.string()),
});
export type Target = z.infer<typeof targetSchema>;

export const machineSchema = z.object({
  os: z.string(),
  arch: z.string(),
  cpu: z.string(),
  cores: count,
  memoryBytes: z.number(),
  gpu: z.string().nullable(),
});
export type Machine = z.infer<typeof machineSchema>;

export const loadSchema = z.discriminatedUnion('mode', [
  z.object({
    mode: z.literal('open'),
    /** Requests per second; null where a file gave the arrivals. */
    rate: z.number().nullable(),
    arrivals: z.enum(['poisson', 'file']),
  }),
  z.object({ mode: z.literal('closed'), clients: z.int().positive() }),
]);
export type Load = z.infer<typeof loadSchema>;

/** Goodput counts requests that keep all of these; milliseconds. */
export const sloSchema = z.object({
  ttft: ms.optional(),
  /** Mean time per token after the first of one request. */
  itl: ms.optional(),
  /** Worst gap within one request. */
  gap: ms.optional(),
  e2e: ms.optional(),
});
export type Slo = z.infer<typeof sloSchema>;

export const setupSchema = z.object({
  machine: machineSchema,
  versions: z.object({ plenum: z.string(), node: z.string() }),
  seed: z.int(),
  scenario: z.object({
    name: scenarioNameSchema,
    /** In words, for a page: "chat, 4 turns, …". */
    description: z.string(),
    /** Lengths and counts as used, by name. */
    settings: z.record(z.string(), z.union([z.number(), z.string(), z.boolean(), z.null()])),
  }),
  load: loadSchema,
  slo: sloSchema.nullable(),
  repetitions: z.int().positive(),
  durationMs: ms.nullable(),
  requests: z.int().positive().nullable(),
  warmupRequests: count,
  /** The command line, without secrets. */
  command: z.array(z.string()),
});
export type Setup = z.infer<typeof setupSchema>;

/**
 * Every number that is summarised. `of: request` are distributions over the good requests of a run
 * (`itl`: over all gaps), `of: run` are one number for each run.
 */
export const METRICS = {
  ttft: { unit: 'ms', better: 'lower', of: 'request', title: 'time to first token' },
  itl: { unit: 'ms', better: 'lower', of: 'request', title: 'inter-token latency' },
  gap: { unit: 'ms', better: 'lower', of: 'request', title: 'worst gap of a request' },
  tpot: { unit: 'ms', better: 'lower', of: 'request', title: 'mean time per output token' },
  e2e: { unit: 'ms', better: 'lower', of: 'request', title: 'end to end' },
  outputRate: { unit: 'tok/s', better: 'higher', of: 'run', title: 'output tokens per second' },
  inputRate: { unit: 'tok/s', better: 'higher', of: 'run', title: 'prompt tokens per second' },
  requestRate: { unit: 'req/s', better: 'higher', of: 'run', title: 'requests per second' },
  goodput: {
    unit: 'req/s',
    better: 'higher',
    of: 'run',
    title: 'requests within the SLO per second',
  },
  errorShare: { unit: 'share', better: 'lower', of: 'run', title: 'share of failed requests' },
  cachedShare: {
    unit: 'share',
    better: 'higher',
    of: 'run',
    title: 'share of prompt tokens cached',
  },
  memoryPeak: { unit: 'B', better: 'lower', of: 'run', title: 'peak memory' },
  cpuShare: { unit: 'cores', better: 'lower', of: 'run', title: 'processor use' },
} as const satisfies Record<
  string,
  { unit: string; better: 'lower' | 'higher'; of: 'request' | 'run'; title: string }
>;
export type MetricName = keyof typeof METRICS;
export const METRIC_NAMES = Object.keys(METRICS) as MetricName[];
export const metricNameSchema = z.enum(METRIC_NAMES);

/** `value` for metrics of a run, the others for distributions. */
export const STATISTICS = ['mean', 'p50', 'p90', 'p95', 'p99', 'max', 'value'] as const;
export const statisticSchema = z.enum(STATISTICS);
export type Statistic = z.infer<typeof statisticSchema>;

export const estimateSchema = z.object({
  metric: metricNameSchema,
  statistic: statisticSchema,
  /** Over all valid runs; null where nothing was measured. */
  value: z.number().nullable(),
  /** Confidence interval over repetitions; null with fewer than two of them. */
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** One for each valid run, in the order of repetitions; null where that run has none. */
  perRun: z.array(z.number().nullable()),
});
export type Estimate = z.infer<typeof estimateSchema>;

export const summarySchema = z.object({
  target: z.string(),
  point: pointSchema.nullable(),
  runs: count,
  invalidRuns: count,
  requests: count,
  ok: count,
  aborted: count,
  errors: z.partialRecord(errorKindSchema, count),
  estimates: z.array(estimateSchema),
});
export type Summary = z.infer<typeof summarySchema>;

export const verdictSchema = z.enum(['better', 'worse', 'indistinguishable', 'undecided']);
export type Verdict = z.infer<typeof verdictSchema>;

export const comparisonSchema = z.object({
  /** `target` is judged against `baseline`, the first target. */
  baseline: z.string(),
  target: z.string(),
  point: pointSchema.nullable(),
  metric: metricNameSchema,
  statistic: statisticSchema,
  /** target / baseline, with its confidence interval. */
  ratio: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  verdict: verdictSchema,
  sentence: z.string(),
});
export type Comparison = z.infer<typeof comparisonSchema>;

/** Where a sweep found that more load gives no more: the last point that held. */
export const kneeSchema = z.object({
  target: z.string(),
  point: pointSchema.nullable(),
  reason: z.string(),
});
export type Knee = z.infer<typeof kneeSchema>;

const tokenRateSchema = z.object({
  /** Tokens per second of all streams together; null where it was not measured. */
  measured: z.number().nullable(),
  predicted: z.number().nullable(),
  /** One standard deviation of the prediction, in percent, from the residuals of its fit. */
  errorPct: z.number().nullable(),
  /** What the machine's peak figures allow at most; null where none is known. */
  limit: z.number().nullable(),
});
export type TokenRate = z.infer<typeof tokenRateSchema>;

/** Measured rates of a target against the planner's prediction and the physical limit. */
export const predictionSchema = z.object({
  target: z.string(),
  point: pointSchema.nullable(),
  /** Streams that were served at once, on average. */
  users: z.number(),
  decode: tokenRateSchema,
  prefill: tokenRateSchema,
  /** What the prediction was made from, or why there is none. */
  basis: z.string(),
});
export type Prediction = z.infer<typeof predictionSchema>;

/** What tokens cost in energy and money; null where a figure is not known. */
export const costSchema = z.object({
  target: z.string(),
  point: pointSchema.nullable(),
  joulesPerToken: z.number().nullable(),
  wattsMean: z.number().nullable(),
  source: energySchema.shape.source.nullable(),
  meter: z.string().nullable(),
  usdPerMtok: z.number().nullable(),
  /** Of it, what the energy costs. */
  energyUsdPerMtok: z.number().nullable(),
  /** In words: what it assumes and what is missing. */
  basis: z.string(),
});
export type Cost = z.infer<typeof costSchema>;

export const REPORT_FORMAT = 'plenum-bench';
export const REPORT_VERSION = 1;

export const reportSchema = z.object({
  format: z.literal(REPORT_FORMAT),
  version: z.literal(REPORT_VERSION),
  createdAt: z.iso.datetime(),
  /** True after Ctrl-C or where a target could not be measured to the end. */
  partial: z.boolean(),
  setup: setupSchema,
  targets: z.array(targetSchema),
  runs: z.array(runSchema),
  summaries: z.array(summarySchema),
  comparisons: z.array(comparisonSchema),
  knees: z.array(kneeSchema),
  predictions: z.array(predictionSchema).optional(),
  costs: z.array(costSchema).optional(),
  notes: z.array(z.string()),
});
export type Report = z.infer<typeof reportSchema>;
