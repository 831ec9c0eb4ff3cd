/**
 * What a run says: percentiles of the time to first token and between tokens, throughput, use of
 * the machine, the queue, cached tokens, and how many requests met a target. Pure.
 */
import { PlenumError } from '../base/errors.ts';
import { type Outcome, outcomeLabel } from '../wire/outcome.ts';
import type { RequestRecord, Run } from './simulation.ts';

export interface Percentiles {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
}

/** What a request should get, and which share of requests should get it. */
export interface Target {
  /** Time to first token, from the arrival on. */
  readonly ttftMs: number | null;
  /** Mean time between two tokens of a request. */
  readonly itlMs: number | null;
  /** From above 0 to 1; refused and expired requests count as missed. */
  readonly share: number;
}

export interface LoadResult {
  readonly requests: {
    /** Those that the figures are of; the ones before them only warmed up. */
    readonly measured: number;
    readonly finished: number;
    readonly refused: number;
    readonly expired: number;
    readonly failed: number;
    /** `finished:length` → count, of the measured. */
    readonly outcomes: Readonly<Record<string, number>>;
  };
  /** Arrivals, and requests that ended, per second. */
  readonly offeredPerSecond: number;
  readonly endedPerSecond: number;
  readonly outputTps: number;
  /** Prompt tokens that were computed, not found in the cache, per second. */
  readonly promptTps: number;
  /** Share of the time in which a step computed. */
  readonly utilisation: number;
  /** Null when no request got a token, or none a second one. */
  readonly ttftMs: Percentiles | null;
  readonly itlMs: Percentiles | null;
  /** From arrival to the first step. */
  readonly queueMs: Percentiles | null;
  readonly requestMs: Percentiles | null;
  readonly runningMean: number;
  readonly waitingMost: number;
  /** Of the prompt tokens of measured requests. */
  readonly cachedShare: number;
  readonly preemptions: number;
  readonly steps: number;
  /** Null without a target. */
  readonly goodput: {
    /** Of the measured requests. */
    readonly share: number;
    readonly requestsPerSecond: number;
  } | null;
}

export function loadResult(run: Run, target: Target | null): LoadResult {
  const measured = run.records.filter(({ isMeasured }) => isMeasured);
  const { fromMs, toMs, busyMs, outputTokens, promptTokensComputed, ended, runningMs } = run.window;
  const seconds = Math.max(toMs - fromMs, Number.MIN_VALUE) / 1000;
  const perSecond = (count: number): number => (toMs > fromMs ? count / seconds : 0);
  const share = target === null ? null : attainedShare(measured, target);
  return {
    requests: counts(measured),
    offeredPerSecond: perSecond(Math.max(0, measured.length - 1)),
    endedPerSecond: perSecond(ended),
    outputTps: perSecond(outputTokens),
    promptTps: perSecond(promptTokensComputed),
    utilisation: Math.min(1, perSecond(busyMs) / 1000),
    ttftMs: percentiles(times(measured, ({ firstTokenAt }) => firstTokenAt)),
    itlMs: percentiles(run.gapsMs),
    queueMs: percentiles(times(measured, ({ startedAt }) => startedAt)),
    requestMs: percentiles(times(measured.filter(isFinished), ({ endedAt }) => endedAt)),
    runningMean: busyMs === 0 ? 0 : runningMs / busyMs,
    waitingMost: run.waitingMost,
    cachedShare: cachedShare(measured),
    preemptions: run.preemptions,
    steps: run.steps,
    goodput:
      share === null
        ? null
        : { share, requestsPerSecond: perSecond(share * Math.max(0, measured.length - 1)) },
  };
}

/** Throws `usage` for a target that says nothing or can never be met. */
export function checkTarget({ ttftMs, itlMs, share }: Target): void {
  const bad = (what: string): PlenumError => new PlenumError('usage', what);
  if (ttftMs === null && itlMs === null) throw bad('a target names ttft, itl or both');
  for (const value of [ttftMs, itlMs]) {
    if (value !== null && !(value > 0)) throw bad(`a target of ${value} ms can never be met`);
  }
  if (!(share > 0 && share <= 1)) throw bad(`share is ${share}; it is above 0 and at most 1`);
}

/** Share of the records that meet the target. */
export function attainedShare(records: readonly RequestRecord[], target: Target): number {
  return records.filter((record) => meets(record, target)).length / Math.max(1, records.length);
}

function meets(record: RequestRecord, { ttftMs, itlMs }: Target): boolean {
  const { arrivedAt, firstTokenAt, lastTokenAt, generated } = record;
  if (!isFinished(record) || firstTokenAt === null || lastTokenAt === null) return false;
  if (ttftMs !== null && firstTokenAt - arrivedAt > ttftMs) return false;
  return itlMs === null || generated < 2 || (lastTokenAt - firstTokenAt) / (generated - 1) <= itlMs;
}

const isFinished = ({ outcome }: RequestRecord): boolean => outcome?.kind === 'finished';

function times(
  records: readonly RequestRecord[],
  of: (record: RequestRecord) => number | null,
): number[] {
  return records.flatMap((record) => {
    const at = of(record);
    return at === null ? [] : [at - record.arrivedAt];
  });
}

/** Linear between the members; null for none. */
export function percentiles(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const at = (fraction: number): number => {
    const place = fraction * (sorted.length - 1);
    const below = sorted[Math.floor(place)] ?? 0;
    const above = sorted[Math.ceil(place)] ?? below;
    return below + (above - below) * (place - Math.floor(place));
  };
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { mean, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) };
}

function counts(records: readonly RequestRecord[]): LoadResult['requests'] {
  const of = (kind: Outcome['kind']): number =>
    records.filter(({ outcome }) => outcome?.kind === kind).length;
  const outcomes: Record<string, number> = {};
  for (const { outcome } of records) {
    const label = outcome === null ? 'none' : outcomeLabel(outcome);
    outcomes[label] = (outcomes[label] ?? 0) + 1;
  }
  return {
    measured: records.length,
    finished: of('finished'),
    refused: of('refused'),
    expired: of('expired'),
    failed: of('failed'),
    outcomes,
  };
}

function cachedShare(records: readonly RequestRecord[]): number {
  const started = records.filter(({ startedAt }) => startedAt !== null);
  const prompts = started.reduce((sum, { shape }) => sum + shape.promptTokens, 0);
  const cached = started.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
  return prompts === 0 ? 0 : cached / prompts;
}
