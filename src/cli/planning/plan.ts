/** `plenum plan`: memory, speed and cost of models on machines, and what to do instead. */
import { PlenumError } from '../../base/errors.ts';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import type { Catalogue } from '../../model/catalogue-types.ts';
import { adviseInstead, pricedSetup } from '../../planner/advise.ts';
import { type Plan, type PlanAsk, planModels } from '../../planner/plan.ts';
import { fitOf, type MachineSetup } from '../../planner/setup.ts';
import { SPEED_TABLE } from '../../planner/speed-table.ts';
import type { CliContext } from '../context.ts';
import { machineHere } from './here.ts';
import { numberFlag, wholeFlag } from './numbers.ts';
import {
  type Asked,
  type InsteadRow,
  type PlanRow,
  reportMany,
  reportOne,
  verdictOf,
} from './plan-report.ts';
import { nameModels } from './resolve.ts';
import { setupNamed, setupsNamed } from './setups.ts';
import { smallerWishes, type Wanted, wantedOf } from './wanted.ts';

export interface PlanOptions {
  readonly machine?: string;
  readonly compare?: string;
  readonly users?: string;
  readonly promptTokens?: string;
  readonly outputTokens?: string;
  readonly utilization?: string;
  readonly quant?: string;
  readonly context?: string;
  readonly targetTps?: string;
  readonly json?: true;
}

const PROMPT_TOKENS_DEFAULT = 512;
const OUTPUT_TOKENS_DEFAULT = 128;
const UTILISATION_DEFAULT = 0.3;

export async function planFor(
  references: readonly string[],
  options: PlanOptions,
  context: CliContext,
): Promise<void> {
  const wishes = askedOf(options);
  const contextTokens = wholeFlag('--context', options.context);
  const { users, promptTokens, outputTokens } = wishes.traffic;
  const catalogue = loadCatalogue();
  const setups = await setupsOf(options, catalogue);
  const models = await nameModels(references, { catalogue, quant: options.quant }, context);
  const length = promptTokens + outputTokens;
  if (contextTokens !== undefined && contextTokens < length) {
    const sum = `${promptTokens} tokens in and ${outputTokens} out`;
    throw new PlenumError('usage', `--context ${contextTokens} is too short for ${sum}`);
  }
  const [first] = models;
  if (first !== undefined && first.geometry.contextTokens < length) {
    const trained = `${first.reference} was trained for ${first.geometry.contextTokens}`;
    throw new PlenumError('usage', `${length} tokens in and out are too many: ${trained}`);
  }
  const wanted = wantedOf(models, {
    contextTokens,
    contextOf: ({ geometry }) => Math.min(length, geometry.contextTokens),
    parallel: users,
    cacheType: undefined,
  });
  const asked = { ...wishes, isEncoder: first?.geometry.isEncoder ?? false };
  const rows = setups.map((setup) => rowOf({ setup, wanted, asked, catalogue }));
  const [only] = rows;
  if (options.json === true) {
    context.stdout.write(
      `${JSON.stringify(
        rows.map((row) => jsonOf(row)),
        null,
        2,
      )}\n`,
    );
  } else if (options.compare === undefined && only !== undefined) {
    context.stdout.write(reportOne(only, asked, context.stdout));
  } else context.stdout.write(reportMany(rows, asked, context.stdout));
}

function askedOf(options: PlanOptions): Omit<Asked, 'isEncoder'> {
  const share = { least: 0, most: 1, isAbove: true } as const;
  const positive = { least: 0, most: 1e9, isAbove: true } as const;
  return {
    traffic: {
      users: wholeFlag('--users', options.users) ?? 1,
      promptTokens: wholeFlag('--prompt-tokens', options.promptTokens) ?? PROMPT_TOKENS_DEFAULT,
      outputTokens: wholeFlag('--output-tokens', options.outputTokens) ?? OUTPUT_TOKENS_DEFAULT,
    },
    utilisation: numberFlag('--utilization', options.utilization, share) ?? UTILISATION_DEFAULT,
    targetTps: numberFlag('--target-tps', options.targetTps, positive) ?? null,
  };
}

async function setupsOf(
  { machine, compare }: PlanOptions,
  catalogue: Catalogue,
): Promise<readonly MachineSetup[]> {
  if (compare !== undefined) return setupsNamed(catalogue, compare);
  if (machine !== undefined) return [setupNamed(catalogue, machine)];
  const here = await machineHere(catalogue);
  if (here !== null) return [here];
  throw new PlenumError(
    'usage',
    'This machine is not in the catalogue; name one with --machine or several with --compare ' +
      '(plenum machines lists them)',
  );
}

