/** The roofline: no point above its roof, and intensities that can be counted by hand. */
import { describe, expect, it } from 'vitest';
import { loadCatalogue } from '../model/catalogue-data.ts';
import { geometryOfModel } from './architecture.ts';
import { deviceOf } from './device.ts';
import { findMachine, findModel } from './lookup.ts';
import { modelCost } from './model-cost.ts';
import { singleDevice } from './placement.ts';
import { roofOf, roofPoint, underRoof } from './roofline.ts';
import { familyParams } from './speed-params.ts';
import { SPEED_TABLE } from './speed-table.ts';

const catalogue = loadCatalogue();
const cost = modelCost(geometryOfModel(findModel(catalogue, 'llama-3.1-8b'), 'F16'));
const placementOf = (id: string) => {
  const machine = findMachine(catalogue, id);
  const params = familyParams(SPEED_TABLE, machine.family);
  return singleDevice(deviceOf({ machine, params, attention: 'flash' }));
};
const decode = (users: number) => {
  return { tokens: users, sequences: users, attended: users * 2, outputs: users };
};

describe('the roofline', () => {
  it('has one operation per byte for one token at F16, and as many as there are tokens', () => {
    const placement = placementOf('rtx-4090');
    expect(roofPoint(decode(1), cost, placement)?.intensity).toBeCloseTo(1, 1);
    expect(roofPoint(decode(16), cost, placement)?.intensity).toBeCloseTo(16, 0);
  });

  it.each(['rtx-4090', 'm4-max-40c', 'h100-sxm', 'gb10-dgx-spark'])('holds for %s', (id) => {
    const placement = placementOf(id);
    const roof = roofOf(placement);
    if (roof === null) throw new Error('no roof');
    for (const users of [1, 4, 16, 64, 256]) {
      const point = roofPoint(decode(users), cost, placement);
      expect(point?.opsPerSecond).toBeLessThanOrEqual(underRoof(roof, point?.intensity ?? 0));
    }
  });
});
