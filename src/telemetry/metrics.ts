/**
 * The Prometheus registry. Requests are counted as they end; what hosts report of themselves is
 * sampled at scrape time. Label values come from bounded sets: served model ids, outcome labels,
 * route patterns. Whoever calls must not pass a client's own words as a label.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What the pool says of bytes. */
export interface PoolSample {
  readonly availableBytes: number;
  readonly reservedBytes: number;
  readonly measuredBytes: number;
  readonly pausedBy: string | null;
  readonly models: readonly {
    readonly id: string;
    readonly neededBytes: number;
    readonly reservedBytes: number;
    readonly measuredBytes: number | null;
    readonly mispredicted: 'above' | 'below' | null;
    readonly loads: number;
    readonly waiting: number;
  }[];
}

/** What one model's host says, in the units of its load report. */
export interface ModelSample {
  readonly model: string;
  readonly ready: boolean;
  readonly restarts: number;
  readonly report: ReportSample | null;
}

export interface ReportSample {
  readonly waiting: number;
  readonly running: number;
  readonly predictedWaitMs: number;
  readonly cells: { readonly free: number; readonly cached: number; readonly held: number };
  readonly steps: {
    readonly count: number;
    readonly predictedMsSum: number;
    readonly measuredMsSum: number;
    readonly overheadMsSum: number;
    readonly ratio: number;
  };
  readonly preemptions: number;
  readonly memory: { readonly rssBytes: number };
}

