/**
 * The need of a model whose file is here, on this machine, as admission has it: by the engine's own
 * account of what it would allocate. Copies that a processor makes of weights are known only so.
 */
import { join } from 'node:path';
import { defaultThreads } from '../../engine/llama/threads.ts';
import { hostNeed } from '../../planner/host-need.ts';
import { type MemoryNeed, STEP_TOKENS } from '../../planner/memory.ts';
import { needOf } from '../../planner/wish.ts';
import { weighHost } from '../../pool/weigh.ts';
import { ENCODE_LIMITS, type HostSpec } from '../../wire/host.ts';
import type { CliContext } from '../context.ts';
import { modelHome } from '../storage/home.ts';
import type { Wanted } from './wanted.ts';

/** Those whose files are here with the engine's account of them, where it gives one. */
export function withAccounts(
  wanted: readonly Wanted[],
  context: CliContext,
): Promise<readonly Wanted[]> {
  const memory = join(modelHome(context), 'weighed');
  const signal = context.interrupted();
  return Promise.all(
    wanted.map(async (one) => {
      const spec = specOf(one);
      const weighed = spec === null ? null : await weighHost(spec, { memory, signal });
      if (weighed === null || !('allocation' in weighed)) return one;
      const { allocation } = weighed;
      // Of what stays the same when less is wished for.
      return { ...one, allocation, repackedBytes: allocation.repackedBytes ?? 0 };
    }),
  );
}

/** By the engine's account where there is one, else by its rules of layout. */
export function needHere(wanted: Wanted): MemoryNeed {
  const spec = specOf(wanted);
  const { allocation, named } = wanted;
  if (spec === null || allocation === undefined) return needOf(wanted);
  return hostNeed(spec, named.geometry, allocation);
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
