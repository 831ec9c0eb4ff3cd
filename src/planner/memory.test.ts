/** The byte arithmetic: against the engine's own account, and as laws. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadCatalogue } from '../model/catalogue-data.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import { geometryOfModel } from './architecture.ts';
import { availableMemory } from './available.ts';
import { findModel } from './lookup.ts';
import { type MemoryAsk, memoryNeed } from './memory.ts';

const catalogue = loadCatalogue();
const model = (id: string, quant = 'Q4_K_M'): ModelGeometry =>
  geometryOfModel(findModel(catalogue, id), quant);
const itemOf = (ask: MemoryAsk, name: string): number =>
  memoryNeed(ask).items.reduce((sum, item) => sum + (item.name === name ? item.bytes : 0), 0);

describe('what a model needs', () => {
  it('keeps 327,680 bytes per token of a 70B, in f16', () => {
    const ask = { geometry: model('llama-3.3-70b'), contextTokens: 4096, parallel: 8 };
    expect(itemOf(ask, 'KV cache')).toBe(8 * 4096 * 327_680);
  });

  it('keeps 34/32 bytes per element in q8_0', () => {
    const ask = { geometry: model('llama-3.1-8b'), contextTokens: 1024, parallel: 1 };
    const half = itemOf(ask, 'KV cache');
    expect(itemOf({ ...ask, cacheType: 'q8_0' }, 'KV cache')).toBe((half * 34) / 64);
  });

  it('keeps only the window where the engine is told to', () => {
    const ask = { geometry: model('gpt-oss-20b', 'MXFP4'), contextTokens: 65_536, parallel: 1 };
    // 12 layers that see everything; 12 of 128 tokens, with a batch of 512, in whole 256s.
    expect(itemOf(ask, 'KV cache')).toBe(65_536 * 24_576);
    expect(itemOf(ask, 'windowed KV cache')).toBe(65_536 * 24_576);
    expect(itemOf({ ...ask, windowCache: 'window' }, 'windowed KV cache')).toBe(768 * 24_576);
  });

  /** `no_alloc` of the pinned library on a processor, plain: MB of the graph's buffer by cells. */
  it.each([
    ['llama-3.2-1b', 'Q4_0', { 1024: 37.026, 2048: 40.371, 4096: 74.974, 16384: 282.592 }],
    ['gemma-3-270m', 'Q8_0', { 1024: 68.42, 2048: 68.42, 4096: 68.42, 16384: 68.42 }],
  ] as const)('lays the graph of %s out as the engine does', (id, quant, measured) => {
    for (const [cells, megabytes] of Object.entries(measured)) {
      const contextTokens = Number(cells);
      for (const parallel of [1, 4]) {
        const shape = { contextTokens, parallel, device: 'processor' } as const;
        const plain = { ...shape, attention: 'plain' } as const;
        const ask: MemoryAsk = { geometry: model(id, quant), ...plain };
        const scratch = itemOf({ ...ask, computeBytes: 0 }, 'compute buffers');
        const graph = itemOf(ask, 'compute buffers') - scratch;
        expect(Math.abs(graph / 1e6 - megabytes)).toBeLessThan(3.7);
      }
    }
  });

  /** The same with the flash kernel over one cache for all, as GPUs have it. */
  it.each([
    ['llama-3.2-1b', 'Q4_0', [68.17, 71.32, 75.51]],
    ['gemma-3-270m', 'Q8_0', [68.59, 70.32, 68.59]],
  ] as const)('lays it out for the flash kernel too: %s', (id, quant, measured) => {
    const asks = [
      { contextTokens: 1024, parallel: 1 },
      { contextTokens: 4096, parallel: 1 },
      { contextTokens: 1024, parallel: 8 },
    ];
    asks.forEach((ask, i) => {
      const shape = { ...ask, device: 'gpu' } as const;
      const graph = itemOf({ geometry: model(id, quant), ...shape }, 'compute buffers');
      expect(Math.abs(graph / 1e6 - (measured[i] ?? 0))).toBeLessThan(3.1);
    });
  });

  it('counts what the engine gives out beside what it computes with', () => {
    const geometry = model('gemma-3-270m', 'Q8_0');
    const ask: MemoryAsk = { geometry, contextTokens: 512, parallel: 1 };
    expect(itemOf(ask, 'output rows')).toBe(64 * geometry.vocab * 4);
    expect(itemOf({ ...ask, parallel: 100 }, 'output rows')).toBe(100 * geometry.vocab * 4);
  });

  it('keeps the scores of all heads only on a processor, by its own sequence’s cells', () => {
    const geometry = model('llama-3.2-1b', 'Q4_0');
    const ask: MemoryAsk = { geometry, contextTokens: 8192, parallel: 1, device: 'processor' };
    const buffers = (more: Partial<MemoryAsk>) => itemOf({ ...ask, ...more }, 'compute buffers');
    const scores = 32 * 8192 * 128 * 4;
    expect(buffers({})).toBeGreaterThan(1.5 * scores);
    expect(buffers({ parallel: 8 })).toBe(buffers({}));
    expect(buffers({ cacheType: 'q8_0' })).toBeLessThan(scores);
    expect(buffers({ device: 'gpu' })).toBeLessThan(scores);
  });

  it('takes the engine’s figures where it has them', () => {
    const ask = { geometry: model('llama-3.2-1b'), contextTokens: 512, parallel: 1 };
    const known = { ...ask, weightsBytes: 5e8, computeBytes: 1e6, hostBytes: 0, repackedBytes: 7 };
    expect(itemOf(known, 'weights')).toBe(5e8);
    expect(itemOf(known, 'compute buffers')).toBe(1e6);
    expect(itemOf(known, 'repacked weights')).toBe(7);
  });

  it('is the sum of its items, each with a source, and never falls with context or users', () => {
    const geometries = ['llama-3.1-8b', 'gemma-3-4b', 'gpt-oss-20b'].map((id) => model(id));
    fc.assert(
      fc.property(
        fc.constantFrom(...geometries),
        fc.integer({ min: 1, max: 131_072 }),
        fc.integer({ min: 1, max: 32 }),
        fc.constantFrom('full' as const, 'window' as const),
        (geometry, contextTokens, parallel, windowCache) => {
          const ask = { geometry, contextTokens, parallel, windowCache };
          const { neededBytes, items } = memoryNeed(ask);
          expect(items.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(neededBytes);
          expect(items.every(({ source, bytes }) => source !== '' && bytes >= 0)).toBe(true);
          const longer = memoryNeed({ ...ask, contextTokens: contextTokens + 1 });
          const wider = memoryNeed({ ...ask, parallel: parallel + 1 });
          expect(longer.neededBytes).toBeGreaterThanOrEqual(neededBytes);
          expect(wider.neededBytes).toBeGreaterThanOrEqual(neededBytes);
        },
      ),
    );
  });

  it('refuses impossible numbers and a state of unknown size', () => {
    const geometry = model('llama-3.2-1b');
    expect(() => memoryNeed({ geometry, contextTokens: 0, parallel: 1 })).toThrow(/context is 0/);
    expect(() => memoryNeed({ geometry, contextTokens: 8, parallel: 1.5 })).toThrow(/whole number/);
    const hybrid: ModelGeometry = {
      ...geometry,
      recurrence: 'hybrid',
      stateBytesPerSequence: null,
    };
    expect(() => memoryNeed({ geometry: hybrid, contextTokens: 8, parallel: 1 })).toThrow(
      /lacks the size of its recurrent state/,
    );
  });

  it('counts a recurrent state once per sequence', () => {
    const geometry: ModelGeometry = {
      ...model('llama-3.2-1b'),
      recurrence: 'hybrid',
      stateBytesPerSequence: 1000,
    };
    expect(itemOf({ geometry, contextTokens: 99, parallel: 3 }, 'recurrent state')).toBe(3000);
  });
});

