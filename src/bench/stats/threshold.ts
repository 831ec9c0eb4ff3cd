/**
 * Conditions that a build fails on: `ttft.p95<500ms` of a target, `ttft.p95<1.1` of its ratio to
 * the baseline. Parses and judges; printing and exit codes are the caller's.
 */
import { PlenumError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import { METRIC_NAMES, METRICS, type MetricName, type Statistic, type Summary } from '../result.ts';
import { statisticsOf } from './run-values.ts';
import { formatValue, plain } from './sentence.ts';
import { findEstimate } from './summary.ts';

type Operator = '<' | '<=' | '>' | '>=';

export interface Threshold {
  /** As it was written. */
  readonly text: string;
  readonly metric: MetricName;
  readonly statistic: Statistic;
  readonly operator: Operator;
  /** In the metric's own unit, or of the ratio target / baseline. */
  readonly limit: number;
  readonly of: 'value' | 'ratio';
}

export interface Judged {
  readonly threshold: Threshold;
  readonly target: string;
  /** `unknown`: nothing was measured that it could be held against, which is no pass. */
  readonly outcome: 'kept' | 'broken' | 'unknown';
  readonly sentence: string;
}

const FORM = /^\s*([a-z]\w*)(?:\.(\w+))?\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z%/]*)\s*$/i;

/** What a number is multiplied by, for each unit of a metric. */
const FACTORS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ms: { ms: 1, s: 1000, us: 0.001 },
  'tok/s': { 'tok/s': 1 },
  'req/s': { 'req/s': 1 },
  share: { '%': 0.01 },
  B: { b: 1, kb: 1e3, mb: 1e6, gb: 1e9 },
  cores: { cores: 1 },
};

/** Throws `usage` that says what is wrong and what would be right. */
export function parseThreshold(text: string): Threshold {
  const [, name = '', stat, operator, number = '', unit = ''] = FORM.exec(text) ?? [];
  if (!isOperator(operator)) {
    const forms = "'ttft.p95<500ms' for a value, 'ttft.p95<1.1' for a ratio to the baseline";
    throw new PlenumError('usage', `'${text}' is no threshold; write ${forms}`);
  }
  const metric = METRIC_NAMES.find((known) => known.toLowerCase() === name.toLowerCase());
  if (metric === undefined) {
    const near = nearest(name, METRIC_NAMES);
    const hint = near === null ? `known: ${METRIC_NAMES.join(', ')}` : `did you mean '${near}'?`;
    throw new PlenumError('usage', `'${text}': there is no metric '${name}'; ${hint}`);
  }
  const statistic = statisticNamed(text, metric, stat);
  const limit = Number(number);
  const base = { text: text.trim(), metric, statistic, operator };
  if (unit === '') return { ...base, limit, of: 'ratio' };
  const factors = FACTORS[METRICS[metric].unit] ?? {};
  const factor = factors[unit.toLowerCase()];
  if (factor === undefined) {
    const known = Object.keys(factors).join(', ');
    throw new PlenumError('usage', `'${text}': ${metric} is not in ${unit}; its units: ${known}`);
  }
  return { ...base, limit: limit * factor, of: 'value' };
}

const isOperator = (text: string | undefined): text is Operator =>
  text === '<' || text === '<=' || text === '>' || text === '>=';

function statisticNamed(text: string, metric: MetricName, name: string | undefined): Statistic {
  const known = statisticsOf(metric);
  const [only] = known;
  if (name === undefined && known.length === 1 && only !== undefined) return only;
  const found = known.find((statistic) => statistic === name?.toLowerCase());
  if (found !== undefined) return found;
  const list = known.map((statistic) => `${metric}.${statistic}`).join(', ');
  const what = name === undefined ? `${metric} has several values` : `no '${metric}.${name}'`;
  throw new PlenumError('usage', `'${text}': ${what}; write one of ${list}`);
}

/** One number for each target: what a threshold is held against. */
export interface Held {
  readonly target: string;
  readonly actual: number | null;
}

/** Values and ratios of a report that was measured at once: every target by its summary. */
export function heldBySummaries(threshold: Threshold, summaries: readonly Summary[]): Held[] {
  const read = (summary: Summary): number | null =>
    findEstimate(summary, threshold.metric, threshold.statistic)?.value ?? null;
  if (threshold.of === 'value') {
    return summaries.map((summary) => ({ target: summary.target, actual: read(summary) }));
  }
  const [baseline, ...others] = summaries;
  const first = baseline === undefined ? null : read(baseline);
  return others.map((summary) => ({
    target: summary.target,
    actual: ratioOf(read(summary), first),
  }));
}

/** 0 over 0 is 1: nothing failed at either. */
export function ratioOf(value: number | null, baseline: number | null): number | null {
  if (value === null || baseline === null) return null;
  if (value === baseline) return 1;
  return baseline === 0 ? Number.POSITIVE_INFINITY : value / baseline;
}

export function judgeThreshold(threshold: Threshold, held: readonly Held[]): Judged[] {
  return held.map(({ target, actual }) => {
    const { operator, limit, text } = threshold;
    if (actual === null) {
      const sentence = `${text}: nothing was measured at ${target}`;
      return { threshold, target, outcome: 'unknown', sentence };
    }
    const outcome = keeps(actual, operator, limit) ? 'kept' : 'broken';
    const is = threshold.of === 'ratio' ? plain(actual) : formatValue(threshold.metric, actual);
    return { threshold, target, outcome, sentence: `${text}: ${outcome} by ${target} with ${is}` };
  });
}

function keeps(actual: number, operator: Operator, limit: number): boolean {
  switch (operator) {
    case '<':
      return actual < limit;
    case '<=':
      return actual <= limit;
    case '>':
      return actual > limit;
    case '>=':
      return actual >= limit;
  }
}
