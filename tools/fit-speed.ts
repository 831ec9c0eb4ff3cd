/**
 * Fits the speed model to the published measurements and writes what it found: the parameters
 * (data/speed-params.json), the page of the fit (docs/speed-fit.md) and its plots. Prints the
 * errors by set. `--quick` leaves the leave-one-machine-out check, which takes minutes, as it was.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { loadCatalogue } from '../src/model/catalogue-data.ts';
import type { FamilyParams } from '../src/planner/speed-params.ts';
import { BACKENDS } from './speed-layout.ts';
import {
  errorsBySet,
  fitAll,
  leaveOneMachineOut,
  type Predicted,
  paramsFrom,
  predictAll,
  RowPredictor,
} from './speed-model.ts';
import { fitPage, type LeftOutLine, plotsOf } from './speed-page.ts';
import { speedRows } from './speed-rows.ts';

const ROOT = new URL('../', import.meta.url);
const LEFT_OUT = new URL('data/speed-left-out.json', ROOT);
/** A family with fewer rows is judged by its whole backend. */
const ROWS_ENOUGH = 6;

const rows = speedRows();
const used = rows.filter((row) => row.excluded === null);
const predictor = new RowPredictor(loadCatalogue());
const fitted = fitAll(predictor, used);
const predicted = predictAll(predictor, rows, paramsFrom(fitted));
const inFit = predicted.filter(({ row }) => row.excluded === null);

for (const { name, count, mape, bias } of errorsBySet(inFit)) {
  console.log(
    `${name.padEnd(28)} ${count} rows  MAPE ${mape.toFixed(1)} %  bias ${bias.toFixed(1)} %`,
  );
}
const leftOut = process.argv.includes('--quick') ? savedLeftOut() : leaveOut();
const families = Object.fromEntries(
  BACKENDS.flatMap((backend) =>
    backend.families.map((family): [string, FamilyParams] => [family, familyOf(family)]),
  ),
);
write('data/speed-params.json', `${JSON.stringify(rounded(families), null, 2)}\n`);
write('data/speed-left-out.json', `${JSON.stringify(leftOut, null, 2)}\n`);
write('docs/speed-fit.md', fitPage({ predicted, fitted, leftOut }));
for (const [name, svg] of plotsOf(predicted, predictor)) write(`docs/${name}`, svg);

function write(path: string, text: string): void {
  writeFileSync(new URL(path, ROOT), text);
}

function savedLeftOut(): readonly LeftOutLine[] {
  const saved: readonly LeftOutLine[] = JSON.parse(readFileSync(LEFT_OUT, 'utf8'));
  return saved;
}

function leaveOut(): readonly LeftOutLine[] {
  const left = leaveOneMachineOut(predictor, used, fitted);
  return errorsBySet(left).map(({ name, count, mape, bias }) => ({
    name,
    count,
    mape: Number(mape.toFixed(1)),
    bias: Number(bias.toFixed(1)),
  }));
}

function familyOf(family: string): FamilyParams {
  const backend = BACKENDS.find(({ families }) => families.includes(family));
  const ofFamily = inFit.filter(({ row }) => predictor.family(row) === family);
  const ofBackend = inFit.filter(({ row }) => backend?.families.includes(predictor.family(row)));
  const error = (kind: 'decode' | 'prefill'): number => {
    const own = ofFamily.filter(({ row }) => row.kind === kind);
    const all = rootMeanSquare(ofBackend.filter(({ row }) => row.kind === kind));
    // Nothing measured of the kind: nothing known better than to be off by a third.
    if (all === null) return 33;
    if (own.length >= ROWS_ENOUGH) return rootMeanSquare(own) ?? all;
    return own.length === 0 ? 2 * all : Math.max(all, rootMeanSquare(own) ?? 0);
  };
  const count = (kind: string): number => ofFamily.filter(({ row }) => row.kind === kind).length;
  return {
    ...paramsFrom(fitted)(family),
    errorPct: { decode: error('decode'), prefill: error('prefill') },
    rows: { decode: count('decode'), prefill: count('prefill') },
  };
}

function rootMeanSquare(list: readonly Predicted[]): number | null {
  if (list.length === 0) return null;
  const sum = list.reduce((total, { residual }) => total + residual * residual, 0);
  return 100 * Math.sqrt(sum / list.length);
}

/** Four digits are more than the fit knows. */
function rounded(value: unknown): unknown {
  if (typeof value === 'number') return Number(value.toPrecision(4));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, rounded(part)]));
}