describe('what a machine gives', () => {
  const gib = 2 ** 30;
  const mac = (size: number, generation: 'older' | 'macos-26'): number =>
    availableMemory({ kind: 'mac', ramBytes: size * gib, generation }).availableBytes;

  it('follows what macOS prints', () => {
    expect(mac(64, 'macos-26') / 1e6).toBeCloseTo(55_662.79, 0);
    expect(mac(64, 'older')).toBe(48 * gib);
    expect(mac(16, 'older')).toBe(Math.floor((16 * gib * 2) / 3));
    expect(mac(512, 'macos-26')).toBe(Math.floor(512 * gib * 0.906));
  });

  it('obeys the sysctl, the control group, and a reserve', () => {
    const set = availableMemory(
      { kind: 'mac', ramBytes: 64 * gib, generation: 'older', wiredLimitMib: 60_000 },
      1e9,
    );
    expect(set.availableBytes).toBe(60_000 * 2 ** 20 - 1e9);
    const linux = availableMemory(
      { kind: 'linux', ramBytes: 32 * gib, availableBytes: 30e9, cgroupBytes: 8e9 },
      0,
    );
    expect(linux).toEqual({ availableBytes: 8e9, source: 'limit of the control group' });
  });

  it('leaves a tenth to the system, and no more than 1 GB', () => {
    const container = (cgroupBytes: number) =>
      availableMemory({ kind: 'linux', ramBytes: 32 * gib, cgroupBytes });
    const source = 'limit of the control group − 60.0 MB system reserve';
    expect(container(600e6)).toEqual({ availableBytes: 540e6, source });
    expect(container(12e9).availableBytes).toBe(11e9);
    const cards = { kind: 'discrete', vramBytes: 24e9, devices: 2 } as const;
    expect(availableMemory(cards).availableBytes).toBe(46e9);
  });

  it('refuses a limit above RAM and a reserve that leaves nothing', () => {
    const facts = { kind: 'mac', ramBytes: 8 * gib, generation: 'older' } as const;
    expect(() => availableMemory({ ...facts, wiredLimitMib: 9000 })).toThrow(/above 8192 MiB/);
    expect(() => availableMemory(facts, 9e9)).toThrow(/Nothing is left/);
    expect(() => availableMemory(facts, -1)).toThrow(/impossible/);
  });
});
