/**
 * Loads the catalogue from the data files of the project (data/*.csv) into plain objects. It
 * checks that rows are complete and that every figure names a known source; what the figures mean
 * is the planner's business.
 */
import { readFileSync } from 'node:fs';
import { PlenumError } from '../base/errors.ts';
import type {
  Catalogue,
  CatalogueMachine,
  CatalogueModel,
  CataloguePrice,
  CatalogueSource,
  Figure,
  FigureStatus,
} from './catalogue-types.ts';
import { type CsvRow, csvNumber, parseCsv } from './csv.ts';

const DATA = new URL('../../data/', import.meta.url);
const STATUSES: readonly FigureStatus[] = ['published', 'measured', 'derived', 'unverified'];

/** Reads data/. Throws `file_corrupt` that says which file and row are wrong. */
export function loadCatalogue(): Catalogue {
  const sources = rows('sources.csv').map(
    (row): CatalogueSource => ({
      id: text(row, 'id'),
      where: text(row, 'where'),
      asOf: text(row, 'as_of'),
    }),
  );
  const known = new Set(sources.map(({ id }) => id));
  return {
    machines: machinesOf(known),
    models: rows('models.csv').map(modelOf),
    prices: rows('prices.csv').map((row) => priceOf(row, known)),
    sources,
  };
}

/** One of data/measurements/: published speeds, as their sources print them. */
export function loadMeasurements(name: string): readonly CsvRow[] {
  return rows(`measurements/${name}.csv`);
}

function rows(name: string): readonly CsvRow[] {
  return parseCsv(readFileSync(new URL(name, DATA), 'utf8'), `data/${name}`);
}

function text(row: CsvRow, column: string): string {
  const value = row[column];
  if (value === undefined || value === '') {
    const known = Object.values(row).slice(0, 2).join(', ');
    throw new PlenumError('file_corrupt', `catalogue: no ${column} in the row of ${known}`);
  }
  return value;
}

function number(row: CsvRow, column: string): number {
  const value = csvNumber(row, column, 'catalogue');
  if (value === null) {
    throw new PlenumError('file_corrupt', `catalogue: no ${column} of ${row.id ?? row.item}`);
  }
  return value;
}

function figureOf(row: CsvRow, sources: ReadonlySet<string>): Figure {
  const source = text(row, 'source');
  const status = STATUSES.find((name) => name === row.status);
  if (!sources.has(source) || status === undefined) {
    const what = `source '${source}' or status '${row.status}' is not a known one`;
    throw new PlenumError('file_corrupt', `catalogue: ${what} (${Object.values(row).join(', ')})`);
  }
  return {
    value: number(row, 'value'),
    unit: text(row, 'unit'),
    source,
    asOf: text(row, 'as_of'),
    status,
    note: row.note ?? '',
  };
}

function machinesOf(sources: ReadonlySet<string>): readonly CatalogueMachine[] {
  const figures = new Map<string, Figure[]>();
  for (const row of rows('machine-figures.csv')) {
    const key = `${text(row, 'machine')} ${text(row, 'figure')}`;
    figures.set(key, [...(figures.get(key) ?? []), figureOf(row, sources)]);
  }
  return rows('machines.csv').map((row) => {
    const id = text(row, 'id');
    const kind = text(row, 'kind');
    if (kind !== 'unified' && kind !== 'discrete') {
      throw new PlenumError('file_corrupt', `catalogue: ${id} is '${kind}', not unified|discrete`);
    }
    const all = (figure: string): readonly Figure[] => figures.get(`${id} ${figure}`) ?? [];
    const one = (figure: string): Figure | null => all(figure)[0] ?? null;
    return {
      id,
      vendor: text(row, 'vendor'),
      name: text(row, 'name'),
      kind,
      family: text(row, 'family'),
      dies: number(row, 'dies'),
      bandwidth: one('bandwidth'),
      gpuCores: one('gpuCores'),
      matrixTflops: one('matrixTflops'),
      vectorTflops: one('vectorTflops'),
      memory: [...all('memory')].sort((a, b) => a.value - b.value),
      pcie: one('pcie'),
      boardWatts: one('boardWatts'),
      loadWatts: one('loadWatts'),
      idleWatts: one('idleWatts'),
      priceUsd: one('priceUsd'),
    };
  });
}

function modelOf(row: CsvRow): CatalogueModel {
  return {
    id: text(row, 'id'),
    arch: text(row, 'arch'),
    layers: number(row, 'layers'),
    width: number(row, 'width'),
    heads: number(row, 'heads'),
    kvHeads: number(row, 'kv_heads'),
    headDim: number(row, 'head_dim'),
    ff: number(row, 'ff'),
    vocab: number(row, 'vocab'),
    contextTokens: number(row, 'context'),
    isTied: text(row, 'tied') === 'true',
    experts: csvNumber(row, 'experts', 'catalogue') ?? 0,
    expertsUsed: csvNumber(row, 'experts_used', 'catalogue') ?? 0,
    windowTokens: csvNumber(row, 'window', 'catalogue'),
    windowPeriod: csvNumber(row, 'window_period', 'catalogue') ?? 0,
    parameters: number(row, 'parameters'),
    source: text(row, 'source'),
    asOf: text(row, 'as_of'),
  };
}

const PRICE_KINDS = ['rental', 'hosted', 'power', 'system-memory'] as const;

function priceOf(row: CsvRow, sources: ReadonlySet<string>): CataloguePrice {
  const kind = PRICE_KINDS.find((name) => name === row.kind);
  if (kind === undefined) {
    throw new PlenumError('file_corrupt', `catalogue: a price of unknown kind '${row.kind}'`);
  }
  const item = text(row, 'item');
  return { item, kind, figure: text(row, 'figure'), ...figureOf(row, sources) };
}
