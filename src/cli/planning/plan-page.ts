/**
 * A plan as one page for a browser: verdict, tables and plots, everything inside the file. It asks
 * nothing of any server and has no script.
 */
import { formatBytes } from '../../base/units.ts';
import type { Catalogue } from '../../model/catalogue-types.ts';
import type { NamedBreakEven } from '../../planner/money-offers.ts';
import { figure } from './columns.ts';
import type { Asked } from './plan-asked.ts';
import { evenText, millisOf, percent, usd } from './plan-format.ts';
import { MACHINES_PLOTTED, planPlots } from './plan-plots.ts';
import { targetText, trafficText } from './plan-report-load.ts';
import type { PlanRow } from './plan-row.ts';
import { setupLabel } from './setups.ts';
import type { Wanted } from './wanted.ts';

export interface PageFacts {
  readonly references: readonly string[];
  readonly first: Wanted | undefined;
  readonly catalogue: Catalogue;
  readonly version: string;
}

const STYLE = `
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #f6f8fa; margin: 0; }
main { max-width: 78rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.lead { font-size: 1.05rem; }
.quiet { color: #59636e; font-size: .9rem; }
table { border-collapse: collapse; background: #fff; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #d1d9e0;
  vertical-align: top; }
th { font-weight: 600; background: #f0f3f6; white-space: nowrap; }
td.n, th.n { text-align: right; }
td.n, th.n, td:first-child, td:last-child { white-space: nowrap; }
.scroll { overflow-x: auto; border: 1px solid #d1d9e0; border-radius: 6px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(34rem, 100%), 1fr));
  gap: 1rem; }
.plots svg { width: 100%; height: auto; border: 1px solid #d1d9e0; border-radius: 6px;
  background: #fff; display: block; }
`;