export interface EndedRequest {
  readonly model: string;
  /** `outcomeLabel()` of the request's outcome. */
  readonly outcome: string;
  readonly queueMs: number | null;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** The model label of a request that named no served model. */
export const NO_MODEL = 'unknown';

const TTFT_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10, 20, 40, 80, 160];
const ITL_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.4, 0.8, 2, 5,
];
const MISPREDICTED = { above: 1, below: -1, no: 0 } as const;
const WAIT_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export class Metrics {
  readonly #registry = new Registry();
  readonly #lastSeen = new Map<Counter, Map<string, number>>();
  #sampler: (() => readonly ModelSample[]) | null = null;
  #poolSampler: (() => PoolSample) | null = null;

  readonly #requests = this.#counter('requests_total', 'Requests by outcome.', [
    'model',
    'outcome',
  ]);
  readonly #responses = this.#counter('http_responses_total', 'HTTP responses.', [
    'route',
    'method',
    'status',
  ]);
  readonly #promptTokens = this.#counter(
    'prompt_tokens_total',
    'Prompt tokens by where they came from.',
    ['model', 'source'],
  );
  readonly #generatedTokens = this.#counter('generated_tokens_total', 'Generated tokens.', [
    'model',
  ]);
  readonly #ttft = this.#histogram(
    'ttft_seconds',
    'From arrival at the front door to the first token.',
    TTFT_SECONDS,
  );
  readonly #interToken = this.#histogram(
    'inter_token_seconds',
    'Between tokens of one sequence, as the front door sees them; the mean within a delta.',
    ITL_SECONDS,
  );
  readonly #queueWait = this.#histogram(
    'queue_wait_seconds',
    'From arrival at the host to the first step that computes the request.',
    WAIT_SECONDS,
  );
  readonly #guardVerdicts = this.#counter(
    'guard_verdicts_total',
    'Judgements of guards in the path.',
    ['model', 'guard', 'stage', 'verdict'],
  );
  readonly #guardHold = this.#histogram(
    'guard_hold_seconds',
    'How long output was held until a guard had judged it, per release.',
    WAIT_SECONDS,
  );
  readonly #ready = this.#gauge('model_ready', '1 when the model answers.', ['model']);
  readonly #waiting = this.#gauge('requests_waiting', 'Accepted and not running.', ['model']);
  readonly #running = this.#gauge('requests_running', 'Being computed.', ['model']);
  readonly #predictedWait = this.#gauge(
    'predicted_wait_seconds',
    'Predicted wait of a request that arrived now.',
    ['model'],
  );
  readonly #cells = this.#gauge('kv_cells', 'KV cells by state.', ['model', 'state']);
  readonly #steps = this.#counter('steps_total', 'Engine steps.', ['model']);
  readonly #stepSeconds = this.#counter(
    'step_seconds_total',
    'Time of engine steps: predicted, measured, and the loop’s own overhead.',
    ['model', 'kind'],
  );
  readonly #stepRatio = this.#gauge(
    'step_time_ratio',
    'Measured over predicted time of the latest steps, smoothed; 1 = as predicted.',
    ['model'],
  );
  readonly #preemptions = this.#counter(
    'preemptions_total',
    'Sequences recomputed for want of cells.',
    ['model'],
  );
  readonly #restarts = this.#counter('host_restarts_total', 'Restarts of a model’s host.', [
    'model',
  ]);
  readonly #resident = this.#gauge('process_resident_bytes', 'Resident memory by process.', [
    'process',
  ]);
  readonly #dropped = this.#counter(
    'connections_dropped_total',
    'Connections closed as they came, because the limit was reached.',
    [],
  );
  readonly #openRequests = this.#gauge('open_requests', 'Requests that the front door holds.', []);

  readonly #hostBytes = this.#gauge(
    'host_bytes',
    'Memory of a model’s host: predicted before its load, reserved of the pool, measured.',
    ['model', 'kind'],
  );
  readonly #bytesRatio = this.#gauge(
    'host_bytes_ratio',
    'Measured over predicted bytes of a host; 1 = as predicted, less: shared or not used yet too.',
    ['model'],
  );
  readonly #mispredicted = this.#gauge(
    'host_bytes_mispredicted',
    'Past 5 %: 1 = a host has more than predicted, -1 = less than what it has used must take.',
    ['model'],
  );
  readonly #poolBytes = this.#gauge('pool_bytes', 'Memory for models of this machine.', ['kind']);
  readonly #poolPaused = this.#gauge(
    'pool_paused',
    '1 while nothing is loaded because the system is short of memory.',
    [],
  );
  readonly #loads = this.#counter('model_loads_total', 'Times that a model was loaded.', ['model']);
  readonly #arriving = this.#gauge('requests_loading', 'Waiting until their model is loaded.', [
    'model',
  ]);

  constructor(version: string) {
    this.#gauge('build_info', 'Always 1; the version is a label.', ['version']).set({ version }, 1);
  }

  /** Whom to ask for the hosts' reports at each scrape. */
  sampleFrom(sampler: () => readonly ModelSample[]): void {
    this.#sampler = sampler;
  }

  /** Whom to ask for the pool's books at each scrape. */
  samplePoolFrom(sampler: () => PoolSample): void {
    this.#poolSampler = sampler;
  }

  requestEnded(request: EndedRequest): void {
    const { model, outcome } = request;
    this.#requests.inc({ model, outcome });
    if (request.queueMs !== null) this.#queueWait.observe({ model }, request.queueMs / 1000);
    const computed = request.promptTokens - request.cachedTokens;
    if (request.cachedTokens > 0) {
      this.#promptTokens.inc({ model, source: 'cached' }, request.cachedTokens);
    }
    if (computed > 0) this.#promptTokens.inc({ model, source: 'computed' }, computed);
    if (request.completionTokens > 0) {
      this.#generatedTokens.inc({ model }, request.completionTokens);
    }
  }

  responseSent(response: {
    readonly route: string;
    readonly method: string;
    readonly status: number;
  }): void {
    const { route, method, status } = response;
    this.#responses.inc({ route, method, status });
  }

  ttft(model: string, ms: number): void {
    this.#ttft.observe({ model }, ms / 1000);
  }

  interToken(model: string, ms: number): void {
    this.#interToken.observe({ model }, ms / 1000);
  }

  guardVerdict(judged: {
    readonly model: string;
    readonly guard: string;
    readonly stage: 'input' | 'output';
    readonly verdict: 'clean' | 'flagged' | 'unavailable';
  }): void {
    const { model, guard, stage, verdict } = judged;
    this.#guardVerdicts.inc({ model, guard, stage, verdict });
  }

  guardHold(model: string, ms: number): void {
    this.#guardHold.observe({ model }, ms / 1000);
  }

  openRequests(count: number): void {
    this.#openRequests.set(count);
  }

  connectionDropped(): void {
    this.#dropped.inc();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The page of a scrape, in Prometheus' text format. */
  async text(): Promise<string> {
    this.#resident.reset();
    this.#resident.set({ process: 'front' }, process.memoryUsage.rss());
    this.#sample(this.#sampler?.() ?? []);
    const pool = this.#poolSampler?.();
    if (pool !== undefined) this.#samplePool(pool);
    return this.#registry.metrics();
  }

  #samplePool({
    availableBytes,
    reservedBytes,
    measuredBytes,
    pausedBy,
    models,
  }: PoolSample): void {
    this.#poolBytes.set({ kind: 'available' }, availableBytes);
    this.#poolBytes.set({ kind: 'reserved' }, reservedBytes);
    this.#poolBytes.set({ kind: 'measured' }, measuredBytes);
    this.#poolPaused.set(pausedBy === null ? 0 : 1);
    this.#hostBytes.reset();
    this.#bytesRatio.reset();
    this.#mispredicted.reset();
    for (const { id: model, ...bytes } of models) {
      this.#hostBytes.set({ model, kind: 'predicted' }, bytes.neededBytes);
      this.#hostBytes.set({ model, kind: 'reserved' }, bytes.reservedBytes);
      this.#arriving.set({ model }, bytes.waiting);
      this.#grow(this.#loads, { model }, bytes.loads);
      if (bytes.measuredBytes === null) continue;
      this.#hostBytes.set({ model, kind: 'measured' }, bytes.measuredBytes);
      this.#mispredicted.set({ model }, MISPREDICTED[bytes.mispredicted ?? 'no']);
      if (bytes.neededBytes > 0) {
        this.#bytesRatio.set({ model }, bytes.measuredBytes / bytes.neededBytes);
      }
    }
  }

  #sample(samples: readonly ModelSample[]): void {
    for (const gauge of [
      this.#ready,
      this.#waiting,
      this.#running,
      this.#predictedWait,
      this.#cells,
      this.#stepRatio,
    ]) {
      gauge.reset();
    }
    for (const sample of samples) {
      const { model, report } = sample;
      this.#ready.set({ model }, sample.ready ? 1 : 0);
      this.#grow(this.#restarts, { model }, sample.restarts);
      if (report !== null) this.#sampleReport(model, report);
    }
  }

  #sampleReport(model: string, report: ReportSample): void {
    this.#waiting.set({ model }, report.waiting);
    this.#running.set({ model }, report.running);
    this.#predictedWait.set({ model }, report.predictedWaitMs / 1000);
    this.#cells.set({ model, state: 'free' }, report.cells.free);
    this.#cells.set({ model, state: 'cached' }, report.cells.cached);
    this.#cells.set({ model, state: 'held' }, report.cells.held);
    this.#stepRatio.set({ model }, report.steps.ratio);
    this.#resident.set({ process: model }, report.memory.rssBytes);
    this.#grow(this.#steps, { model }, report.steps.count);
    this.#grow(this.#preemptions, { model }, report.preemptions);
    const { predictedMsSum, measuredMsSum, overheadMsSum } = report.steps;
    this.#grow(this.#stepSeconds, { model, kind: 'predicted' }, predictedMsSum / 1000);
    this.#grow(this.#stepSeconds, { model, kind: 'measured' }, measuredMsSum / 1000);
    this.#grow(this.#stepSeconds, { model, kind: 'overhead' }, overheadMsSum / 1000);
  }

  /** Follows a counter that starts again at zero when its host does. */
  #grow(counter: Counter, labels: Readonly<Record<string, string>>, value: number): void {
    const seen = this.#lastSeen.get(counter) ?? new Map<string, number>();
    this.#lastSeen.set(counter, seen);
    const key = Object.values(labels).join(' ');
    const before = seen.get(key) ?? 0;
    seen.set(key, value);
    counter.inc(labels, value >= before ? value - before : value);
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name: `plenum_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name: `plenum_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({
      name: `plenum_${name}`,
      help,
      labelNames: ['model'],
      buckets,
      registers: [this.#registry],
    });
  }
}
