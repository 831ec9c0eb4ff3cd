/** What `plenum plan` prints for people: verdict, memory, speed, cost, what to do instead. */
import { formatBytes } from '../../base/units.ts';
import type { Plan, PlannedSpeculation } from '../../planner/plan.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import type { Speed } from '../../planner/speed.ts';
import type { CliOutput } from '../context.ts';
import { columns, figure, paragraph } from './columns.ts';
import type { Asked } from './plan-asked.ts';
import { bare, millisOf, percent, title, usd } from './plan-format.ts';
import { loadSection, loadSentence } from './plan-report-load.ts';
import { costSection } from './plan-report-money.ts';
import type { PlanRow } from './plan-row.ts';
import { setupLabel, setupName } from './setups.ts';

const INSET = { indent: 2 } as const;

/** The answer in one sentence, and a second one where load was simulated. */
export function verdictOf(
  row: Pick<PlanRow, 'setup' | 'plan' | 'isEncoder' | 'load'>,
  asked: Asked,
): string {
  const { setup, plan } = row;
  const { memory, speed, cost, models } = plan;
  const names = models.map(({ model }) => model);
  const what = names.length === 1 ? names[0] : `The mix of ${names.join(', ')}`;
  const label = setupLabel(setup);
  if (!plan.fits) {
    const needed = `${formatBytes(memory.availableBytes + memory.shortBytes)} are needed`;
    const missing = `${formatBytes(memory.shortBytes)} of them are missing`;
    return `${what} does not fit ${label}: ${needed}, ${missing}.`;
  }
  if (row.isEncoder) return `${what} fits ${label}: ${readingOf(plan)}.`;
  const { users } = asked.traffic;
  const where = plan.isOffloaded ? ' and its system memory' : '';
  const each = `${figure(speed.perUserTps)} tokens per second`;
  const gets = users === 1 ? `one user gets ${each}` : `each of ${users} users gets ${each}`;
  const missed =
    asked.targetTps !== null && speed.perUserTps < asked.targetTps
      ? `, which misses ${figure(asked.targetTps)}`
      : '';
  const price =
    cost.usdPerMtokOut === null
      ? 'at a cost that is unknown'
      : `at ${usd(cost.usdPerMtokOut)} per million output tokens`;
  const under = row.load === null ? '' : ` ${loadSentence(row.load, asked)}`;
  return `${what} fits ${label}${where}: ${gets}${missed}, ${price}.${under}`;
}

function readingOf({ speed, cost }: Plan): string {
  const rate = speed.prefillTps === null ? 'an unknown number of' : figure(speed.prefillTps);
  const price =
    cost.usdPerMtokIn === null
      ? 'at a cost that is unknown'
      : `at ${usd(cost.usdPerMtokIn)} per million tokens`;
  return `it reads ${rate} tokens per second, ${price}`;
}

/** Everything about one machine. */
export function reportOne(row: PlanRow, asked: Asked, output: CliOutput): string {
  const { setup, plan } = row;
  return [
    paragraph(row.verdict, output),
    setup.measured === undefined ? '' : paragraph(setup.measured, output),
    memorySection(setup, plan, output),
    speedSection(row, asked, output),
    loadSection(row, asked, output),
    costSection(row, asked, output),
    insteadSection(row, output),
  ]
    .filter((text) => text !== '')
    .join('\n');
}

