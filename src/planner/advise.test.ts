/** Advice: every proposal meets the wish, and none is made where nothing is wrong. */
import { describe, expect, it } from 'vitest';
import { loadCatalogue } from '../model/catalogue-data.ts';
import { adviseInstead, type Wish } from './advise.ts';
import { findMachine, findModel } from './lookup.ts';
import { SPEED_TABLE } from './speed-table.ts';

const catalogue = loadCatalogue();
const wish = (more: Partial<Wish>, machine = 'm4-max-40c', memoryGib = 64): Wish => ({
  catalogue,
  model: findModel(catalogue, 'llama-3.3-70b'),
  quant: 'Q4_K_M',
  ask: {
    setup: { machine: findMachine(catalogue, machine), memoryGib },
    table: SPEED_TABLE,
    traffic: { users: 1, promptTokens: 512, outputTokens: 128 },
    utilisation: 0.3,
  },
  contextTokens: 8192,
  tpsPerUser: null,
  ...more,
});

describe('advice', () => {
  it('is silent when the wish is met', () => {
    expect(adviseInstead(wish({}))).toEqual([]);
  });

  it('proposes fewer bits or a shorter context for a model that does not fit', () => {
    const eight = adviseInstead(wish({ quant: 'Q8_0' }));
    expect(eight.find(({ kind }) => kind === 'quantisation')?.change).toMatch(/^Q5_K_M instead/);
    const long = adviseInstead(wish({ contextTokens: 65_536 }));
    expect(long.find(({ kind }) => kind === 'context')?.change).toMatch(/32768 instead of 65536/);
  });

  it('proposes a mixture of experts and other machines for a model that is too slow', () => {
    const slow = wish({ tpsPerUser: 40 }, 'm3-ultra-80c', 512);
    const advice = adviseInstead(slow);
    expect(advice.find(({ kind }) => kind === 'experts')?.change).toMatch(/gpt-oss-120b MXFP4/);
    for (const { plan } of advice) {
      expect(plan.fits).toBe(true);
      expect(plan.speed.perUserTps).toBeGreaterThanOrEqual(40);
    }
  });

  it('proposes speculation where it is enough', () => {
    const advice = adviseInstead(wish({ tpsPerUser: 9 }, 'gb10-dgx-spark', 128));
    expect(advice.map(({ kind }) => kind)).toContain('speculation');
  });
});
