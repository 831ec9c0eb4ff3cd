/**
 * What the models of a configuration need in memory and what the machine gives them, before any of
 * them is loaded. It decides nothing: the pool does.
 */
import { join } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import type { PoolConfig } from '../../config/config.ts';
import { plenumHome } from '../../model/store-home.ts';
import type { NodeMemory, ServedModel } from '../../node/node.ts';
import { type Available, availableMemory, type MemoryFacts } from '../../planner/available.ts';
import { byteItems, hostNeed, SIMULATED_ENGINE_ITEMS } from '../../planner/host-need.ts';
import { footprintOf } from '../../pool/footprint.ts';
import { floorsProblem } from '../../pool/ledger.ts';
import { systemPressure } from '../../pool/pressure.ts';
import { weighHost } from '../../pool/weigh.ts';
import { memoryHere } from '../planning/here.ts';
import type { FoundModel } from './resolve.ts';

/** Enough for the front process in a small control group. */
const RESERVE_EXAMPLE = '200MB';

export interface WeighingOptions {
  /** Of the models; null = the user's data directory. */
  readonly home: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** The engine gave no account of the model, so that arithmetic stands in for it. */
  readonly onEstimate: (model: string, reason: string) => void;
}

/** Rejects only when `signal` is aborted, or with what `hostNeed` throws. */
export async function weighModels(
  found: readonly FoundModel[],
  options: WeighingOptions,
): Promise<readonly ServedModel[]> {
  const models: ServedModel[] = [];
  for (const one of found) models.push(await weighModel(one, options));
  return models;
}

async function weighModel(
  { served, reference, geometry }: FoundModel,
  { home, env, signal, onEstimate }: WeighingOptions,
): Promise<ServedModel> {
  const { spec } = served;
  if (geometry === null || spec.engine.kind !== 'llama') {
    return { ...served, items: SIMULATED_ENGINE_ITEMS, wish: null };
  }
  const memory = join(home ?? plenumHome(env), 'weighed');
  const weighed = await weighHost(spec, { memory, signal });
  const allocation = 'allocation' in weighed ? weighed.allocation : null;
  if ('reason' in weighed) onEstimate(served.id, weighed.reason);
  const need = hostNeed(spec, geometry, allocation);
  const { contextTokens, parallel } = spec;
  const wish = {
    named: { reference, geometry, entry: null },
    contextTokens,
    parallel: spec.role === 'encode' ? 1 : parallel,
    cacheType: spec.engine.cacheType,
    device: allocation?.onGpu === true ? ('gpu' as const) : ('processor' as const),
  };
  return { ...served, items: byteItems(need, spec), wish };
}

/** Throws `config_invalid` for floors that cannot be, `usage` when nothing is left for models. */
export async function memoryOf(pool: PoolConfig): Promise<NodeMemory> {
  const machine = withReserve(await memoryHere(), pool.reserveBytes);
  const { availableBytes, source } = limited(machine, pool.memoryBytes);
  const { floors } = pool;
  const problem = floorsProblem(availableBytes, floors);
  if (problem !== null) {
    throw new PlenumError('config_invalid', `pool.floors: ${problem} (${source})`, {
      param: 'pool.floors',
    });
  }
  return {
    availableBytes,
    availableSource: source,
    floors,
    footprintOf,
    pressure: systemPressure,
  };
}

/** Throws `usage` with the sum, and with what would help, when nothing is left for models. */
function withReserve(facts: MemoryFacts, reserveBytes: number | null): Available {
  try {
    return availableMemory(facts, reserveBytes ?? undefined);
  } catch (error) {
    if (!(error instanceof PlenumError)) throw error;
    const how = `a smaller pool.reserve (such as ${RESERVE_EXAMPLE}), or more memory, would help`;
    throw new PlenumError(error.code, `${error.message}; ${how}`, { cause: error });
  }
}

/** The smaller of the two, and the words say which it is. */
function limited(machine: Available, memoryBytes: number | null): Available {
  if (memoryBytes === null) return machine;
  const set = `pool.memory ${formatBytes(memoryBytes)}`;
  if (memoryBytes <= machine.availableBytes) {
    return { availableBytes: memoryBytes as Available['availableBytes'], source: set };
  }
  return { ...machine, source: `${machine.source}, less than ${set}` };
}
