/**
 * The check of what is known of this machine's speed: its profile, its entry of the catalogue, or
 * an entry made of what the system says, in which what nobody measured stays unknown.
 */
import { loadCatalogue } from '../../model/catalogue-data.ts';
import type { CatalogueMachine } from '../../model/catalogue-types.ts';
import { profileMachine, THIS_MACHINE } from '../../planner/profile.ts';
import type { MachineIdentity, MachineProfile } from '../../wire/profile.ts';
import { ENGINE_HERE, identityHere } from '../measure/identity.ts';
import { findProfile, type ProfileFound } from '../measure/store.ts';
import { catalogueMachineHere } from '../planning/here.ts';
import { type Check, check } from './check.ts';

export async function checkSpeed(home: string): Promise<Check> {
  const [identity, known] = await Promise.all([
    identityHere(),
    catalogueMachineHere(loadCatalogue()),
  ]);
  const here = (): Promise<MachineIdentity> => Promise.resolve(identity);
  const found = await findProfile({ home, here, engine: ENGINE_HERE });
  return speedCheck(found, identity, known?.machine ?? null);
}

export function speedCheck(
  found: ProfileFound,
  identity: MachineIdentity,
  known: CatalogueMachine | null,
): Check {
  if (found.kind === 'found') {
    const { profile } = found;
    const { id } = known ?? { id: THIS_MACHINE };
    const facts = { profile: true, ...entryOf(profileMachine(profile)), id };
    return check('Speed', 'ok', { found: profileText(profile), facts });
  }
  const advice = [
    ...(found.hasAny ? [found.why] : []),
    'plenum measure measures it, so that plan and serve need not guess',
  ];
  const status = found.hasAny ? 'warn' : 'ok';
  if (known !== null) {
    const text = `${known.id} of the catalogue, predicted by its family; not measured`;
    return check('Speed', status, { found: text, advice, facts: entryOf(known) });
  }
  const facts = {
    profile: false,
    id: THIS_MACHINE,
    name: identity.cpu,
    memory_gib: Math.round(identity.ramBytes / 2 ** 30),
    bandwidth_gb_per_s: null,
    matrix_tflops: null,
  };
  const text = 'unknown: the machine is not in the catalogue and has not been measured';
  return check('Speed', status, {
    found: found.hasAny ? 'no profile that holds' : text,
    advice,
    facts,
  });
}

function profileText({ measuredAt, threads, bandwidth, opsPerSecond, errorPct }: MachineProfile) {
  const rates =
    `${(bandwidth.bytesPerSecond / 1e9).toFixed(1)} GB/s, ` +
    `${(opsPerSecond / 1e9).toFixed(0)} GFLOP/s with ${threads} thread${threads > 1 ? 's' : ''}`;
  const off = `fitted within ${errorPct.decode.toFixed(0)} % (decode)`;
  return `measured ${measuredAt.slice(0, 10)}: ${rates}, ${off}`;
}

const entryOf = (machine: CatalogueMachine) => ({
  id: machine.id,
  name: machine.name,
  memory_gib: Math.round(machine.memory.at(-1)?.value ?? 0),
  bandwidth_gb_per_s: machine.bandwidth?.value ?? null,
  matrix_tflops: machine.matrixTflops?.value ?? null,
});
