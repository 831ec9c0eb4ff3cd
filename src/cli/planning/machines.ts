/** `plenum machines`: the machines of the catalogue, each figure with its source. */
import { loadCatalogue } from '../../model/catalogue-data.ts';
import type { Catalogue, CatalogueMachine, Figure } from '../../model/catalogue-types.ts';
import { findMachine } from '../../planner/lookup.ts';
import { type CliContext, type CliOutput, paint } from '../context.ts';
import { columns, figure, paragraph } from './columns.ts';
import { hasWords, SourceNotes } from './search.ts';

/** So many machines are shown with every figure instead of as rows. */
const DETAILED_MAX = 2;

/** @throws PlenumError `usage` with the nearest machines when none matches. */
export function machines(
  query: string | undefined,
  options: { readonly json?: true },
  context: CliContext,
): void {
  const { stdout } = context;
  const catalogue = loadCatalogue();
  const found = catalogue.machines.filter(({ id, name, vendor, kind, family }) =>
    hasWords(query, [id, name, vendor, kind, family]),
  );
  if (found.length === 0 && query !== undefined) findMachine(catalogue, query);
  if (options.json === true) {
    stdout.write(`${JSON.stringify(jsonOf(found, catalogue), null, 2)}\n`);
  } else if (found.length <= DETAILED_MAX) {
    for (const machine of found) stdout.write(detail(machine, catalogue, stdout));
  } else stdout.write(list(found, catalogue, stdout));
}

function jsonOf(found: readonly CatalogueMachine[], { sources, prices }: Catalogue) {
  const ids = new Set(found.map(({ id }) => id));
  const rentals = prices.filter(({ item }) => ids.has(item));
  const used = new Set([...found.flatMap(figuresOf), ...rentals].map(({ source }) => source));
  return { machines: found, rentals, sources: sources.filter(({ id }) => used.has(id)) };
}

const ONE_VALUE = [
  ['bandwidth', 'memory bandwidth'],
  ['gpuCores', 'GPU cores'],
  ['matrixTflops', 'matrix units, FP16'],
  ['vectorTflops', 'vector units, FP32'],
  ['pcie', 'link to the host'],
  ['boardWatts', 'power of the board'],
  ['loadWatts', 'power under load'],
  ['idleWatts', 'power when idle'],
  ['priceUsd', 'price'],
] as const;

function figuresOf(machine: CatalogueMachine): Figure[] {
  const single = ONE_VALUE.map(([key]) => machine[key]).filter((one) => one !== null);
  return [...machine.memory, ...single];
}

function list(
  found: readonly CatalogueMachine[],
  { sources }: Catalogue,
  output: CliOutput,
): string {
  const notes = new SourceNotes();
  const rows = found.map((machine) => {
    const { id, bandwidth, matrixTflops, loadWatts, priceUsd } = machine;
    return [
      id,
      memoryOf(machine),
      ...[bandwidth, matrixTflops, loadWatts, priceUsd].map((one) => figure(one?.value)),
      notes.numbersOf(figuresOf(machine).map(({ source }) => source)),
    ];
  });
  const head = ['MACHINE', 'GiB', 'GB/s', 'TFLOPS', 'WATTS', 'USD', 'SOURCES'];
  const table = columns(head, rows, output, { right: [1, 2, 3, 4, 5] });
  const more = paragraph('plenum machines MACHINE shows every figure of one.', output);
  return `${table}${notes.legend(sources, output)}\n${more}`;
}

/** `24`, or the least and the most: `16–64`. */
function memoryOf({ memory }: CatalogueMachine): string {
  const [least] = memory;
  const most = memory.at(-1);
  if (least === undefined || most === undefined) return 'unknown';
  return least === most ? `${least.value}` : `${least.value}–${most.value}`;
}

function detail(
  machine: CatalogueMachine,
  { sources, prices }: Catalogue,
  output: CliOutput,
): string {
  const notes = new SourceNotes();
  const row = (what: string, one: Figure): string[] => [
    what,
    `${one.value} ${one.unit}`,
    one.status,
    notes.numbersOf([one.source]),
    one.note,
  ];
  const memory = machine.memory.map((one) => row('memory', one));
  const single = ONE_VALUE.map(([key, what]) => {
    const one = machine[key];
    return one === null ? [what, 'unknown', '', '', ''] : row(what, one);
  });
  const rents = prices
    .filter(({ item, kind }) => item === machine.id && kind === 'rental')
    .map((price) => row('rent', price));
  const { id, name, kind, family } = machine;
  const heading = paint(output, 'bold', `${id}: ${name}, ${kind}, speed as of ${family}`);
  const rows = [...(memory.length === 0 ? [['memory', 'unknown', '', '', '']] : memory), ...single];
  const head = ['FIGURE', 'VALUE', 'STATUS', 'SOURCE', 'NOTE'];
  const table = columns(head, [...rows, ...rents], output, { indent: 2 });
  return `${heading}\n${table}${notes.legend(sources, output)}\n`;
}
