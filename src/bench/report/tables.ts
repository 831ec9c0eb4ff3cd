/**
 * The tables of a report: what was measured, how targets compare, what failed, what it took, what
 * was predicted and what it costs. Figures come from the report; nothing is computed here.
 */
import { formatMillis } from '../../base/units.ts';
import {
  type Comparison,
  type Cost,
  type ErrorKind,
  METRICS,
  type MetricName,
  type Prediction,
  type Report,
  type Statistic,
  type Summary,
  type TokenRate,
} from '../result.ts';
import { formatValue, plain, ratioText, titleOf } from '../stats/sentence.ts';
import { findEstimate } from '../stats/summary.ts';
import { pointTitle } from './figures.ts';
import { type Html, html } from './html.ts';

/** A table that scrolls by itself where the screen is narrower than it is. */
export function table(head: readonly (string | Html)[], rows: readonly (readonly Html[])[]): Html {
  const cells = rows.map((row) => html`<tr>${row}</tr>\n`);
  const heads = head.map((name) => html`<th scope="col">${name}</th>`);
  return html`<div class="scroll" tabindex="0"><table>
<thead><tr>${heads}</tr></thead>
<tbody>
${cells}</tbody>
</table></div>
`;
}

export const cell = (content: string | Html): Html => html`<td>${content}</td>`;
const words = (content: string | Html): Html => html`<td class="wrap">${content}</td>`;

interface Column {
  readonly head: string;
  readonly metric: MetricName;
  readonly statistic: Statistic;
}

const LATENCY: readonly Column[] = [
  { head: 'TTFT p50', metric: 'ttft', statistic: 'p50' },
  { head: 'TTFT p95', metric: 'ttft', statistic: 'p95' },
  { head: 'TTFT p99', metric: 'ttft', statistic: 'p99' },
  { head: 'ITL p50', metric: 'itl', statistic: 'p50' },
  { head: 'ITL p95', metric: 'itl', statistic: 'p95' },
  { head: 'gap p95', metric: 'gap', statistic: 'p95' },
  { head: 'e2e p50', metric: 'e2e', statistic: 'p50' },
  { head: 'e2e p95', metric: 'e2e', statistic: 'p95' },
];
const RATES: readonly Column[] = [
  { head: 'output', metric: 'outputRate', statistic: 'value' },
  { head: 'prompt', metric: 'inputRate', statistic: 'value' },
  { head: 'answered', metric: 'requestRate', statistic: 'value' },
  { head: 'within SLO', metric: 'goodput', statistic: 'value' },
  { head: 'cached', metric: 'cachedShare', statistic: 'value' },
  { head: 'peak memory', metric: 'memoryPeak', statistic: 'value' },
  { head: 'processor', metric: 'cpuShare', statistic: 'value' },
  { head: 'failed', metric: 'errorShare', statistic: 'value' },
];

export const latencyTable = (report: Report): Html => estimatesTable(report, LATENCY);
export const ratesTable = (report: Report): Html => estimatesTable(report, RATES);

/** Columns that no summary has a value for are left out. */
function estimatesTable({ summaries }: Report, columns: readonly Column[]): Html {
  const of = (summary: Summary, { metric, statistic }: Column) =>
    findEstimate(summary, metric, statistic);
  const known = columns.filter((column) =>
    summaries.some((summary) => (of(summary, column)?.value ?? null) !== null),
  );
  const rows = summaries.map((summary) => [
    cell(nameAt(summary)),
    ...known.map((column) => {
      const estimate = of(summary, column);
      if (estimate === undefined || estimate.value === null) return cell('unknown');
      const { metric, value, low, high } = estimate;
      const range =
        low === null || high === null || (low === high && low === value)
          ? null
          : html`<span class="range">${rangeText(metric, low, high)}</span>`;
      return cell(html`${formatValue(metric, value)}${range}`);
    }),
  ]);
  return table(['', ...known.map(({ head }) => head)], rows);
}

/** `12.1 – 13.4`: the unit stands with the value. A share or a size has no negative part. */
function rangeText(metric: MetricName, low: number, high: number): string {
  const least = formatValue(metric, Math.max(0, low));
  const most = formatValue(metric, high);
  const unit = / \S+$/.exec(least)?.[0] ?? '';
  return most.endsWith(unit)
    ? `${least.slice(0, least.length - unit.length)} – ${most}`
    : `${least} – ${most}`;
}

const nameAt = ({ target, point }: Pick<Summary, 'target' | 'point'>): Html =>
  point === null ? html`${target}` : html`${target}<span class="range">${pointTitle(point)}</span>`;

const VERDICT_WORDS: Readonly<Record<Comparison['verdict'], string>> = {
  better: 'better',
  worse: 'worse',
  indistinguishable: 'not distinguishable',
  undecided: 'undecided',
};

/** One target against the baseline at one point. */
export function comparisonTable(comparisons: readonly Comparison[]): Html {
  const rows = comparisons.map((one) => {
    const { metric, statistic, ratio, low, high, verdict } = one;
    const interval = low === null || high === null ? '' : `${ratioText(low)} – ${ratioText(high)}`;
    const arrow = METRICS[metric].better === 'lower' ? 'less is better' : 'more is better';
    return [
      cell(html`${titleOf(metric, statistic)}<span class="range">${arrow}</span>`),
      cell(ratio === null ? '' : ratioText(ratio)),
      cell(interval),
      html`<td class="left ${verdict}">${VERDICT_WORDS[verdict]}</td>`,
      words(afterTitle(one)),
    ];
  });
  const head = ['', 'ratio', '95 % interval', html`<span class="left">verdict</span>`, ''];
  return table(head, rows);
}

