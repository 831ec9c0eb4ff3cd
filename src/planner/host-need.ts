/**
 * What the host of a served model needs, as the pool reserves it: the shape of a host in the terms
 * of `memoryNeed`, with the engine's own account where there is one. Pure.
 */
import type { ModelGeometry } from '../model/geometry.ts';
import type { HostSpec } from '../wire/host.ts';
import type { ByteItem, SimulatedAllocation } from '../wire/pool.ts';
import { HOST_PROCESS_BYTES } from './host-process.ts';
import { type MemoryAsk, type MemoryNeed, memoryNeed } from './memory.ts';

/** Throws what `memoryNeed` throws. Without the engine's own account: of a processor. */
export function hostNeed(
  spec: HostSpec,
  geometry: ModelGeometry,
  simulated: SimulatedAllocation | null,
): MemoryNeed {
  return memoryNeed({ ...shapeOf(spec), geometry, ...simulatedOf(simulated) });
}

function shapeOf({ engine, ...spec }: HostSpec): Omit<MemoryAsk, 'geometry'> {
  const { contextTokens, parallel, cells } = spec;
  if (spec.role === 'encode') {
    // An encoder computes an input in one piece, and keeps the cells of one batch.
    return { contextTokens, parallel: 1, batchTokens: spec.encode.batchTokensMax };
  }
  const common = { contextTokens, parallel, cells };
  if (engine.kind !== 'llama') return common;
  const { cacheType, kvLayout = 'auto', flashAttention = 'auto', stepTokensMax } = engine;
  const attention = { auto: undefined, on: 'flash', off: 'plain' } as const;
  const forced = attention[flashAttention];
  return {
    ...common,
    cacheType,
    kvLayout,
    stepTokens: stepTokensMax,
    ...(forced === undefined ? {} : { attention: forced }),
  };
}

/** What the engine says of itself, in the terms of `memoryNeed`. */
export function simulatedOf(simulated: SimulatedAllocation | null): Partial<MemoryAsk> {
  if (simulated === null) return { device: 'processor' };
  const { onGpu, repackedBytes, cacheBytes, computeBytes } = simulated;
  return {
    device: onGpu ? 'gpu' : 'processor',
    computeBytes,
    ...(repackedBytes === null ? {} : { repackedBytes }),
    ...(cacheBytes === null ? {} : { cacheBytes }),
  };
}

/** As the ledger shows them, the share of the prefix cache with them. */
export function byteItems(need: MemoryNeed, spec: HostSpec): readonly ByteItem[] {
  const items = need.items.map(({ name, bytes, source }): ByteItem => ({ name, bytes, source }));
  if (spec.role === 'encode' || !spec.prefixCache) return items;
  const source = 'no bytes of its own: it lives in cells of the KV cache that no sequence uses';
  return [...items, { name: 'prefix cache', bytes: 0, source }];
}

/** Of the simulated engine, which has no weights. */
export const SIMULATED_ENGINE_ITEMS: readonly ByteItem[] = [
  { name: 'host process', bytes: HOST_PROCESS_BYTES, source: 'estimate: Node alone' },
];