function memorySection(setup: MachineSetup, plan: Plan, output: CliOutput): string {
  const { memory } = plan;
  const isMany = new Set(memory.items.map(({ model }) => model)).size > 1;
  const isDiscrete = setup.machine.kind === 'discrete';
  const text: string[] = [title(`Memory of ${setupLabel(setup)}`, output)];
  const rows: string[][] = [];
  let previous: string | null = null;
  for (const { model, name, bytes, source, memory: where } of memory.items) {
    // A mix has a line for each model, and its items below.
    if (isMany && model !== previous) rows.push([model, '', '']);
    previous = model;
    const note = isDiscrete && where === 'host' ? ' (in system memory)' : '';
    const inset = isMany ? '  ' : '';
    rows.push([`${inset}${name}`, formatBytes(bytes), `${source}${note}`]);
  }
  text.push(columns(['ITEM', 'BYTES', 'SOURCE'], rows, output, { right: [1], indent: 2 }));
  const sum = `${formatBytes(memory.neededBytes)} needed`;
  const has = `${formatBytes(memory.availableBytes)} for models (${memory.source})`;
  text.push(paragraph(`${sum}; ${has}`, output, { indent: 2 }));
  return text.join('');
}

function speedSection(row: PlanRow, { traffic }: Asked, output: CliOutput): string {
  const { plan, isEncoder, speculation } = row;
  const { users, promptTokens, outputTokens, cachedTokens } = traffic;
  const crowd = users === 1 ? '1 user' : `${users} users`;
  const heading = `Speed for ${crowd}, ${promptTokens} tokens in, ${outputTokens} out`;
  const note = plan.fits ? '' : ' (if it fitted)';
  const rows = plan.models.flatMap(({ model, speed }, index) => {
    const own = index === 0 ? speedLines(speed, users, cachedTokens) : [decodeLine(speed)];
    const lines = isEncoder && index === 0 ? own.filter(([what]) => what === 'prefill') : own;
    return plan.models.length === 1
      ? lines
      : lines.map(([what, value, why]) => [
          `${index === 0 ? '' : `${model} `}${what}`,
          value ?? '',
          why ?? '',
        ]);
  });
  const drafted = speculation === null ? '' : paragraph(draftText(speculation), output, INSET);
  return title(heading + note, output) + bare(rows, output) + drafted;
}

function draftText({ draft, draftTokens, acceptance }: PlannedSpeculation): string {
  const proposes = `${draft.description} proposes ${draftTokens} tokens at a time`;
  return `with speculation: ${proposes}, each accepted in ${percent(acceptance)} of cases (assumed)`;
}

function decodeLine(speed: Speed): string[] {
  const { decodeTps, errorPct, binding, ofLimit, limitTps } = speed;
  const limit = `${percent(ofLimit)} of the limit of ${figure(limitTps)}`;
  return [
    'decode',
    `${figure(decodeTps)} tok/s ± ${Math.ceil(errorPct.decode)} %`,
    `bound by ${binding}, ${limit} tok/s`,
  ];
}

function speedLines(speed: Speed, users: number, cached: number): string[][] {
  const each = `${millisOf(speed.interTokenMs)} between two tokens`;
  const prefill = speed.prefillTps;
  return [
    decodeLine(speed),
    ...(users === 1 ? [] : [['each user', `${figure(speed.perUserTps)} tok/s`, each]]),
    [
      'prefill',
      prefill === null
        ? 'unknown'
        : `${figure(prefill)} tok/s ± ${Math.ceil(speed.errorPct.prefill)} %`,
      speed.prefillBinding === null
        ? 'no compute rate of this machine is known'
        : `bound by ${speed.prefillBinding}`,
    ],
    ['first token', millisOf(speed.ttftMs), 'a cold prompt, alone'],
    ...(cached === 0
      ? []
      : [['', millisOf(speed.warmTtftMs), `with ${cached} tokens of it cached`]]),
  ];
}

function insteadSection({ instead, isMet }: PlanRow, output: CliOutput): string {
  if (instead.length === 0) return isMet ? '' : title('Instead', output) + nothingMeets(output);
  const rows = instead.map(({ kind, change, perUserTps }) => [
    kind,
    perUserTps === null ? '' : `${figure(perUserTps)} tok/s`,
    change,
  ]);
  const head = ['KIND', 'PER USER', 'INSTEAD'];
  return title('Instead', output) + columns(head, rows, output, { indent: 2 });
}

