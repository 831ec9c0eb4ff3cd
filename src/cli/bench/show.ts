/** The result in a terminal: tables that fit 80 columns, and what is to be said in words. */
import type { Report, Summary } from '../../bench/result.ts';
import { formatValue, headline } from '../../bench/stats/sentence.ts';
import { findEstimate } from '../../bench/stats/summary.ts';
import { type CliOutput, paint } from '../context.ts';
import { columns, paragraph } from '../planning/columns.ts';

export function showReport(report: Report, output: CliOutput): void {
  const write = (text: string): void => output.write(text);
  const { setup } = report;
  write(`\n${paint(output, 'bold', setup.scenario.description)}\n`);
  write(paragraph(setupLine(report), output, { hang: 2 }));
  write('\n');
  const streams = !['embed', 'rerank'].includes(setup.scenario.name);
  write(streams ? latencyTable(report, output) : wholeTable(report, output));
  write('\n');
  write(throughputTable(report, output));
  showErrors(report, output);
  showVerdicts(report, output);
  for (const knee of report.knees) write(paragraph(`${knee.target}: ${knee.reason}`, output, HANG));
  showColdStarts(report, output);
  showNotes(report, output);
}

const HANG = { hang: 2 };

function setupLine({ setup, runs }: Report): string {
  const { load, machine, scenario } = setup;
  const pace =
    load.mode === 'closed'
      ? `${load.clients} clients`
      : load.rate === null
        ? 'arrivals of a file'
        : `${load.rate} requests per second`;
  const lengths = `${scenario.settings.promptTokens} in, ${scenario.settings.outputTokens} out`;
  return [
    scenario.settings.sweepValues === undefined
      ? pace
      : `sweep of ${scenario.settings.sweepAxis} ${scenario.settings.sweepValues}`,
    `tokens ${lengths}`,
    `${runs.length} runs`,
    `seed ${setup.seed}`,
    `${machine.cpu}, ${machine.cores} logical processors, ${machine.os}`,
  ].join('; ');
}

const value = (
  summary: Summary,
  metric: Parameters<typeof findEstimate>[1],
  statistic: Parameters<typeof findEstimate>[2],
): string => {
  const found = findEstimate(summary, metric, statistic)?.value ?? null;
  return found === null ? '–' : formatValue(metric, found);
};

const named = ({ target, point }: Summary): string =>
  point === null ? target : `${target} ${point.axis} ${point.value}`;

function latencyTable({ summaries }: Report, output: CliOutput): string {
  const rows = summaries.map((summary) => [
    named(summary),
    value(summary, 'ttft', 'p50'),
    value(summary, 'ttft', 'p95'),
    value(summary, 'itl', 'p50'),
    value(summary, 'itl', 'p95'),
    value(summary, 'gap', 'p95'),
    value(summary, 'e2e', 'p50'),
  ]);
  const head = ['target', 'TTFT p50', 'p95', 'ITL p50', 'p95', 'gap p95', 'e2e p50'];
  return columns(head, rows, output, { right: [1, 2, 3, 4, 5, 6] });
}

function wholeTable({ summaries }: Report, output: CliOutput): string {
  const rows = summaries.map((summary) => [
    named(summary),
    value(summary, 'e2e', 'p50'),
    value(summary, 'e2e', 'p95'),
    value(summary, 'e2e', 'max'),
  ]);
  return columns(['target', 'answer p50', 'p95', 'max'], rows, output, { right: [1, 2, 3] });
}

function throughputTable({ summaries, setup }: Report, output: CliOutput): string {
  const hasSlo = setup.slo !== null;
  const hasMemory = summaries.some(
    (summary) => (findEstimate(summary, 'memoryPeak', 'value')?.value ?? null) !== null,
  );
  const head = [
    ...['target', 'out tok/s', 'in tok/s', 'req/s'],
    ...(hasSlo ? ['goodput'] : []),
    ...['cached', ...(hasMemory ? ['memory', 'cores'] : []), 'good', 'errors'],
  ];
  const rows = summaries.map((summary) => [
    named(summary),
    bare(value(summary, 'outputRate', 'value')),
    bare(value(summary, 'inputRate', 'value')),
    bare(value(summary, 'requestRate', 'value')),
    ...(hasSlo ? [bare(value(summary, 'goodput', 'value'))] : []),
    value(summary, 'cachedShare', 'value'),
    ...(hasMemory
      ? [value(summary, 'memoryPeak', 'value'), bare(value(summary, 'cpuShare', 'value'))]
      : []),
    String(summary.ok),
    String(Object.values(summary.errors).reduce((sum, n) => sum + (n ?? 0), 0)),
  ]);
  return columns(head, rows, output, { right: head.map((_, i) => i).slice(1) });
}

/** The unit stands in the heading. */
const bare = (text: string): string => text.replace(/ (tok\/s|req\/s|cores)$/, '');

function showErrors({ summaries, runs }: Report, output: CliOutput): void {
  for (const summary of summaries) {
    const kinds = Object.entries(summary.errors).filter(([, count]) => count > 0);
    for (const [kind, count] of kinds) {
      const example = runs
        .filter(({ target }) => target === summary.target)
        .flatMap(({ records }) => records)
        .find(({ error }) => error?.kind === kind)?.error;
      const text = `${named(summary)}: ${count} × ${kind}: ${example?.message ?? ''}`;
      output.write(paragraph(text, output, HANG));
    }
  }
}

function showVerdicts({ comparisons, targets }: Report, output: CliOutput): void {
  if (comparisons.length === 0) return;
  output.write('\n');
  for (const { name } of targets.slice(1)) {
    const own = comparisons.filter(({ target }) => target === name);
    const points = new Set(own.map(({ point }) => JSON.stringify(point)));
    for (const point of points) {
      const at = own.filter((one) => JSON.stringify(one.point) === point);
      const where = at[0]?.point;
      const lead = where == null ? '' : `At ${where.axis} ${where.value}: `;
      output.write(paragraph(`${lead}${headline(at)}`, output, HANG));
    }
  }
}

function showColdStarts({ targets }: Report, output: CliOutput): void {
  for (const { name, coldStarts } of targets) {
    const [first] = coldStarts;
    if (first === undefined) continue;
    const ready = coldStarts.map(({ readyMs }) => readyMs).toSorted((a, b) => a - b);
    const middle = ready[Math.floor(ready.length / 2)] ?? 0;
    const ttft = first.first?.firstTokenMs ?? null;
    const answer = ttft === null ? '' : `, its first request's TTFT ${Math.round(ttft)} ms`;
    const times = `${name}: ready ${Math.round(middle)} ms after its start`;
    output.write(`${times} (median of ${ready.length})${answer}\n`);
  }
}

function showNotes(report: Report, output: CliOutput): void {
  const notes = [
    ...report.notes,
    ...report.targets.flatMap(({ name, quirks }) => quirks.map((quirk) => `${name}: ${quirk}`)),
    ...report.runs
      .filter(({ valid }) => !valid)
      .map((run) => `${run.target}, run ${run.repetition}, is not valid: ${run.notes.join('; ')}`),
    ...(report.partial ? ['This report is partial.'] : []),
  ];
  if (notes.length > 0) output.write('\n');
  for (const note of notes) output.write(paragraph(`- ${note}`, output, HANG));
}
