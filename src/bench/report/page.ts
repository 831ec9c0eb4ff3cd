/**
 * The report as one page that needs nothing else: its style and figures are in it, and it may load
 * nothing (its own policy forbids it). Everything that came from a target is escaped.
 */
import { formatBytes, formatMillis } from '../../base/units.ts';
import { FIGURE_COLOURS, svgFigure } from '../../plot/svg-plot.ts';
import type { Comparison, Report, Target } from '../result.ts';
import { headline } from '../stats/sentence.ts';
import { pointsOf } from '../stats/summary.ts';
import {
  distributionFigures,
  type Figure,
  pointTitle,
  samePoint,
  shownPoint,
  sweepFigures,
  timelineFigures,
} from './figures.ts';
import { type Html, html, trusted } from './html.ts';
import { STYLE } from './style.ts';
import {
  clientTable,
  comparisonTable,
  costTable,
  errorsTable,
  latencyTable,
  predictionTable,
  ratesTable,
  startsTable,
} from './tables.ts';

/** The whole document. */
export function reportPage(report: Report): string {
  const { targets, setup } = report;
  const names = targets.map(({ name }) => name).join(' against ');
  const point = shownPoint(report);
  const at = point === null ? null : html`<p class="dim">At ${pointTitle(point)}.</p>`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${names}: ${setup.scenario.name}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<h1>${names}</h1>
<p class="lead">${setup.scenario.description}; ${loadText(report)}.</p>
<p class="dim small">Measured ${report.createdAt.slice(0, 16).replace('T', ' ')} UTC with
plenum bench ${setup.versions.plenum} on ${setup.machine.cpu}.</p>
${warnings(report)}
${verdicts(report)}
<h2>Latency</h2>
<p class="dim small">Of good requests, from the moment at which each was meant to be sent. Below each
figure its 95 % interval over repetitions.</p>
${latencyTable(report)}
<h2>Throughput and what it took</h2>
${ratesTable(report)}
${section('More and more load', sweepFigures(report), report, kneeList(report))}
${section('Distributions', distributionFigures({ report, point }), report, at)}
${section('What happened when', timelineFigures({ report, point }), report, timelineNote(at))}
${comparisons(report)}
${optional('Errors', errorsTable(report))}
${optional('Cold start', startsTable(report))}
${predictions(report)}
${costs(report)}
<h2>The measuring client</h2>
<p class="dim small">The worst run of each target: what the instrument itself added.</p>
${clientTable(report)}
${setupSection(report)}
</body>
</html>
`;
  return page.text;
}

function loadText({ setup, runs }: Report): string {
  const { load, repetitions } = setup;
  const points = pointsOf(runs).filter((point) => point !== null);
  const times = `${repetitions} ${repetitions === 1 ? 'repetition' : 'repetitions'} of each`;
  const [first, last] = [points[0], points.at(-1)];
  if (first !== undefined && last !== undefined) {
    return `a sweep from ${pointTitle(first)} to ${pointTitle(last)}, ${times}`;
  }
  if (load.mode === 'closed') {
    return `${load.clients} ${load.clients === 1 ? 'client' : 'clients'} at once, ${times}`;
  }
  const rate = load.rate === null ? 'arrivals from a file' : `${load.rate} requests per second`;
  return `${rate}, sent whether or not earlier ones are answered, ${times}`;
}

function warnings({ partial, runs }: Report): Html {
  const invalid = runs.filter(({ valid }) => !valid);
  const items = invalid.map(({ target, repetition, point, notes }) => {
    const where = point === null ? '' : ` at ${pointTitle(point)}`;
    return html`<li>${target}, repetition ${repetition}${where}: ${notes.join('; ')}</li>\n`;
  });
  const isEnd = partial ? 'This report is partial: the bench did not come to its end.' : null;
  return html`${isEnd === null ? null : html`<p class="warning">${isEnd}</p>`}
${
  items.length === 0
    ? null
    : html`<details class="warning"><summary>${items.length} of ${runs.length} runs are left out of
every figure</summary><ul>
${items}</ul></details>`
}`;
}

/** Comparisons by target and point, in their order. */
function groupsOf({ comparisons: all }: Report): Comparison[][] {
  const groups: Comparison[][] = [];
  for (const one of all) {
    const group = groups.find(
      ([first]) => first?.target === one.target && samePoint(first.point, one.point),
    );
    if (group === undefined) groups.push([one]);
    else group.push(one);
  }
  return groups;
}

function verdicts(report: Report): Html | null {
  const groups = groupsOf(report);
  if (groups.length === 0) return null;
  const items = groups.map((group) => {
    const point = group[0]?.point ?? null;
    const where = point === null ? null : html`<b>${pointTitle(point)}</b>: `;
    return html`<li>${where}${headline(group)}</li>\n`;
  });
  return html`<h2>Verdict</h2>\n<ul class="lead">\n${items}</ul>\n`;
}

function comparisons(report: Report): Html | null {
  const groups = groupsOf(report).filter((group) =>
    group.some(({ verdict }) => verdict !== 'undecided'),
  );
  if (groups.length === 0) return null;
  const parts = groups.map((group) => {
    const [first] = group;
    const where = first?.point == null ? '' : `, ${pointTitle(first.point)}`;
    return html`<h3>${first?.target ?? ''} against ${first?.baseline ?? ''}${where}</h3>
${comparisonTable(group)}`;
  });
  return html`<h2>Side by side</h2>
<p class="dim small">Ratios are target / baseline, of repetitions that lie next to each other in time.
Two equal targets would be told apart in any metric in at most 5 % of reports.</p>
${parts}`;
}

function section(title: string, figures: readonly Figure[], report: Report, lead: Html | null) {
  if (figures.length === 0) return null;
  const parts = figures.map(
    ({
      title: name,
      note,
      plot,
    }) => html`<figure><figcaption>${name}<span>${note}</span></figcaption>
${trusted(svgFigure(plot))}</figure>
`,
  );
  return html`<h2>${title}</h2>
${lead}${legend(report.targets)}
<div class="grid">
${parts}</div>
`;
}

function legend(targets: readonly Target[]): Html | null {
  if (targets.length < 2) return null;
  const names = targets.map(({ name }, index) => {
    const colour = (index % FIGURE_COLOURS) + 1;
    return html`<span><i style="background: var(--series-${colour})"></i>${name}</span>`;
  });
  return html`<p class="legend">${names}</p>`;
}

function kneeList({ knees }: Report): Html | null {
  if (knees.length === 0) return null;
  const items = knees.map(({ target, reason }) => html`<li><b>${target}</b>: ${reason}</li>\n`);
  return html`<ul>\n${items}</ul>\n`;
}

const timelineNote = (
  at: Html | null,
): Html => html`${at}<p class="dim small">The first repetition of
each target: the same requests, meant to be sent at the same moments where the load is open.</p>`;

const optional = (title: string, content: Html | null): Html | null =>
  content === null ? null : html`<h2>${title}</h2>\n${content}`;

function predictions({ predictions: all = [] }: Report): Html | null {
  if (all.length === 0) return null;
  return html`<h2>Measured, predicted, possible</h2>
<p class="dim small">Decode is tokens per second of all streams together while they answer; prefill is
tokens of the uncached prompt per second until the first token. No engine on this machine can be
above the physical limit: its peak bandwidth and operations with no overhead at all.</p>
${predictionTable(all)}`;
}

function costs({ costs: all = [] }: Report): Html | null {
  if (all.length === 0) return null;
  return html`<h2>Energy and money</h2>
<p class="dim small">Per million output tokens at the measured throughput, always busy.
<b>Measured</b> is what a meter of the machine counted; <b>modelled</b> is not a measurement.</p>
${costTable(all)}`;
}

function setupSection(report: Report): Html {
  const { setup, notes } = report;
  const { machine, versions, scenario, load, slo } = setup;
  const objective = Object.entries(slo ?? {}).flatMap(([name, ms]) =>
    ms === undefined ? [] : [`${name} ≤ ${formatMillis(ms)}`],
  );
  const rows: readonly (readonly [string, string])[] = [
    ['Machine', `${machine.cpu}, ${machine.cores} logical processors, ${machine.arch}`],
    ['Memory', formatBytes(machine.memoryBytes)],
    ['GPU', machine.gpu ?? 'not known'],
    ['System', machine.os],
    ['Versions', `plenum ${versions.plenum}, Node ${versions.node}`],
    ['Seed', String(setup.seed)],
    ['Load', load.mode === 'closed' ? 'closed loop' : 'open loop'],
    ['Objective', objective.length === 0 ? 'none' : objective.join(', ')],
    ['Repetitions', String(setup.repetitions)],
    ['Duration of a run', setup.durationMs === null ? 'by count' : formatMillis(setup.durationMs)],
    ['Requests of a run', setup.requests === null ? 'by time' : String(setup.requests)],
    ['Warm-up before each', `${setup.warmupRequests} requests, not counted`],
    ...Object.entries(scenario.settings).map(
      ([name, value]) => [spaced(name), value === null ? 'none' : String(value)] as const,
    ),
  ];
  const list = rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>\n`);
  return html`<h2>Set-up</h2>
<dl>
${list}</dl>
<pre>${setup.command.map(shellWord).join(' ')}</pre>
${report.targets.map(targetPart)}
${notes.length === 0 ? null : notesPart(notes)}
`;
}

const notesPart = (notes: readonly string[]): Html =>
  html`<h3>Notes</h3><ul>${notes.map((note) => html`<li>${note}</li>`)}</ul>`;

function targetPart(target: Target): Html {
  const { name, url, origin, command, model, server, tokenizer, quirks } = target;
  const rows: readonly (readonly [string, string])[] = [
    ['Address', origin === 'spawned' ? `${url}, started by the bench` : url],
    ...(command === null ? [] : [['Command', command] as const]),
    ['Model', model ?? 'unknown'],
    ['Says it is', server ?? 'nothing'],
    ['Prompts counted by', tokenizer === 'none' ? 'words' : tokenizer],
    ...(quirks.length === 0 ? [] : [['Quirks', quirks.join('; ')] as const]),
  ];
  const list = rows.map(([title, value]) => html`<dt>${title}</dt><dd>${value}</dd>\n`);
  return html`<h3>${name}</h3>\n<dl>\n${list}</dl>\n`;
}

/** `promptTokens` → `Prompt tokens`. */
function spaced(name: string): string {
  const text = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** As it could be typed again. */
const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
