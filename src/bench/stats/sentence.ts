/**
 * Verdicts in plain words: which of two targets is faster, by how much and how sure, or that the
 * measurement cannot tell them apart. Text only; it decides nothing.
 */
import { formatBytes, formatMillis } from '../../base/units.ts';
import { type Comparison, METRICS, type MetricName, type Statistic } from '../result.ts';
import type { CentreInterval } from './signed-rank.ts';

export interface SentenceAsk extends Omit<Comparison, 'sentence'> {
  /** Where there is no ratio: target minus baseline. */
  readonly difference: CentreInterval | null;
  readonly repetitions: number;
}

/** `time to first token, p95`. */
export function titleOf(metric: MetricName, statistic: Statistic): string {
  const { title } = METRICS[metric];
  return statistic === 'value' ? title : `${title}, ${statistic}`;
}

const TIME_WORDS = ['shorter', 'longer', 'as long'] as const;
const AMOUNT_WORDS = ['less', 'more', 'as much'] as const;

/** `12.3 ms`, `84.1 tok/s`, `3.2 %`: a value with its unit; `unknown` for null. */
export function formatValue(metric: MetricName, value: number | null): string {
  if (value === null) return 'unknown';
  const { unit } = METRICS[metric];
  switch (unit) {
    case 'ms':
      return formatMillis(value);
    case 'share':
      return `${plain(100 * value)} %`;
    case 'B':
      return formatBytes(Math.round(value));
    default:
      return `${plain(value)} ${unit}`;
  }
}

/** Three significant digits, never an exponent. */
export function plain(value: number): string {
  if (value === 0 || Math.abs(value) >= 100) return String(Math.round(value));
  const short = Number(value.toPrecision(3));
  return Math.abs(short) < 1e-4 ? short.toFixed(6) : String(short);
}

export function sentenceOf(ask: SentenceAsk): string {
  const { target, baseline, verdict } = ask;
  const what = titleOf(ask.metric, ask.statistic);
  if (verdict === 'undecided') {
    const count = ask.repetitions === 1 ? '1 repetition is' : `${ask.repetitions} repetitions are`;
    return `${what}: undecided; ${count} too few for a verdict (3 are the least, 6 are better)`;
  }
  if (ask.ratio === null) return differenceSentence(ask, what);
  const [low, high] = [ask.low ?? 1, ask.high ?? 1];
  const evidence = `ratio ${ratioText(ask.ratio)}, 95 % interval ${ratioText(low)} to ${ratioText(high)}`;
  if (verdict === 'indistinguishable') {
    const isLeaning = low > 1 || high < 1;
    const more = isLeaning ? '; not enough among so many metrics' : '';
    return `${what}: ${target} and ${baseline} are not distinguishable (${evidence}${more})`;
  }
  return `${what}: ${target} is ${verdictWord(ask)} than ${baseline}, ${howMuch(ask)} (${evidence})`;
}

/** Of metrics with a difference, so many are named; the table has all. */
const NAMED_MAX = 4;

/** Two targets in a sentence: where the one is better, where worse, and how much is left open. */
export function headline(comparisons: readonly Comparison[]): string {
  const [first] = comparisons;
  if (first === undefined) return 'Nothing was measured at both.';
  const { target, baseline } = first;
  const of = (verdict: Comparison['verdict']): readonly Comparison[] =>
    comparisons.filter((one) => one.verdict === verdict);
  const list = (some: readonly Comparison[]): string => {
    const names = some.map(
      (one) => `${titleOf(one.metric, one.statistic).replace(',', '')}${changeText(one)}`,
    );
    const more = names.length - NAMED_MAX;
    const shown = more > 1 ? [...names.slice(0, NAMED_MAX), `${more} more`] : names;
    return shown.join(', ').replace(/, (\S+ more)$/, ' and $1');
  };
  const open = of('indistinguishable').length;
  if (of('undecided').length === comparisons.length) {
    return `${target} against ${baseline}: too few repetitions for a verdict.`;
  }
  if (of('better').length + of('worse').length === 0) {
    return `${target} and ${baseline} are not distinguishable in any of ${open} metrics.`;
  }
  const parts = [
    ...(of('better').length > 0 ? [`better in ${list(of('better'))}`] : []),
    ...(of('worse').length > 0 ? [`worse in ${list(of('worse'))}`] : []),
    ...(open > 0 ? [`not distinguishable in ${open} of ${comparisons.length} metrics`] : []),
  ];
  return `${target} against ${baseline}: ${parts.join('; ')}.`;
}

function changeText({ ratio }: Comparison): string {
  if (ratio === null) return '';
  if (ratio >= 2) return ` (${plain(ratio)} times)`;
  return ` (${ratio < 1 ? '−' : '+'}${plain(Number((100 * Math.abs(ratio - 1)).toFixed(1)))} %)`;
}

/** Three decimals near 1, where ratios are decided; three digits elsewhere. */
export const ratioText = (ratio: number): string =>
  ratio >= 0.1 && ratio < 10 ? ratio.toFixed(ratio < 2 ? 3 : 2) : plain(ratio);

const isTime = (metric: MetricName): boolean => METRICS[metric].unit === 'ms';
const isRate = (metric: MetricName): boolean => METRICS[metric].unit.endsWith('/s');

function verdictWord({ metric, verdict }: SentenceAsk): string {
  const isGood = verdict === 'better';
  if (isTime(metric) || isRate(metric)) return isGood ? 'faster' : 'slower';
  return isGood ? 'better' : 'worse';
}

/** `5.1 % shorter`; from a factor of two on `2.3 times as long`. */
function howMuch({ metric, ratio }: SentenceAsk): string {
  const factor = ratio ?? 1;
  const [less, more, times] = isTime(metric) ? TIME_WORDS : AMOUNT_WORDS;
  if (factor >= 2) return `${plain(factor)} times ${times}`;
  const percent = plain(Number((100 * Math.abs(factor - 1)).toFixed(1)));
  return `${percent} % ${factor < 1 ? less : more}`;
}

function differenceSentence(ask: SentenceAsk, what: string): string {
  const { difference, metric, verdict, target, baseline } = ask;
  const { centre, low, high } = difference ?? { centre: 0, low: 0, high: 0 };
  if (centre === 0 && low === 0 && high === 0) return `${what}: the same at both`;
  const amount = (value: number): string =>
    `${value < 0 ? '−' : '+'}${formatValue(metric, Math.abs(value))}`;
  const interval = `${amount(low)} … ${amount(high)} (95 % interval of the difference)`;
  if (verdict === 'indistinguishable') return `${what}: not distinguishable; ${interval}`;
  return `${what}: ${target} is ${verdictWord(ask)} than ${baseline} by ${interval}`;
}
