/** `plenum fit`: what models need, line by line, and whether all of them fit a machine. */
import { formatBytes } from '../../base/units.ts';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import { type Available, availableMemory } from '../../planner/available.ts';
import type { EngineDevice } from '../../planner/engine-shape.ts';
import type { MemoryNeed } from '../../planner/memory.ts';
import { setupDevice, setupMemory } from '../../planner/setup.ts';
import type { CliContext } from '../context.ts';
import { columns, paragraph } from './columns.ts';
import { memoryHere } from './here.ts';
import { cacheTypeFlag, numberFlag, wholeFlag } from './numbers.ts';
import { nameModels } from './resolve.ts';
import { setupLabel, setupNamed } from './setups.ts';
import { smallerWishes, type Wanted, wantedOf } from './wanted.ts';
import { needHere, withAccounts } from './weighed.ts';

export interface FitOptions {
  readonly machine?: string;
  readonly context?: string;
  readonly parallel?: string;
  readonly cacheType?: string;
  readonly reserve?: string;
  readonly json?: true;
}

/** Sequences of a model that nothing else is said of, as `serve` has it. */
const PARALLEL_DEFAULT = 4;
const GB = 1e9;

interface Host extends Available {
  readonly machine: string;
  readonly device: EngineDevice;
  /** What a need takes of the memory in question. */
  readonly bytesOf: (need: MemoryNeed) => number;
}

export async function fitModels(
  references: readonly string[],
  options: FitOptions,
  context: CliContext,
): Promise<void> {
  const contextTokens = wholeFlag('--context', options.context);
  const parallel = wholeFlag('--parallel', options.parallel) ?? PARALLEL_DEFAULT;
  const cacheType = cacheTypeFlag(options.cacheType);
  const host = await hostOf(options);
  const models = await nameModels(references, { catalogue: loadCatalogue() }, context);
  const contextOf = (named: { contextTokensDefault: number }): number => named.contextTokensDefault;
  const wished = wantedOf(models, {
    ...{ contextTokens, contextOf, parallel, cacheType },
    device: host.device,
  });
  const wanted = options.machine === undefined ? await withAccounts(wished, context) : wished;
  const result = resultOf(wanted, host);
  if (options.json === true) context.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  else print(result, context);
  if (!result.fits) context.setExitCode(1);
}

async function hostOf({ machine, reserve }: FitOptions): Promise<Host> {
  const reserveGb = numberFlag('--reserve', reserve, { least: 0, most: 1e6 });
  const reserveBytes = reserveGb === undefined ? undefined : reserveGb * GB;
  if (machine === undefined) {
    const available = availableMemory(await memoryHere(), reserveBytes);
    const device = process.platform === 'darwin' ? 'gpu' : 'processor';
    const bytesOf = (need: MemoryNeed): number => need.neededBytes;
    return { ...available, machine: 'this machine', device, bytesOf };
  }
  const named = setupNamed(loadCatalogue(), machine);
  const setup = reserveBytes === undefined ? named : { ...named, reserveBytes };
  const isDiscrete = setup.machine.kind === 'discrete';
  return {
    ...setupMemory(setup),
    machine: setupLabel(setup),
    device: setupDevice(setup),
    bytesOf: (need) => (isDiscrete ? need.deviceBytes : need.neededBytes),
  };
}

type FitResult = ReturnType<typeof resultOf>;

/** What --json prints. */
function resultOf(wanted: readonly Wanted[], host: Host) {
  const needs = wanted.map(needHere);
  const total = (list: readonly MemoryNeed[]): number =>
    list.reduce((sum, need) => sum + host.bytesOf(need), 0);
  const neededBytes = total(needs);
  const { availableBytes } = host;
  const fits = neededBytes <= availableBytes;
  const instead = fits ? [] : smallerWishes(wanted, (list) => total(list) <= availableBytes);
  return {
    machine: host.machine,
    fits,
    memory: {
      availableBytes,
      availableSource: host.source,
      neededBytes,
      shortBytes: Math.max(0, neededBytes - availableBytes),
    },
    models: wanted.map((one, index) => ({
      reference: one.named.reference,
      description: one.named.geometry.description,
      source: one.named.source,
      contextTokens: one.contextTokens,
      parallel: one.parallel,
      cacheType: one.cacheType,
      neededBytes: needs[index]?.neededBytes ?? 0,
      deviceBytes: needs[index]?.deviceBytes ?? 0,
      items: needs[index]?.items ?? [],
    })),
    instead,
  };
}

function print({ machine, fits, memory, models, instead }: FitResult, context: CliContext): void {
  const { stdout } = context;
  const write = (text: string): void => stdout.write(text);
  for (const model of models) {
    const { reference, description, source, contextTokens, parallel } = model;
    const shape = `${contextTokens} tokens × ${parallel}`;
    const what = description.startsWith(`${reference} `) ? description : reference;
    const kind = what === description ? '' : `${description}, `;
    write(paragraph(`${what}: ${kind}${shape}, ${source}`, stdout, { hang: 2 }));
    const rows = model.items.map((item) => [item.name, formatBytes(item.bytes), item.source]);
    rows.push(['in all', formatBytes(model.neededBytes), '']);
    write(columns(['ITEM', 'BYTES', 'SOURCE'], rows, stdout, { right: [1], indent: 2 }));
    write('\n');
  }
  const { availableBytes, availableSource, neededBytes, shortBytes } = memory;
  const needed = `${formatBytes(neededBytes)} needed`;
  const has = `${machine} has ${formatBytes(availableBytes)} for models (${availableSource})`;
  const left = formatBytes(availableBytes - neededBytes);
  const verdict = fits
    ? `It fits: ${needed}, ${has}, ${left} stay free.`
    : `It does not fit: ${needed}, ${has}, ${formatBytes(shortBytes)} are missing.`;
  write(paragraph(verdict, stdout, { hang: 2 }));
  if (instead.length > 0) {
    write('It would fit with one of these:\n');
    for (const text of instead) write(paragraph(text, stdout, { indent: 2, hang: 4 }));
  }
}