function nothingMeets(output: CliOutput): string {
  const tried =
    'fewer bits, a shorter context, a draft that speculates, a mixture of experts of its size, and ' +
    'other machines with a known price';
  return paragraph(`nothing in the catalogue meets it; tried: ${tried}`, output, { indent: 2 });
}

/** One line per machine, and a sentence that says which is best at what. */
export function reportMany(rows: readonly PlanRow[], asked: Asked, output: CliOutput): string {
  const isLoaded = asked.load !== null;
  const cells = rows.map((row) => machineCells(row, isLoaded));
  const fifth = isLoaded ? 'REQ/S' : 'LIMIT';
  const head = ['MACHINE', 'FITS', 'HAS', 'TOK/S', fifth, 'TTFT', '$/MTOK'];
  const table = columns(head, cells, output, { right: [2, 3, 4, 5, 6] });
  const [first] = rows;
  const names = first?.plan.models.map(({ model }) => model).join(', ') ?? '';
  const { users, promptTokens, outputTokens } = asked.traffic;
  const needed = formatBytes(first?.plan.memory.neededBytes ?? 0);
  const rate =
    asked.load?.target === null
      ? 'REQ/S is about what can be served at most'
      : 'REQ/S is the highest simulated rate that meets the target';
  const limit = 'LIMIT is the share of the physical limit';
  const legend =
    `${names}: ${needed} needed; ${users} at a time, ${promptTokens} tokens in, ` +
    `${outputTokens} out; ${percent(asked.utilisation)} utilised. ` +
    `Tokens per second are a user’s, ${isLoaded ? rate : limit}, $ are per million output tokens ` +
    'of the owned machine.';
  return `${paragraph(bestOf(rows), output)}\n${table}\n${paragraph(legend, output)}`;
}

function machineCells({ setup, plan, load }: PlanRow, isLoaded: boolean): string[] {
  const { speed, cost, memory } = plan;
  const has = formatBytes(memory.availableBytes).replace(' ', '');
  // How fast it would be if it fitted is no reason to choose a machine.
  if (!plan.fits) return [setupName(setup), 'no', has, '-', '-', '-', '-'];
  const { highest = null, capacityPerSecond } = load ?? {};
  const rate = highest === null ? capacityPerSecond : (highest.ratePerSecond ?? 0);
  return [
    setupName(setup),
    'yes',
    has,
    `${figure(speed.perUserTps)}±${Math.ceil(speed.errorPct.decode)}%`,
    isLoaded ? figure(rate) : percent(speed.ofLimit).replace(' ', ''),
    millisOf(speed.ttftMs).replace(' ', ''),
    usd(cost.usdPerMtokOut),
  ];
}

function bestOf(rows: readonly PlanRow[]): string {
  const holding = rows.filter(({ plan }) => plan.fits);
  if (holding.length === 0) return `None of these ${rows.length} machines holds it.`;
  const fastest = holding.reduce((a, b) =>
    b.plan.speed.perUserTps > a.plan.speed.perUserTps ? b : a,
  );
  const costOf = ({ plan }: PlanRow): number => plan.cost.usdPerMtokOut ?? Number.POSITIVE_INFINITY;
  const cheapest = holding.reduce((a, b) => (costOf(b) < costOf(a) ? b : a));
  const speed = `${figure(fastest.plan.speed.perUserTps)} tokens per second`;
  const cost = usd(cheapest.plan.cost.usdPerMtokOut);
  // Machines without a known price or power are not in the running.
  const label = setupLabel(cheapest.setup);
  const cheap = Number.isFinite(costOf(cheapest))
    ? `, and ${label} is the cheapest known at ${cost} per million output tokens`
    : '; what tokens cost is unknown for all of them';
  const count = `${holding.length} of ${rows.length} machines hold it`;
  return `${count}: ${setupLabel(fastest.setup)} is the fastest with ${speed}${cheap}.`;
}