/** The sentence without what stands in the other columns. */
function afterTitle({ sentence, metric, statistic, verdict }: Comparison): string {
  const rest = sentence.slice(titleOf(metric, statistic).length + 2);
  const isPlain = verdict === 'better' || verdict === 'worse';
  return isPlain ? rest.replace(/ \(ratio [^()]*\)$/, '') : '';
}

export function errorsTable({ summaries, runs }: Report): Html | null {
  const rows = summaries.flatMap((summary) => {
    const { errors } = summary;
    const kinds = Object.keys(errors) as ErrorKind[];
    return kinds.map((kind) => {
      const example = runs
        .filter(({ target }) => target === summary.target)
        .flatMap(({ records }) => records)
        .find(({ error }) => error?.kind === kind)?.error;
      const status = example?.status ?? null;
      return [
        cell(nameAt(summary)),
        html`<td class="left">${kind.replaceAll('_', ' ')}</td>`,
        cell(String(errors[kind] ?? 0)),
        cell(`${plain((100 * (errors[kind] ?? 0)) / summary.requests)} %`),
        words(`${status === null ? '' : `HTTP ${status}: `}${example?.message ?? ''}`),
      ];
    });
  });
  if (rows.length === 0) return null;
  const [kind, example] = [
    html`<span class="left">kind</span>`,
    html`<span class="left">for example</span>`,
  ];
  return table(['', kind, 'requests', 'of all', example], rows);
}

export function startsTable({ targets }: Report): Html | null {
  const rows = targets.flatMap(({ name, coldStarts }) => {
    if (coldStarts.length === 0) return [];
    const ready = coldStarts.map(({ readyMs }) => readyMs).sort((a, b) => a - b);
    const firsts = coldStarts
      .map(({ first }) => first?.firstTokenMs ?? null)
      .filter((ms) => ms !== null)
      .sort((a, b) => a - b);
    const middle = (values: readonly number[]): string => {
      const value = values[Math.floor(values.length / 2)];
      return value === undefined ? 'unknown' : formatMillis(value);
    };
    return [[cell(name), cell(String(ready.length)), cell(middle(ready)), cell(middle(firsts))]];
  });
  if (rows.length === 0) return null;
  return table(['', 'starts', 'ready after', 'first token of the first request'], rows);
}

/** The measuring client, for each target its worst run: what it added must be small. */
export function clientTable({ runs, targets }: Report): Html {
  const rows = targets.flatMap(({ name }) => {
    const own = runs.filter(({ target, wallMs }) => target === name && wallMs > 0);
    if (own.length === 0) return [];
    const most = (read: (run: (typeof own)[number]) => number): number =>
      Math.max(...own.map(read));
    const busy = most(({ client }) => (client.wallMs > 0 ? client.cpuMs / client.wallMs : 0));
    const limited = own.filter(({ client }) => client.bottleneck).length;
    return [
      [
        cell(name),
        cell(`${plain(100 * busy)} %`),
        cell(formatMillis(most(({ client }) => client.lateMs.p99))),
        cell(formatMillis(most(({ client }) => client.parseMs.p99))),
        cell(formatMillis(most(({ client }) => client.loopMs.p99))),
        cell(limited === 0 ? 'never' : `in ${limited} of ${own.length} runs`),
      ],
    ];
  });
  const head = ['', 'of a core', 'sent late, p99', 'parsing, p99', 'event loop, p99'];
  return table([...head, 'was the bottleneck'], rows);
}

export function predictionTable(predictions: readonly Prediction[]): Html {
  const rows = predictions.flatMap((one) =>
    (['decode', 'prefill'] as const).map((phase) => {
      const { measured, predicted, errorPct, limit } = one[phase];
      return [
        cell(html`${nameAt(one)}<span class="range">${phase}</span>`),
        cell(rate(measured)),
        cell(predicted === null ? 'unknown' : html`${rate(predicted)}${errorHtml(errorPct)}`),
        cell(against(one[phase], 'predicted')),
        cell(rate(limit)),
        cell(against(one[phase], 'limit')),
        words(phase === 'decode' ? one.basis : ''),
      ];
    }),
  );
  const head = ['', 'measured', 'predicted', 'measured / predicted', 'physical limit'];
  return table([...head, 'of the limit', ''], rows);
}

const rate = (tps: number | null): string => (tps === null ? 'unknown' : `${plain(tps)} tok/s`);

const errorHtml = (percent: number | null): Html | null =>
  percent === null ? null : html`<span class="range">± ${plain(percent)} %</span>`;

function against(rates: TokenRate, what: 'predicted' | 'limit'): string {
  const { measured, [what]: other } = rates;
  if (measured === null || other === null || other === 0) return '';
  return what === 'limit' ? `${plain((100 * measured) / other)} %` : ratioText(measured / other);
}

export function costTable(costs: readonly Cost[]): Html {
  const rows = costs.map((one) => [
    cell(nameAt(one)),
    cell(one.wattsMean === null ? 'unknown' : `${plain(one.wattsMean)} W`),
    cell(one.source === null ? 'unknown' : html`<b>${one.source}</b>`),
    cell(one.joulesPerToken === null ? 'unknown' : `${plain(one.joulesPerToken)} J`),
    cell(one.usdPerMtok === null ? 'unknown' : `$${plain(one.usdPerMtok)}`),
    cell(one.energyUsdPerMtok === null ? 'unknown' : `$${plain(one.energyUsdPerMtok)}`),
    words(one.meter === null ? one.basis : `${one.meter}: ${one.basis}`),
  ]);
  const head = ['', 'power', 'measured?', 'per output token', 'per million', 'of it energy', ''];
  return table(head, rows);
}
