/**
 * Adds to a report what is known beside the measurement: the planner's prediction for the model
 * that targets serve (`--weights`) on this machine or a named one (`--machine`), modelled energy
 * where no meter was read, and what tokens cost. What is on another machine gets none of it.
 */
import { PlenumError } from '../../base/errors.ts';
import { costsOf, modelledEnergy } from '../../bench/power/cost.ts';
import { predictionsOf } from '../../bench/predict/predict.ts';
import type { Report, Run, Target } from '../../bench/result.ts';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import type { Catalogue } from '../../model/catalogue-types.ts';
import { OWNERSHIP_DEFAULTS, type Ownership } from '../../planner/money.ts';
import { ownershipOf } from '../../planner/plan.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import { SPEED_TABLE } from '../../planner/speed-table.ts';
import type { CliContext } from '../context.ts';
import { machineHere } from '../planning/here.ts';
import { nameModels } from '../planning/resolve.ts';
import { setupNamed } from '../planning/setups.ts';
import { modelHome } from '../storage/home.ts';

export interface FactFlags {
  readonly weights?: string;
  readonly machine?: string;
}

/** What the flags name, looked up before anything is measured, so that a mistake costs nothing. */
export interface Facts {
  readonly setup: MachineSetup | null;
  readonly geometry: Parameters<typeof predictionsOf>[1]['geometry'] | null;
}

/** @throws PlenumError for a model or a machine that is not known. */
export async function factsOf(flags: FactFlags, context: CliContext): Promise<Facts> {
  if (flags.weights === undefined && flags.machine === undefined) {
    return { setup: null, geometry: null };
  }
  const catalogue = loadCatalogue();
  const named =
    flags.weights === undefined ? [] : await nameModels([flags.weights], { catalogue }, context);
  return { setup: await setupOf(flags, catalogue, context), geometry: named[0]?.geometry ?? null };
}

async function setupOf(
  { machine }: FactFlags,
  catalogue: Catalogue,
  context: CliContext,
): Promise<MachineSetup | null> {
  if (machine !== undefined) return setupNamed(catalogue, machine);
  try {
    return await machineHere(catalogue, { home: modelHome(context) });
  } catch (thrown) {
    // Nobody knows this machine: the report then says so in place of a prediction.
    if (thrown instanceof PlenumError && thrown.code === 'usage') return null;
    throw thrown;
  }
}

export function withFacts(report: Report, { setup, geometry }: Facts): Report {
  const local = new Set(report.targets.filter(isLocal).map(({ name }) => name));
  const runs = report.runs.map((run) =>
    local.has(run.target) ? powered(run, report, setup) : { ...run, energy: null },
  );
  const summaries = report.summaries.filter(({ target }) => local.has(target));
  const hasEnergy = runs.some(({ energy }) => energy !== null);
  const costs = hasEnergy ? costsOf({ runs, summaries }, ownedBy(setup)) : [];
  const predictions =
    geometry === null
      ? []
      : predictionsOf({ runs, summaries }, { geometry, setup, table: SPEED_TABLE });
  return { ...report, runs, costs, predictions };
}

/** Its processors and meters are those of this machine. */
function isLocal({ origin, url }: Target): boolean {
  if (origin === 'spawned') return true;
  const { hostname } = new URL(url);
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

function powered(run: Run, { setup: { machine } }: Report, setup: MachineSetup | null): Run {
  if (run.energy !== null || setup === null) return run;
  const { name, family, idleWatts, loadWatts } = setup.machine;
  const power = {
    machine: name,
    idleWatts: idleWatts?.value ?? null,
    loadWatts: loadWatts?.value ?? null,
    isProcessor: family === 'cpu',
  };
  return { ...run, energy: modelledEnergy(run, { power, cores: machine.cores }) };
}

const ownedBy = (setup: MachineSetup | null): Ownership =>
  setup === null
    ? { kind: 'own', priceUsd: null, loadWatts: null, idleWatts: null, ...OWNERSHIP_DEFAULTS }
    : ownershipOf(setup);
