import { describe, expect, it } from 'vitest';
import { OWNERSHIP_DEFAULTS, type Ownership } from '../../planner/money.ts';
import type { Run } from '../result.ts';
import { FIXTURE_RECORD, noisyReport } from '../stats/fixture-noise.ts';
import { summarise } from '../stats/summary.ts';
import { costsOf, modelledEnergy } from './cost.ts';

const OWNED: Ownership = {
  kind: 'own',
  priceUsd: 2000,
  loadWatts: null,
  idleWatts: null,
  ...OWNERSHIP_DEFAULTS,
};
const POWER = { machine: 'm', idleWatts: 10, loadWatts: 110, isProcessor: true };

const measured = (energyOf: (run: Run) => Run['energy']) => {
  const report = noisyReport({ seed: 1, repetitions: 3, factor: 1, noise: 0 });
  const runs = report.runs.map((run) => ({ ...run, energy: energyOf(run) }));
  return { runs, summaries: summarise({ ...report, runs }) };
};
const at50Watts = ({ wallMs }: Run): Run['energy'] => ({
  ...{ joules: wallMs / 20, wattsMean: 50, source: 'measured', meter: 'rapl' },
});

describe('cost of tokens', () => {
  it('is joules per token, and dollars per million with depreciation', () => {
    const [cost] = costsOf(measured(at50Watts), OWNED);
    const tps = 20 * 9;
    const report = measured(at50Watts);
    const wall = report.runs
      .filter(({ target }) => target === 'a')
      .reduce((s, r) => s + r.wallMs, 0);
    const rate = (3 * tps * 1e3) / wall;
    expect(cost).toMatchObject({ target: 'a', source: 'measured', meter: 'rapl' });
    expect(cost?.wattsMean).toBeCloseTo(50);
    expect(cost?.joulesPerToken).toBeCloseTo(50 / rate, 2);
    const energy = ((50 / 1e3) * 0.12 * 1e6) / (3600 * rate);
    expect(cost?.energyUsdPerMtok).toBeCloseTo(energy, 2);
    const depreciation = ((2000 * 0.7) / (3 * 8760)) * (1e6 / (3600 * rate));
    expect(cost?.usdPerMtok).toBeCloseTo(energy + depreciation, 1);
  });

  it('is unknown where a run has no reading, where no price is, where no token came', () => {
    const some = measured((run) => (run.repetition === 1 ? null : at50Watts(run)));
    expect(costsOf(some, OWNED)[0]).toMatchObject({ joulesPerToken: null, usdPerMtok: null });
    const priceless = costsOf(measured(at50Watts), { ...OWNED, priceUsd: null })[0];
    expect(priceless).toMatchObject({ usdPerMtok: null });
    expect(priceless?.energyUsdPerMtok).toBeGreaterThan(0);
    expect(priceless?.basis).toMatch(/price unknown.*not known: the price of the machine/);
    const { runs, summaries } = measured(at50Watts);
    const none = summaries.map((summary) => ({ ...summary, estimates: [] }));
    expect(costsOf({ runs, summaries: none }, OWNED)[0]?.basis).toMatch(/no output tokens/);
  });
});

describe('modelled energy', () => {
  const resources = measured(at50Watts).runs[0]?.resources ?? null;
  const records = [0, 100, 600].map((sentMs) => ({
    ...FIXTURE_RECORD,
    sentMs,
    endMs: sentMs + 200,
  }));
  const run = { wallMs: 1000, resources: resources && { ...resources, cpuMs: 500 }, records };

  it('lies between idle and load by the use of the processors, and is called modelled', () => {
    const energy = modelledEnergy(run, { power: POWER, cores: 2 });
    expect(energy).toMatchObject({ source: 'modelled', wattsMean: 35, joules: 35 });
    expect(energy?.meter).toContain('idle 10 W to load 110 W of m');
  });

  it('of a GPU follows the time in which requests were in flight, overlaps counted once', () => {
    const power = { ...POWER, isProcessor: false };
    const energy = modelledEnergy({ ...run, resources: null }, { power, cores: 2 });
    expect(energy).toMatchObject({ wattsMean: 60, joules: 60 });
    expect(energy?.meter).toContain('while requests were in flight');
  });

  it('is none where a figure is missing', () => {
    expect(modelledEnergy({ ...run, resources: null }, { power: POWER, cores: 2 })).toBeNull();
    const power = { ...POWER, idleWatts: null };
    expect(modelledEnergy(run, { power, cores: 2 })).toBeNull();
  });
});
