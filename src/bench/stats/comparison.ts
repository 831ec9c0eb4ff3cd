/**
 * Two targets side by side: for each metric that people decide by, the ratio with its interval and
 * a verdict that holds for all of them together (family.ts). Runs of one repetition are pairs.
 * Pure.
 */
import {
  type Comparison,
  METRICS,
  type MetricName,
  type Report,
  type Run,
  type Slo,
  type Statistic,
  type SweepPoint,
  type Verdict,
} from '../result.ts';
import { gate, pairedT, SPEED_TOGETHER, speedTogether, togetherPairedP } from './family.ts';
import { pairedInterval, separateInterval } from './interval.ts';
import { runValues } from './run-values.ts';
import { sentenceOf } from './sentence.ts';
import type { CentreInterval } from './signed-rank.ts';
import { pointsOf, runsAt } from './summary.ts';

/** Fewer repetitions give no verdict. */
export const REPETITIONS_MIN = 3;

/** Of how many per cent a machine may change between two separate runs. */
export const ALLOWANCE_DEFAULT = 0.05;

export interface Compared {
  readonly metric: MetricName;
  readonly statistic: Statistic;
}

/** What is compared: what a user feels, what the machine gives, what it takes. */
export const COMPARED: readonly Compared[] = [
  { metric: 'ttft', statistic: 'p50' },
  { metric: 'ttft', statistic: 'p95' },
  { metric: 'ttft', statistic: 'mean' },
  { metric: 'itl', statistic: 'p50' },
  { metric: 'itl', statistic: 'p95' },
  { metric: 'itl', statistic: 'mean' },
  { metric: 'gap', statistic: 'p95' },
  { metric: 'e2e', statistic: 'p50' },
  { metric: 'e2e', statistic: 'p95' },
  { metric: 'e2e', statistic: 'mean' },
  { metric: 'outputRate', statistic: 'value' },
  { metric: 'inputRate', statistic: 'value' },
  { metric: 'requestRate', statistic: 'value' },
  { metric: 'goodput', statistic: 'value' },
  { metric: 'errorShare', statistic: 'value' },
  { metric: 'memoryPeak', statistic: 'value' },
  { metric: 'cpuShare', statistic: 'value' },
];

/** Every further target against the first, at every point that both have. */
export function compareTargets(report: Pick<Report, 'runs' | 'setup' | 'targets'>): Comparison[] {
  const [baseline, ...others] = report.targets.map(({ name }) => name);
  if (baseline === undefined) return [];
  const of = (target: string): Run[] => report.runs.filter((run) => run.target === target);
  return others.flatMap((target) =>
    pointsOf(of(target)).flatMap((point) =>
      comparePaired({ baseline, target, point, slo: report.setup.slo }, report.runs),
    ),
  );
}

export interface ComparisonOf {
  readonly baseline: string;
  readonly target: string;
  readonly point: SweepPoint | null;
  readonly slo: Slo | null;
}

/** One difference per repetition that both have, in which both runs are valid. */
function comparePaired(ask: ComparisonOf, runs: readonly Run[]): Comparison[] {
  const valid = runs.filter((run) => run.valid);
  const first = runsAt(valid, ask.baseline, ask.point);
  const pairs = runsAt(valid, ask.target, ask.point).flatMap((run) => {
    const partner = first.find(({ repetition }) => repetition === run.repetition);
    if (partner === undefined) return [];
    return [{ a: runValues(partner, ask.slo), b: runValues(run, ask.slo) }];
  });
  const rows = COMPARED.map(({ metric, statistic }) => {
    const values = pairs.map(({ a, b }) => ({
      a: a.value(metric, statistic),
      b: b.value(metric, statistic),
    }));
    return { metric, statistic, ...differencesOf(values) };
  }).filter(({ differences }) => differences.some((difference) => difference !== null));
  const measured = rows.map(({ differences }) => known(differences));
  const isOpen = gate({
    togetherP: togetherPairedP(speedTogether(meansOf(rows))),
    rows: rows.map(({ metric }, index) => ({ metric, p: pairedT(measured[index] ?? []) })),
  });
  return rows.map((row, index) => {
    const differences = measured[index] ?? [];
    const interval = pairedInterval(differences);
    const repetitions = differences.length;
    return judge({ ...ask, ...row, repetitions, interval, isOpen: isOpen[index] ?? false });
  });
}

