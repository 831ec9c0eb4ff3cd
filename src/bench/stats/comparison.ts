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
import { familyP, holm } from './family.ts';
import { CONFIDENCE, pairedInterval, separateInterval } from './interval.ts';
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
  { metric: 'itl', statistic: 'p50' },
  { metric: 'itl', statistic: 'p95' },
  { metric: 'gap', statistic: 'p95' },
  { metric: 'e2e', statistic: 'p50' },
  { metric: 'e2e', statistic: 'p95' },
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
  const corrected = familyP(rows.map(({ differences }) => differences));
  return rows.map((row, index) => {
    const known = row.differences.filter((difference) => difference !== null);
    return judge({
      ...ask,
      ...row,
      repetitions: known.length,
      interval: pairedInterval(known),
      p: corrected[index] ?? 1,
    });
  });
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
    const read = (side: typeof first): number[] =>
      side.map((run) => run.value(metric, statistic)).filter((value) => value !== null);
    const a = read(first);
    const b = read(second);
    if (a.length === 0 || b.length === 0) return [];
    const isRatio = [...a, ...b].every((value) => value > 0);
    const scaled = (values: readonly number[]): readonly number[] =>
      isRatio ? values.map(Math.log) : values;
    const interval = separateInterval(scaled(a), scaled(b), isRatio ? Math.log1p(allowance) : 0);
    return [{ metric, statistic, isRatio, interval, repetitions: Math.min(a.length, b.length) }];
  });
  const corrected = holm(rows.map(({ interval }) => interval?.p ?? 1));
  return rows.map((row, index) => judge({ ...ask, ...row, p: corrected[index] ?? 1 }));
}

interface Evidence extends ComparisonOf, Compared {
  readonly isRatio: boolean;
  readonly repetitions: number;
  readonly interval: CentreInterval | null;
  /** Corrected for everything that was compared beside it. */
  readonly p: number;
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

/** Both must agree: the interval that is shown, and the correction for the number of metrics. */
function verdictOf({ metric, repetitions, interval, p }: Evidence): Verdict {
  if (repetitions < REPETITIONS_MIN || interval === null) return 'undecided';
  const isOutside = interval.low > 0 || interval.high < 0;
  if (!isOutside || p > 1 - CONFIDENCE + 1e-12) return 'indistinguishable';
  const isLower = interval.centre < 0;
  return isLower === (METRICS[metric].better === 'lower') ? 'better' : 'worse';
}
