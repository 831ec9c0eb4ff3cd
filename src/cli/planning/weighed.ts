/**
 * The need of a model whose file is here, on this machine, as admission has it: by the engine's own
 * account of what it would allocate. Copies that a processor makes of weights are known only so.
 */
import { join } from 'node:path';
import { defaultThreads } from '../../engine/llama/threads.ts';
import { hostNeed } from '../../planner/host-need.ts';
import { type MemoryNeed, STEP_TOKENS } from '../../planner/memory.ts';
import { weighHost } from '../../pool/weigh.ts';
import { ENCODE_LIMITS, type HostSpec } from '../../wire/host.ts';
import type { SimulatedAllocation } from '../../wire/pool.ts';
import type { CliContext } from '../context.ts';
import { modelHome } from '../storage/home.ts';
import type { Wanted } from './wanted.ts';

export interface WeighedWish {
  readonly need: MemoryNeed;
  readonly allocation: SimulatedAllocation;
  /** Of what stays the same when less is wished for. */
  readonly repackedBytes: number;
}

/** null for a model whose file is not here, or of which the engine gives no account. */
async function weighWish(
  wanted: Wanted,
  { home, signal }: { readonly home: string; readonly signal: AbortSignal },
): Promise<WeighedWish | null> {
  const { geometry } = wanted.named;
  const spec = specOf(wanted);
  if (spec === null) return null;
  const weighed = await weighHost(spec, { memory: join(home, 'weighed'), signal });
  if (!('allocation' in weighed)) return null;
  const { allocation } = weighed;
  const need = hostNeed(spec, geometry, allocation);
  return { need, allocation, repackedBytes: allocation.repackedBytes ?? 0 };
}

/** The same for each of `wanted`, in their order. */
export function weighAll(
  wanted: readonly Wanted[],
  context: CliContext,
): Promise<readonly (WeighedWish | null)[]> {
  const options = { home: modelHome(context), signal: context.interrupted() };
  return Promise.all(wanted.map((one) => weighWish(one, options)));
}

/** A host as `serve` would start it, if it would; what has no bytes is left at nothing. */
function specOf({ named, contextTokens, parallel, cacheType }: Wanted): HostSpec | null {
  const { reference, role, path } = named;
  if (path === null || (cacheType !== 'f16' && cacheType !== 'q8_0')) return null;
  return {
    modelId: reference,
    role,
    engine: {
      kind: 'llama',
      ...{ path, threads: defaultThreads(), gpuLayers: null, cacheType },
      stepTokensMax: STEP_TOKENS,
    },
    ...{ contextTokens, parallel, cells: contextTokens * parallel },
    ...{ queueMax: 0, waitMsMax: 0, stepTargetMs: null, heartbeatMs: 0 },
    prefixCache: true,
    encode: ENCODE_LIMITS,
  };
}