/** The means' differences of logarithms, of what the first door looks at. */
function meansOf(
  rows: readonly (Compared & { isRatio: boolean; differences: (number | null)[] })[],
): (number | null)[][] {
  return rows
    .filter(({ metric, statistic }) => SPEED_TOGETHER.includes(metric) && statistic === 'mean')
    .filter(({ isRatio }) => isRatio)
    .map(({ differences }) => differences);
}

interface Pair {
  readonly a: number | null;
  readonly b: number | null;
}

/** Differences of logarithms; of the values themselves where one is not above 0 (error shares). */
function differencesOf(values: readonly Pair[]): {
  readonly isRatio: boolean;
  readonly differences: (number | null)[];
} {
  const isRatio = values.every(({ a, b }) => (a === null || a > 0) && (b === null || b > 0));
  const differences = values.map(({ a, b }) => {
    if (a === null || b === null) return null;
    return isRatio ? Math.log(b / a) : b - a;
  });
  return { isRatio, differences };
}

/** Values of separate runs, which are no pairs: see interval.ts for what that costs. */
export interface SeparateSide {
  readonly runs: readonly Run[];
  readonly slo: Slo | null;
}

export interface SeparateAsk {
  readonly ask: ComparisonOf;
  readonly baseline: SeparateSide;
  readonly target: SeparateSide;
  /** 0.05: a difference of 5 % may be the machine's own. */
  readonly allowance: number;
}

/** Compares what was measured at different times. */
export function compareSeparate({ ask, baseline, target, allowance }: SeparateAsk): Comparison[] {
  const valuesOf = ({ runs, slo }: SeparateSide) =>
    runs.filter((run) => run.valid).map((run) => runValues(run, slo));
  const first = valuesOf(baseline);
  const second = valuesOf(target);
  const rows = COMPARED.flatMap(({ metric, statistic }) => {
    const read = (side: typeof first): (number | null)[] =>
      side.map((run) => run.value(metric, statistic));
    const isRatio = [...read(first), ...read(second)].every((one) => one === null || one > 0);
    const scaled = (values: readonly (number | null)[]): (number | null)[] =>
      values.map((one) => (one !== null && isRatio ? Math.log(one) : one));
    const [a, b] = [scaled(read(first)), scaled(read(second))];
    const interval = separateInterval(known(a), known(b), isRatio ? Math.log1p(allowance) : 0);
    const repetitions = Math.min(known(a).length, known(b).length);
    return repetitions === 0 ? [] : [{ metric, statistic, isRatio, a, b, interval, repetitions }];
  });
  const means = rows.filter(
    ({ metric, statistic, isRatio }) =>
      isRatio && statistic === 'mean' && SPEED_TOGETHER.includes(metric),
  );
  const together = separateInterval(
    speedTogether(means.map(({ a }) => a)),
    speedTogether(means.map(({ b }) => b)),
    Math.log1p(allowance),
  );
  const isOpen = gate({
    togetherP: together?.p ?? 1,
    rows: rows.map(({ metric, interval }) => ({ metric, p: interval?.p ?? 1 })),
  });
  return rows.map((row, index) => judge({ ...ask, ...row, isOpen: isOpen[index] ?? false }));
}

const known = (values: readonly (number | null)[]): number[] =>
  values.filter((value) => value !== null);

interface Evidence extends ComparisonOf, Compared {
  readonly isRatio: boolean;
  readonly repetitions: number;
  readonly interval: CentreInterval | null;
  /** What was compared beside it lets it be judged by its own interval. */
  readonly isOpen: boolean;
}

function judge(evidence: Evidence): Comparison {
  const { baseline, target, point, metric, statistic, isRatio, interval } = evidence;
  const verdict = verdictOf(evidence);
  const ratio = isRatio ? interval : null;
  const base = {
    baseline,
    target,
    point,
    metric,
    statistic,
    ratio: ratio === null ? null : Math.exp(ratio.centre),
    low: ratio === null ? null : Math.exp(ratio.low),
    high: ratio === null ? null : Math.exp(ratio.high),
    verdict,
  };
  const difference = isRatio ? null : interval;
  const { repetitions } = evidence;
  return { ...base, sentence: sentenceOf({ ...base, difference, repetitions }) };
}

/** Both must agree: the interval that is shown, and the gate over all metrics. */
function verdictOf({ metric, repetitions, interval, isOpen }: Evidence): Verdict {
  if (repetitions < REPETITIONS_MIN || interval === null) return 'undecided';
  const isOutside = interval.low > 0 || interval.high < 0;
  if (!isOutside || !isOpen) return 'indistinguishable';
  const isLower = interval.centre < 0;
  return isLower === (METRICS[metric].better === 'lower') ? 'better' : 'worse';
}
