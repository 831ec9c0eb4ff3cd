/**
 * The numbers of one run: what its records say of each metric. Percentiles are the least value that
 * the share of all values does not exceed (nearest rank), exact but for ITL, whose gaps can be
 * millions and go through a histogram (within 0.1 %). Pure.
 *
 * Only good requests count, and times start at the moment at which a request was meant to be sent.
 * Where requests of a run partly stream, TTFT, ITL, gap, TPOT and end to end are of those.
 */
import {
  METRICS,
  type MetricName,
  type RequestRecord,
  type Run,
  type Slo,
  type Statistic,
} from '../result.ts';
import { Histogram } from './histogram.ts';

export type RequestMetric = 'ttft' | 'itl' | 'gap' | 'tpot' | 'e2e';

const SHARES = { p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99, max: 1 } as const;

/** A distribution over the requests of a run. */
export interface Distribution {
  readonly count: number;
  percentile(share: number): number | null;
  readonly mean: number | null;
}

export interface RunValues {
  readonly run: Run;
  readonly distributions: Readonly<Record<RequestMetric, Distribution>>;
  value(metric: MetricName, statistic: Statistic): number | null;
}

export const isStreamed = ({ kind }: RequestRecord): boolean =>
  kind === 'chat' || kind === 'completion';

export const isRequestMetric = (metric: MetricName): metric is RequestMetric =>
  METRICS[metric].of === 'request';

/** Statistics that a metric has, in the order of a table. */
export const statisticsOf = (metric: MetricName): readonly Statistic[] =>
  isRequestMetric(metric) ? ['mean', 'p50', 'p90', 'p95', 'p99', 'max'] : ['value'];

export function runValues(run: Run, slo: Slo | null): RunValues {
  const good = run.records.filter(({ outcome }) => outcome === 'ok');
  const streamed = good.filter(isStreamed);
  const timed = streamed.length > 0 ? streamed : good;
  const of = (read: (record: RequestRecord) => number | null): Distribution =>
    exact(timed.map(read).filter((value) => value !== null));
  const distributions = {
    ttft: of(ttftMs),
    itl: gapsOf(timed),
    gap: of(({ gapMaxMs }) => gapMaxMs),
    tpot: of(tpotMs),
    e2e: of(e2eMs),
  };
  return {
    run,
    distributions,
    value: (metric, statistic) =>
      isRequestMetric(metric)
        ? statisticOf(distributions[metric], statistic)
        : wholeRun(run, { metric, good, slo }),
  };
}

function statisticOf(distribution: Distribution, statistic: Statistic): number | null {
  if (statistic === 'value') return null;
  return statistic === 'mean' ? distribution.mean : distribution.percentile(SHARES[statistic]);
}

export function ttftMs({ firstTokenMs, intendedMs }: RequestRecord): number | null {
  return firstTokenMs === null ? null : firstTokenMs - intendedMs;
}

export const e2eMs = ({ endMs, intendedMs }: RequestRecord): number => endMs - intendedMs;

/** Mean time per token after the first; null where fewer than two came. */
export function tpotMs({ outputTokens, firstTokenMs, endMs }: RequestRecord): number | null {
  if (outputTokens === null || outputTokens < 2 || firstTokenMs === null) return null;
  return (endMs - firstTokenMs) / (outputTokens - 1);
}

/** What does not apply to a request (the TTFT of one that does not stream) cannot be missed. */
export function keepsSlo(record: RequestRecord, slo: Slo): boolean {
  if (record.outcome !== 'ok') return false;
  const within = (value: number | null, most: number | undefined): boolean =>
    most === undefined || value === null || value <= most;
  return (
    within(ttftMs(record), slo.ttft) &&
    within(tpotMs(record), slo.itl) &&
    within(record.gapMaxMs, slo.gap) &&
    within(e2eMs(record), slo.e2e)
  );
}

function exact(values: readonly number[]): Distribution {
  const sorted = Float64Array.from(values).sort();
  const count = sorted.length;
  const mean = count === 0 ? null : sorted.reduce((sum, value) => sum + value, 0) / count;
  // A hair is taken off, so that 0.95 · 100 is 95 and not the next whole number.
  const rank = (share: number): number => Math.max(1, Math.ceil(share * count - 1e-9));
  return { count, mean, percentile: (share) => sorted[rank(share) - 1] ?? null };
}

function gapsOf(records: readonly RequestRecord[]): Distribution {
  const histogram = new Histogram();
  for (const { gapsMs } of records) {
    for (const gap of gapsMs ?? []) histogram.record(Math.max(0, gap));
  }
  return {
    count: histogram.count,
    mean: histogram.meanMs,
    percentile: (share) => histogram.percentile(share),
  };
}

interface RunAsk {
  readonly metric: MetricName;
  readonly good: readonly RequestRecord[];
  readonly slo: Slo | null;
}

function wholeRun(run: Run, { metric, good, slo }: RunAsk): number | null {
  const perSecond = (amount: number): number | null =>
    run.wallMs > 0 ? (1000 * amount) / run.wallMs : null;
  switch (metric) {
    case 'outputRate':
      return rateOf(
        good.map(({ outputTokens }) => outputTokens),
        perSecond,
      );
    case 'inputRate':
      return rateOf(
        good.map(({ promptTokens }) => promptTokens),
        perSecond,
      );
    case 'requestRate':
      return perSecond(good.length);
    case 'goodput':
      return slo === null ? null : perSecond(good.filter((one) => keepsSlo(one, slo)).length);
    case 'errorShare':
      return errorShare(run.records);
    case 'cachedShare':
      return cachedShare(good);
    case 'memoryPeak':
      return run.resources?.memoryPeakBytes ?? null;
    case 'cpuShare':
      return run.resources === null || !(run.wallMs > 0) ? null : run.resources.cpuMs / run.wallMs;
    default:
      return null;
  }
}

/** Null where no request has a count: nothing was counted, which is not 0. */
function rateOf(
  counts: readonly (number | null)[],
  perSecond: (amount: number) => number | null,
): number | null {
  const known = counts.filter((count) => count !== null);
  return known.length === 0 ? null : perSecond(known.reduce((sum, count) => sum + count, 0));
}

/** Of the requests that were not cut off by the end of the bench. */
function errorShare(records: readonly RequestRecord[]): number | null {
  const judged = records.filter(({ outcome }) => outcome !== 'aborted');
  if (judged.length === 0) return null;
  return judged.filter(({ outcome }) => outcome === 'error').length / judged.length;
}

function cachedShare(good: readonly RequestRecord[]): number | null {
  let cached = 0;
  let prompt = 0;
  for (const { cachedTokens, promptTokens } of good) {
    if (cachedTokens === null || promptTokens === null) continue;
    cached += cachedTokens;
    prompt += promptTokens;
  }
  return prompt === 0 ? null : cached / prompt;
}

/** Every distribution of a metric over several runs, as one list for a picture. */
export function pooledValues(runs: readonly Run[], metric: RequestMetric): number[] {
  const read = { ttft: ttftMs, tpot: tpotMs, e2e: e2eMs } as const;
  return runs.flatMap(({ records }) =>
    records
      .filter(({ outcome }) => outcome === 'ok')
      .flatMap((record) => {
        if (metric === 'itl') return record.gapsMs ?? [];
        const value = metric === 'gap' ? record.gapMaxMs : read[metric](record);
        return value === null ? [] : [value];
      }),
  );
}
