/** `plenum plan`: memory, speed and cost of models on machines, and what to do instead. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import type { Catalogue } from '../../model/catalogue-types.ts';
import { DRAFT_TOKENS, draftsFor, meets } from '../../planner/advise.ts';
import { geometryOfModel } from '../../planner/architecture.ts';
import { moneyAnswer } from '../../planner/money-offers.ts';
import { type PlanAsk, type PlannedSpeculation, planModels } from '../../planner/plan.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import { SPEED_TABLE } from '../../planner/speed-table.ts';
import { underLoad } from '../../simulate/under-load.ts';
import type { CliContext } from '../context.ts';
import { modelHome } from '../storage/home.ts';
import { wholeFlag } from './numbers.ts';
import { type Asked, askedOf } from './plan-asked.ts';
import { insteadOf, wishedOf } from './plan-instead.ts';
import { jsonOf } from './plan-json.ts';
import { loadAsk } from './plan-load.ts';
import { moneyAsk } from './plan-money.ts';
import { type PlanOptions, speculationFlag } from './plan-options.ts';
import { reportMany, reportOne, verdictOf } from './plan-report.ts';
import type { PlanRow } from './plan-row.ts';
import { type NamedModel, nameModels } from './resolve.ts';
import { setupNamed, setupsNamed } from './setups.ts';
import { type Wanted, wantedOf } from './wanted.ts';

export async function planFor(
  references: readonly string[],
  options: PlanOptions,
  context: CliContext,
): Promise<void> {
  const asked = await askedOf(options, context);
  const catalogue = loadCatalogue();
  const named = await setupsOf(options, catalogue, context);
  const setups = named.map((setup) => withSystem(setup, asked.systemGib, catalogue));
  const models = await nameModels(references, { catalogue, quant: options.quant }, context);
  const speculation = await speculationOf(options, { catalogue, first: models[0] }, context);
  const isHere = options.machine === undefined && options.compare === undefined;
  const wished = wantedFor(models, asked);
  // Loaded when it is asked for: it brings much along.
  const wanted = isHere
    ? await (await import('./weighed.ts')).withAccounts(wished, context)
    : wished;
  const isEncoder = models[0]?.geometry.isEncoder ?? false;
  if (isEncoder && (asked.load?.isLoaded === true || speculation !== null)) {
    const what = `${models[0]?.reference} gives vectors: it decodes nothing`;
    throw new PlenumError('usage', `${what}, so that neither load nor speculation is planned for`);
  }
  const rows = setups.map((setup) => rowOf({ setup, wanted, asked, catalogue, speculation }));
  const [only] = rows;
  if (options.html !== undefined) {
    const { planPage } = await import('./plan-page.ts');
    const page = planPage(rows, asked, {
      ...{ references, catalogue, version: context.version },
      first: wanted[0],
    });
    await writePage(options.html, page, context);
  }
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify(rows.map(jsonOf), null, 2)}\n`);
  } else if (options.compare === undefined && only !== undefined) {
    context.stdout.write(reportOne(only, asked, context.stdout));
  } else context.stdout.write(reportMany(rows, asked, context.stdout));
}

/** @throws PlenumError `usage` when a request is longer than a context. */
function wantedFor(models: readonly NamedModel[], asked: Asked): readonly Wanted[] {
  const { contextTokens, longestTokens, load, traffic } = asked;
  const { users, promptTokens, outputTokens } = traffic;
  const length = promptTokens + outputTokens;
  if (contextTokens !== undefined && contextTokens < length) {
    const sum = `${promptTokens} tokens in and ${outputTokens} out`;
    throw new PlenumError('usage', `--context ${contextTokens} is too short for ${sum}`);
  }
  const [first] = models;
  const trained = first?.geometry.contextTokens ?? length;
  const least = load?.trace === null || load === null ? length : longestTokens;
  if (trained < least) {
    const limit = `${first?.reference} was trained for ${trained}`;
    throw new PlenumError('usage', `${least} tokens in and out are too many: ${limit}`);
  }
  return wantedOf(models, {
    contextTokens,
    contextOf: ({ geometry }) => Math.min(longestTokens, geometry.contextTokens),
    parallel: users,
    cacheType: undefined,
  });
}

async function setupsOf(
  { machine, compare, threads }: PlanOptions,
  catalogue: Catalogue,
  context: CliContext,
): Promise<readonly MachineSetup[]> {
  if (compare !== undefined) return setupsNamed(catalogue, compare);
  if (machine !== undefined) return [setupNamed(catalogue, machine)];
  // Loaded when it is asked for: it brings much along.
  const { machineHere } = await import('./here.ts');
  const wanted = wholeFlag('--threads', threads);
  return [await machineHere(catalogue, { home: modelHome(context), threads: wanted })];
}