export function planPage(rows: readonly PlanRow[], asked: Asked, facts: PageFacts): string {
  const { references, version, first } = facts;
  const { users, promptTokens, outputTokens } = asked.traffic;
  const heading = `Plan for ${references.join(' + ')}`;
  const traffic =
    `${users} at a time, ${promptTokens} tokens in, ${outputTokens} out, ` +
    `${percent(asked.utilisation)} of the time in use`;
  const plots = planPlots(rows, asked, first);
  const holding = rows.filter(({ plan }) => plan.fits).length;
  const note =
    holding > MACHINES_PLOTTED
      ? `Plotted: the first ${MACHINES_PLOTTED} machines that hold it.`
      : '';
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(heading)}</title><style>${STYLE}</style></head><body><main>
<h1>${escapeHtml(heading)}</h1>
<p class="quiet">${escapeHtml(traffic)}. Every speed is predicted; Plenum ${escapeHtml(version)}.</p>
${rows.map(({ verdict }) => `<p class="lead">${escapeHtml(verdict)}</p>`).join('\n')}
${section('Machines', machineTable(rows))}
${asked.load === null ? '' : section(loadHeading(asked), loadTable(rows))}
${notSimulated(rows)}
<h2>Plots</h2><p class="quiet">${escapeHtml(note)}</p>
<div class="plots">${plots.join('\n')}</div>
${section('Cost per million tokens', offersTable(rows))}
${section('Memory', memoryTable(rows))}
${insteadTable(rows)}
${section('Figures and their sources', sourcesTable(rows, facts.catalogue))}
</main></body></html>
`;
}

const section = (heading: string, table: string): string =>
  table === '' ? '' : `<h2>${escapeHtml(heading)}</h2><div class="scroll">${table}</div>`;

export const escapeHtml = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');

/** `right`: columns of numbers, by index. */
function table(
  head: readonly string[],
  body: readonly (readonly string[])[],
  right: readonly number[],
): string {
  if (body.length === 0) return '';
  const kind = (column: number): string => (right.includes(column) ? ' class="n"' : '');
  const cells = (tag: 'th' | 'td', row: readonly string[]): string =>
    row.map((text, i) => `<${tag}${kind(i)}>${escapeHtml(text)}</${tag}>`).join('');
  const lines = body.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n');
  return `<table><thead><tr>${cells('th', head)}</tr></thead><tbody>${lines}</tbody></table>`;
}

function machineTable(rows: readonly PlanRow[]): string {
  const head = ['machine', 'fits', 'has', 'needed', 'tok/s a user', 'tok/s all', 'of the limit'];
  const more = ['bound by', 'first token', 'prompt tok/s'];
  const body = rows.map(({ setup, plan }) => {
    const { speed, memory } = plan;
    const error = `± ${Math.ceil(speed.errorPct.decode)} %`;
    const speeds = plan.fits
      ? [
          `${figure(speed.perUserTps)} ${error}`,
          figure(speed.decodeTps),
          percent(speed.ofLimit),
          speed.binding,
          millisOf(speed.ttftMs),
          figure(speed.prefillTps),
        ]
      : ['–', '–', '–', '–', '–', '–'];
    const bytes = [formatBytes(memory.availableBytes), formatBytes(memory.neededBytes)];
    return [setupLabel(setup), plan.fits ? 'yes' : 'no', ...bytes, ...speeds];
  });
  return table([...head, ...more], body, [2, 3, 4, 5, 6, 8, 9]);
}

function loadHeading(asked: Asked): string {
  const target = asked.load?.target ?? null;
  const wish = target === null ? '' : `; the target is ${targetText(target)}`;
  return `${trafficText(asked)}, simulated${wish}`;
}

function loadTable(rows: readonly PlanRow[]): string {
  const head = ['machine', 'first token p50', 'p95', 'between tokens p50', 'p95', 'tok/s out'];
  const more = ['busy', 'meet it', 'highest rate, 1/s'];
  const body = rows.flatMap(({ setup, load }) => {
    if (load === null) return [];
    const { result, highest } = load;
    const rate = highest?.ratePerSecond ?? null;
    const cells = [
      setupLabel(setup),
      millisOf(result.ttftMs?.p50),
      millisOf(result.ttftMs?.p95),
      millisOf(result.itlMs?.p50),
      millisOf(result.itlMs?.p95),
      figure(result.outputTps),
      percent(result.utilisation),
      result.goodput === null ? '–' : percent(result.goodput.share),
      highest === null ? '–' : rate === null ? 'none' : figure(rate),
    ];
    return [cells];
  });
  return table([...head, ...more], body, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/** Machines that were to be simulated and were not, with the reason. */
function notSimulated(rows: readonly PlanRow[]): string {
  return rows
    .filter(({ loadMissing }) => loadMissing !== null)
    .map(({ setup, loadMissing }) => {
      const why = `Not simulated: ${setupLabel(setup)}, ${loadMissing}.`;
      return `<p class="quiet">${escapeHtml(why)}</p>`;
    })
    .join('\n');
}

function offersTable(rows: readonly PlanRow[]): string {
  const head = ['machine', 'offer', '$ out', '$ in', '$ mixed', 'own is cheaper', 'source'];
  const body = rows.flatMap(({ setup, plan, money }) =>
    plan.fits
      ? money.offers.map((offer) => {
          const evens = money.breakEven.filter(({ against }) => against === offer.name);
          const even = evens.map(evenCell).join('; ');
          const { usdPerMtokOut, usdPerMtokIn, usdPerMtok, source, asOf } = offer;
          const prices = [usd(usdPerMtokOut), usd(usdPerMtokIn), usd(usdPerMtok)];
          const where = asOf === null ? source : `${source}, ${asOf}`;
          return [setupLabel(setup), offer.name, ...prices, even, where];
        })
      : [],
  );
  return table(head, body, [2, 3, 4]);
}

const evenCell = (even: NamedBreakEven): string =>
  even.rented === null ? evenText(even) : `rented ${even.rented}: ${evenText(even)}`;

function memoryTable(rows: readonly PlanRow[]): string {
  const items = rows[0]?.plan.memory.items ?? [];
  const body = items.map(({ model, name, bytes, source }) => [
    model,
    name,
    formatBytes(bytes),
    source,
  ]);
  return table(['model', 'item', 'bytes', 'how it is counted'], body, [2]);
}

function insteadTable(rows: readonly PlanRow[]): string {
  const body = rows.flatMap(({ setup, instead }) =>
    instead.map(({ kind, change, perUserTps }) => {
      const speed = perUserTps === null ? '' : figure(perUserTps);
      return [setupLabel(setup), kind, change, speed];
    }),
  );
  return section('Instead', table(['machine', 'kind', 'change', 'tok/s a user'], body, [3]));
}

function sourcesTable(rows: readonly PlanRow[], { sources }: Catalogue): string {
  const body = rows.flatMap(({ setup, money }) =>
    money.assumptions.map(({ name, value, unit, source, asOf }) => {
      const where = sources.find(({ id }) => id === source)?.where ?? source;
      return [setupLabel(setup), name, `${value} ${unit}`.trim(), where, asOf ?? ''];
    }),
  );
  return table(['machine', 'figure', 'value', 'source', 'as of'], body, [2]);
}
