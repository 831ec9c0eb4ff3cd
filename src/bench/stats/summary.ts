/**
 * What a target did at one point of a sweep (or at all): every metric with its interval over the
 * valid repetitions, and its requests and errors counted. Invalid runs are counted and left out of
 * every estimate. Pure.
 */
import {
  type ErrorKind,
  type Estimate,
  METRIC_NAMES,
  type MetricName,
  type Report,
  type Run,
  type Slo,
  type Statistic,
  type Summary,
  type SweepPoint,
} from '../result.ts';
import { geometricInterval, meanInterval } from './interval.ts';
import { type RunValues, runValues, statisticsOf } from './run-values.ts';

type Measured = Pick<Report, 'runs' | 'setup' | 'targets'>;

/** One summary for each target and point that has runs, in the order of targets and points. */
export function summarise(measured: Measured): Summary[] {
  return measured.targets.flatMap(({ name }) =>
    pointsOf(measured.runs.filter(({ target }) => target === name)).map((point) =>
      summaryOf(runsAt(measured.runs, name, point), measured.setup.slo),
    ),
  );
}

/** Different points in ascending order; [null] where there is no sweep. */
export function pointsOf(runs: readonly Run[]): (SweepPoint | null)[] {
  const seen = new Map<string, SweepPoint | null>();
  for (const { point } of runs) seen.set(keyOf(point), point);
  return [...seen.values()].sort((a, b) => (a?.value ?? 0) - (b?.value ?? 0));
}

export function runsAt(runs: readonly Run[], target: string, point: SweepPoint | null): Run[] {
  return runs
    .filter((run) => run.target === target && keyOf(run.point) === keyOf(point))
    .sort((a, b) => a.repetition - b.repetition);
}

export const keyOf = (point: SweepPoint | null): string =>
  point === null ? '' : `${point.axis} ${point.value}`;

function summaryOf(runs: readonly Run[], slo: Slo | null): Summary {
  const valid = runs.filter((run) => run.valid);
  const values = valid.map((run) => runValues(run, slo));
  const records = runs.flatMap((run) => run.records);
  const errors: Partial<Record<ErrorKind, number>> = {};
  for (const { error } of records) {
    if (error !== null) errors[error.kind] = (errors[error.kind] ?? 0) + 1;
  }
  return {
    target: runs[0]?.target ?? '',
    point: runs[0]?.point ?? null,
    runs: runs.length,
    invalidRuns: runs.length - valid.length,
    requests: records.length,
    ok: records.filter(({ outcome }) => outcome === 'ok').length,
    aborted: records.filter(({ outcome }) => outcome === 'aborted').length,
    errors,
    estimates: METRIC_NAMES.flatMap((metric) =>
      statisticsOf(metric).map((statistic) => estimateOf(values, metric, statistic)),
    ),
  };
}

/** The geometric mean over runs where all are above 0, otherwise the mean, with its t-interval. */
function estimateOf(
  runs: readonly RunValues[],
  metric: MetricName,
  statistic: Statistic,
): Estimate {
  const perRun = runs.map((run) => run.value(metric, statistic));
  const known = perRun.filter((value) => value !== null);
  const [only] = known;
  const interval = geometricInterval(known) ?? meanInterval(known);
  if (only === undefined) return { metric, statistic, value: null, low: null, high: null, perRun };
  if (interval === null) return { metric, statistic, value: only, low: null, high: null, perRun };
  const { centre, low, high } = interval;
  return { metric, statistic, value: centre, low, high, perRun };
}

export function findEstimate(
  { estimates }: Summary,
  metric: MetricName,
  statistic: Statistic,
): Estimate | undefined {
  return estimates.find((one) => one.metric === metric && one.statistic === statistic);
}
