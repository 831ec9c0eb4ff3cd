/**
 * What the host of a served model needs, as the pool reserves it: the shape of a host in the terms
 * of `memoryNeed`, with the engine's own account where there is one. Pure.
 */
import type { ModelGeometry } from '../model/geometry.ts';
import type { HostSpec } from '../wire/host.ts';
import type { ByteItem, SimulatedAllocation } from '../wire/pool.ts';
import { HOST_PROCESS_BYTES, type MemoryAsk, type MemoryNeed, memoryNeed } from './memory.ts';

/** Throws what `memoryNeed` throws. */
export function hostNeed(
  spec: HostSpec,
  geometry: ModelGeometry,
  simulated: SimulatedAllocation | null,
): MemoryNeed {
  return memoryNeed({ ...shapeOf(spec), geometry, ...simulatedOf(simulated) });
}

function shapeOf(spec: HostSpec): Omit<MemoryAsk, 'geometry'> {
  const cacheType = spec.engine.kind === 'llama' ? spec.engine.cacheType : 'f16';
  const { contextTokens, parallel, cells } = spec;
  if (spec.role === 'generate') return { contextTokens, parallel, cells, cacheType };
  // An encoder computes an input in one piece, and keeps the cells of one batch.
  const stepTokens = Math.max(contextTokens, spec.encode.batchTokensMax);
  return { contextTokens: stepTokens, parallel: 1, stepTokens, outputRows: stepTokens };
}

function simulatedOf(simulated: SimulatedAllocation | null): Partial<MemoryAsk> {
  if (simulated === null) return {};
  const { repackedBytes, cacheBytes, computeBytes } = simulated;
  return {
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
