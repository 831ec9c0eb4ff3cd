/** Plans as a whole: memory verdicts against measured ones, mixes, errors, and their time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadCatalogue, loadMeasurements } from '../model/catalogue-data.ts';
import { geometryOfModel } from './architecture.ts';
import { findMachine, findModel } from './lookup.ts';
import { memoryNeed } from './memory.ts';
import { type Plan, type PlanModel, planModel, planModels } from './plan.ts';
import { fitOf, type MachineSetup } from './setup.ts';
import { SPEED_TABLE } from './speed-table.ts';

const catalogue = loadCatalogue();
const model = (id: string, quant = 'Q4_K_M'): PlanModel => ({
  geometry: geometryOfModel(findModel(catalogue, id), quant),
});
const setup = (id: string, more: Partial<MachineSetup> = {}): MachineSetup => ({
  machine: findMachine(catalogue, id),
  ...more,
});
const common = {
  table: SPEED_TABLE,
  traffic: { users: 1, promptTokens: 512, outputTokens: 128 },
  utilisation: 0.3,
};

const CARDS: ReadonlyMap<string, string> = new Map([
  ['3070 8GB', 'rtx-3070'],
  ['4070 Ti 12GB', 'rtx-4070-ti'],
  ['4080 16GB', 'rtx-4080'],
  ['RTX 4000 Ada 20GB', 'rtx-4000-ada'],
  ['3090 24GB', 'rtx-3090'],
  ['RTX 5000 Ada 32GB', 'rtx-5000-ada'],
  ['RTX 6000 Ada 48GB', 'rtx-6000-ada'],
  ['A40 48GB', 'a40'],
  ['L40S 48GB', 'l40s'],
  ['A100 PCIe 80GB', 'a100-pcie-80gb'],
  ['H100 PCIe 80GB', 'h100-pcie'],
]);

describe('what fits', () => {
  it('is what ran, and what ran out of memory does not fit, on every published card', () => {
    let checked = 0;
    for (const row of loadMeasurements('llama3-gpus')) {
      const [name = '', count = '1'] = (row.gpu ?? '').split(' * ');
      const id = CARDS.get(name);
      if (id === undefined) continue;
      const llama = row.model === 'llama-3-8b' ? 'llama-3.1-8b' : 'llama-3.3-70b';
      const { geometry } = model(llama, row.quant ?? '');
      for (const [contextTokens, tps] of [
        [1024, row.tg1024_tps],
        [8192, row.tg8192],
      ] as const) {
        if (tps === undefined || tps === '') continue;
        // Those builds ran attention in separate kernels.
        const need = memoryNeed({ geometry, contextTokens, parallel: 1, attention: 'plain' });
        const { fits } = fitOf(setup(id, { devices: Number(count) }), [need]);
        expect(fits, `${row.gpu} ${row.model} ${row.quant} ${contextTokens}`).toBe(tps !== 'OOM');
        checked += 1;
      }
    }
    expect(checked).toBeGreaterThan(100);
  });

  it('a mix needs at least its parts', () => {
    const models = ['llama-3.1-8b', 'qwen3-0.6b', 'gemma-3-1b', 'gpt-oss-20b'].map((id) =>
      model(id),
    );
    const needed = (list: readonly PlanModel[]): number =>
      planModels({ ...common, models: list, setup: setup('m3-ultra-80c') }).memory.neededBytes;
    fc.assert(
      fc.property(fc.subarray(models, { minLength: 1 }), (some) => {
        const sum = some.reduce((total, part) => total + needed([part]), 0);
        expect(needed(some)).toBeGreaterThanOrEqual(sum);
      }),
      { numRuns: 20 },
    );
  });

  it('takes an engine’s account of this machine for this machine alone', () => {
    const allocation = {
      onGpu: false,
      weightsBytes: 5e9,
      repackedBytes: 4e9,
      cacheBytes: null,
      computeBytes: 1e8,
    };
    const counted = { ...model('llama-3.1-8b'), allocation };
    const elsewhere = setup('m4-max-40c', { memoryGib: 64 });
    const facts = {
      kind: 'linux',
      ramBytes: 64e9,
      availableBytes: 60e9,
      cgroupBytes: null,
    } as const;
    const bytes = (of: PlanModel, on: MachineSetup): number =>
      planModel({ ...common, setup: on, model: of }).memory.neededBytes;
    expect(bytes(counted, elsewhere)).toBe(bytes(model('llama-3.1-8b'), elsewhere));
    const here = { ...elsewhere, facts };
    expect(bytes(counted, here)).toBeGreaterThan(bytes(model('llama-3.1-8b'), here) + 3e9);
  });

  it('says how much is missing', () => {
    const plan = planModel({ ...common, model: model('llama-3.3-70b'), setup: setup('m1-8c') });
    expect(plan.fits).toBe(false);
    const { neededBytes, availableBytes, shortBytes } = plan.memory;
    expect(shortBytes).toBe(neededBytes - availableBytes);
  });

  it('offloads to system memory where there is some, and says so', () => {
    const system = { memoryGib: 128, bandwidthBytesPerSecond: 89.6e9 };
    const plan = planModel({
      ...common,
      model: model('llama-3.3-70b'),
      setup: setup('rtx-4090', { system }),
    });
    expect(plan).toMatchObject({ fits: true, isOffloaded: true });
    expect(plan.speed.binding).toBe('memory');
    expect(plan.speed.decodeTps).toBeGreaterThan(2.5);
    expect(plan.speed.decodeTps).toBeLessThan(4);
  });
});

describe('a plan', () => {
  it('for four models on ten machines has an answer for each', () => {
    const models = ['llama-3.3-70b', 'qwen3-0.6b', 'gpt-oss-20b', 'llama-3.2-1b'].map((id) =>
      model(id),
    );
    const plans: Plan[] = catalogue.machines
      .slice(0, 10)
      .map(({ id }) => planModels({ ...common, models, setup: setup(id) }));
    expect(plans).toHaveLength(10);
    for (const plan of plans) expect(plan.models).toHaveLength(4);
  });

  it('works for every machine of the catalogue that has a size', () => {
    for (const { id, memory } of catalogue.machines) {
      if (memory.length === 0) continue;
      const plan = planModel({ ...common, model: model('llama-3.2-1b'), setup: setup(id) });
      expect(plan.speed.decodeTps, id).toBeGreaterThan(10);
      expect(plan.speed.errorPct.decode, id).toBeGreaterThan(0);
    }
  });

  it('keeps an unknown price unknown, and names it', () => {
    const plan = planModel({ ...common, model: model('llama-3.1-8b'), setup: setup('m5-max-40c') });
    expect(plan.cost.usdPerMtokOut).toBeNull();
    expect(plan.cost.unknown).toContain('its power under load');
    const given = planModel({
      ...common,
      model: model('llama-3.1-8b'),
      setup: setup('m5-max-40c'),
      ownership: { loadWatts: 120, idleWatts: 8 },
    });
    expect(given.cost.usdPerMtokOut).toBeGreaterThan(0);
  });

  it('names the nearest machines and models', () => {
    expect(() => findMachine(catalogue, 'm4-max')).toThrow(/nearest are m4-max-32c, m4-max-40c/);
    expect(() => findModel(catalogue, 'llama3.3-70b')).toThrow(/llama-3.3-70b/);
  });

  it('refuses several Macs, no models, and a family without parameters', () => {
    const one = { ...common, model: model('llama-3.2-1b') };
    expect(() => planModel({ ...one, setup: setup('m4-10c', { devices: 2 }) })).toThrow(/sharded/);
    expect(() => planModels({ ...common, models: [], setup: setup('m4-10c') })).toThrow(/at least/);
    const odd = { ...findMachine(catalogue, 'm4-10c'), family: 'metal-m9' };
    expect(() => planModel({ ...one, setup: { machine: odd } })).toThrow(/No fitted speed/);
  });
});
