/**
 * What this machine gives to models, as its system says: memory that is available, a control
 * group's limit, what macOS lets the GPU wire; and which machine it is, of the catalogue or by its
 * stored profile. It measures nothing. What it does on a Mac has not been run on one yet.
 */
import { execFile } from 'node:child_process';
import { release } from 'node:os';
import { promisify } from 'node:util';
import si from 'systeminformation';
import { PlenumError } from '../../base/errors.ts';
import { type Kernels, kernelsOf } from '../../engine/llama/kernels.ts';
import { defaultThreads } from '../../engine/llama/threads.ts';
import type { Catalogue, CatalogueMachine } from '../../model/catalogue-types.ts';
import type { MemoryFacts } from '../../planner/available.ts';
import { profileSetup } from '../../planner/profile.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import type { MachineProfile } from '../../wire/profile.ts';
import { ENGINE_HERE, identityHere } from '../measure/identity.ts';
import { findProfile, kernelsText, threadsText } from '../measure/store.ts';

const run = promisify(execFile);
/** A context of an ordinary length; only for much shorter ones an engine chooses other kernels. */
const CHAT_TOKENS = 8192;
/** Darwin 25 is macOS 26. */
const DARWIN_OF_MACOS_26 = 25;

/** Facts for `availableMemory`. */
export async function memoryHere(): Promise<MemoryFacts> {
  const memory = await si.mem();
  if (process.platform === 'darwin') {
    const major = Number.parseInt(release(), 10);
    return {
      kind: 'mac',
      ramBytes: memory.total,
      generation: major >= DARWIN_OF_MACOS_26 ? 'macos-26' : 'older',
      wiredLimitMib: await wiredLimitMib(),
    };
  }
  const limit = process.constrainedMemory();
  const isLimited = limit > 0 && limit < memory.total;
  return {
    kind: 'linux',
    ramBytes: memory.total,
    availableBytes: memory.available,
    // What the group may still take: its limit less what it holds.
    cgroupBytes: isLimited ? process.availableMemory() : null,
  };
}

/** `sysctl iogpu.wired_limit_mb`; null where the system has no such setting. */
async function wiredLimitMib(): Promise<number | null> {
  try {
    const { stdout } = await run('sysctl', ['-n', 'iogpu.wired_limit_mb'], { timeout: 5000 });
    const value = Number(stdout.trim());
    return Number.isFinite(value) ? value : null;
  } catch (error) {
    // macOS before 14 has no such setting, and then sysctl fails.
    if (error instanceof Error) return null;
    throw error;
  }
}

export interface HereWish {
  /** Of the models and profiles. */
  readonly home: string;
  /** Of the engine; as many as it takes by itself, when left out. */
  readonly threads?: number | undefined;
}

/**
 * This machine as plans are made for it, with the memory that the pool would have now: from the
 * newest profile of the engine as `serve` runs it, or as the catalogue has it. Throws `usage` that
 * says what to do where there is neither.
 */
export async function machineHere(
  catalogue: Catalogue,
  { home, threads = defaultThreads() }: HereWish,
): Promise<MachineSetup> {
  const compute = process.platform === 'darwin' ? 'gpu' : 'cpu';
  const [found, facts] = await Promise.all([
    findProfile({
      ...{ home, here: identityHere, engine: ENGINE_HERE, threads, compute },
      kernels: kernelsServed(compute === 'gpu'),
    }),
    memoryHere(),
  ]);
  if (found.kind === 'found') {
    return { ...profileSetup(found.profile), facts, measured: measuredText(found.profile) };
  }
  const known = await catalogueMachineHere(catalogue);
  if (known !== null) return { ...known, facts };
  const how =
    `plenum measure --threads ${threads} measures it; or give --threads as it was measured, or ` +
    'name a machine with --machine or several with --compare (plenum machines lists them)';
  throw new PlenumError('usage', `This machine is not in the catalogue, and ${found.why}; ${how}`);
}

/** What an engine has that is told nothing, with cells for the whole context of each sequence. */
export function kernelsServed(gpu: boolean): Kernels {
  const spec = { gpuLayers: null, cacheType: 'f16', stepTokensMax: 512 } as const;
  const options = { cells: CHAT_TOKENS, contextTokens: CHAT_TOKENS, parallel: 1 };
  return kernelsOf({ spec, options, gpu });
}

function measuredText({ measuredAt, threads, kernels }: MachineProfile): string {
  const library = kernels.library === null ? '' : `, ${kernels.library} library`;
  const how = `${threadsText(threads)}, ${kernelsText(kernels)}${library}`;
  return `Speeds are by the profile of this machine of ${measuredAt.slice(0, 10)}: ${how}.`;
}

/** This machine among those of the catalogue; null when it is none of them. */
export async function catalogueMachineHere(catalogue: Catalogue): Promise<MachineSetup | null> {
  if (process.platform !== 'darwin') return null;
  const [cpu, graphics, memory] = await Promise.all([si.cpu(), si.graphics(), si.mem()]);
  const cores = Number(graphics.controllers[0]?.cores ?? Number.NaN);
  const name = `${cpu.manufacturer} ${cpu.brand}`;
  const machine = appleMachine(catalogue, name, cores);
  return machine === null ? null : { machine, memoryGib: Math.round(memory.total / 2 ** 30) };
}

/** `Apple M4 Max` with 40 cores → m4-max-40c. */
export function appleMachine(
  { machines }: Catalogue,
  brand: string,
  gpuCores: number,
): CatalogueMachine | null {
  const chip = /\bM\d+(?: (?:Pro|Max|Ultra))?\b/.exec(brand)?.[0];
  if (chip === undefined) return null;
  const id = `${chip.toLowerCase().replace(' ', '-')}-${gpuCores}c`;
  return machines.find((machine) => machine.id === id) ?? null;
}