/** Cards with their host’s memory, as fast as the catalogue has it for two channels of DDR5. */
function withSystem(
  setup: MachineSetup,
  memoryGib: number | undefined,
  { prices }: Catalogue,
): MachineSetup {
  if (memoryGib === undefined || setup.machine.kind !== 'discrete') return setup;
  const price = prices.find(
    ({ kind, figure }) => kind === 'system-memory' && figure === 'bandwidth',
  );
  if (price === undefined) {
    throw new PlenumError('file_corrupt', 'catalogue: no bandwidth of system memory');
  }
  return { ...setup, system: { memoryGib, bandwidthBytesPerSecond: price.value * 1e9 } };
}

/** The draft named, or the smallest of the catalogue that has the first model's vocabulary. */
async function speculationOf(
  options: PlanOptions,
  { catalogue, first }: { readonly catalogue: Catalogue; readonly first: NamedModel | undefined },
  context: CliContext,
): Promise<PlannedSpeculation | null> {
  const wish = speculationFlag(options.speculation);
  if (wish === null || first === undefined) return null;
  const { acceptance } = wish;
  const terms = { acceptance, draftTokens: DRAFT_TOKENS };
  if (wish.draft !== null) {
    const [draft] = await nameModels([wish.draft], { catalogue, quant: undefined }, context);
    if (draft === undefined) return null;
    const own = first.geometry.vocab;
    if (draft.geometry.vocab !== own) {
      const sizes = `${draft.geometry.vocab} tokens, ${first.reference} knows ${own}`;
      throw new PlenumError('usage', `${draft.reference} cannot draft: it knows ${sizes}`);
    }
    return { ...terms, draft: draft.geometry };
  }
  const [smallest] = first.entry === null ? [] : draftsFor(catalogue, first.entry.model);
  if (smallest === undefined) {
    const form = `--speculation ${acceptance},MODEL`;
    throw new PlenumError('usage', `No draft for ${first.reference} is known; name one: ${form}`);
  }
  return { ...terms, draft: geometryOfModel(smallest, 'Q8_0') };
}

interface RowAsk {
  readonly setup: MachineSetup;
  readonly wanted: readonly Wanted[];
  readonly asked: Asked;
  readonly catalogue: Catalogue;
  readonly speculation: PlannedSpeculation | null;
}

function rowOf(ask: RowAsk): PlanRow {
  const { setup, asked, wanted, catalogue } = ask;
  const { prices } = catalogue;
  const request = planAsk(ask);
  const plan = planModels(request);
  const [first] = wanted;
  const simulated = loadAsk({ plan, wanted: first, asked });
  const load = simulated.ask === null ? null : underLoad(simulated.ask);
  const money = moneyAsk({ setup, plan, wanted: first, asked, prices });
  const isEncoder = first?.named.geometry.isEncoder ?? false;
  return {
    setup,
    plan,
    isEncoder,
    isMet: meets(wishedOf(asked), plan),
    speculation: ask.speculation,
    load,
    loadAsk: simulated.ask,
    loadMissing: simulated.missing,
    money: moneyAnswer(money),
    moneyAsk: money,
    verdict: verdictOf({ setup, plan, isEncoder, load }, asked),
    instead: insteadOf({ planAsk: request, wanted, asked, catalogue, plan, load }),
  };
}

function planAsk({ setup, wanted, asked, speculation }: RowAsk): PlanAsk {
  return {
    models: wanted.map(({ named, contextTokens, parallel, cacheType, allocation }, index) => {
      const spoken = index === 0 && speculation !== null ? { speculation } : {};
      const counted = allocation === undefined ? {} : { allocation };
      const { geometry } = named;
      return { geometry, contextTokens, parallel, cacheType, ...counted, ...spoken };
    }),
    setup,
    table: SPEED_TABLE,
    traffic: asked.traffic,
    utilisation: asked.utilisation,
    ownership: asked.money.ownership,
  };
}

async function writePage(written: string, page: string, context: CliContext): Promise<void> {
  const path = resolve(context.cwd, written);
  try {
    await writeFile(path, page);
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unwritable';
    throw new PlenumError('usage', `--html ${written}: it cannot be written (${reason})`, {
      cause: error,
    });
  }
  context.stderr.write(`Wrote ${written}\n`);
}