interface RowAsk {
  readonly setup: MachineSetup;
  readonly wanted: readonly Wanted[];
  readonly asked: Asked;
  readonly catalogue: Catalogue;
}

function rowOf(ask: RowAsk): PlanRow {
  const { setup, asked } = ask;
  const plan = planModels(planAsk(ask));
  return { setup, plan, verdict: verdictOf(setup, plan, asked), instead: insteadOf(ask, plan) };
}

function planAsk({ setup, wanted, asked }: RowAsk): PlanAsk {
  return {
    models: wanted.map(({ named, contextTokens, parallel, cacheType }) => {
      return { geometry: named.geometry, contextTokens, parallel, cacheType };
    }),
    setup,
    table: SPEED_TABLE,
    traffic: asked.traffic,
    utilisation: asked.utilisation,
  };
}

function insteadOf(ask: RowAsk, plan: Plan): readonly InsteadRow[] {
  const { setup, wanted, asked, catalogue } = ask;
  const { targetTps } = asked;
  const isMet = plan.fits && (targetTps === null || plan.speed.perUserTps >= targetTps);
  if (isMet) return [];
  const [first] = wanted;
  const entry = first?.named.entry ?? null;
  if (wanted.length === 1 && first !== undefined && entry !== null) {
    const { contextTokens } = first;
    const { model, quant } = entry;
    const wish = { catalogue, model, quant, ask: planAsk(ask), contextTokens };
    return adviseInstead({ ...wish, tpsPerUser: targetTps }).map(
      ({ kind, change, plan: other }) => {
        return { kind, change, perUserTps: other.speed.perUserTps };
      },
    );
  }
  const length = asked.traffic.promptTokens + asked.traffic.outputTokens;
  const smaller = plan.fits
    ? []
    : smallerWishes(wanted, (needs) => fitOf(setup, needs).fits, length).map((change) => {
        return { kind: 'smaller', change, perUserTps: null };
      });
  return [...smaller, ...otherMachines(ask)];
}

const MACHINES_SHOWN = 3;

/** The cheapest of the catalogue, with a known price, on which the mix meets the wish. */
function otherMachines(ask: RowAsk): InsteadRow[] {
  const { catalogue, asked } = ask;
  const priced = catalogue.machines
    .filter(({ priceUsd, memory, bandwidth, id }) => {
      const isOther = id !== ask.setup.machine.id;
      return isOther && priceUsd !== null && bandwidth !== null && memory.length > 0;
    })
    .sort((a, b) => (a.priceUsd?.value ?? 0) - (b.priceUsd?.value ?? 0));
  const found: InsteadRow[] = [];
  for (const machine of priced) {
    if (found.length === MACHINES_SHOWN) break;
    const { fits, speed } = planModels(planAsk({ ...ask, setup: pricedSetup(machine) }));
    if (!fits || speed.perUserTps < (asked.targetTps ?? 0)) continue;
    const price = `$${machine.priceUsd?.value} for ${machine.priceUsd?.note}`;
    const change = `${machine.name} (${price})`;
    found.push({ kind: 'machine', change, perUserTps: speed.perUserTps });
  }
  return found;
}

/** One object of --json. */
function jsonOf({ setup, plan, verdict, instead }: PlanRow) {
  const { speed, memory, cost } = plan;
  const { decodeTps, perUserTps, prefillTps, ttftMs, interTokenMs } = speed;
  const { binding, prefillBinding, limitTps, ofLimit, errorPct } = speed;
  return {
    machine: plan.machine,
    memoryGib: setup.memoryGib ?? null,
    devices: setup.devices ?? 1,
    fits: plan.fits,
    verdict,
    memory,
    speed: {
      ...{ decodeTps, perUserTps, prefillTps, ttftMs, interTokenMs },
      ...{ binding, prefillBinding, limitTps, ofLimit, errorPct },
    },
    cost,
    models: plan.models.map(({ model, neededBytes, speed: own }) => ({
      model,
      neededBytes,
      decodeTps: own.decodeTps,
      prefillTps: own.prefillTps,
      ttftMs: own.ttftMs,
    })),
    instead,
  };
}
