import { describe, expect, it } from 'vitest';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import { geometryOfModel } from '../../planner/architecture.ts';
import { findMachine, findModel } from '../../planner/lookup.ts';
import { SPEED_TABLE } from '../../planner/speed-table.ts';
import type { RequestRecord, Run } from '../result.ts';
import {
  FIXTURE_RECORD,
  FIXTURE_RUN,
  FIXTURE_SETUP,
  fixtureTarget,
} from '../stats/fixture-noise.ts';
import { summarise } from '../stats/summary.ts';
import { predictionsOf, predictionText } from './predict.ts';

const catalogue = loadCatalogue();
const geometry = geometryOfModel(findModel(catalogue, 'llama-3.1-8b'), 'Q4_K_M');
const setup = { machine: findMachine(catalogue, 'm4-max-40c'), memoryGib: 64 };
const ask = { geometry, setup, table: SPEED_TABLE };

/** `clients` requests at a time, each 100 ms to the first token and 20 ms for each of 10 more. */
function measured(clients: number, changes: Partial<RequestRecord> = {}) {
  const records = Array.from({ length: 20 * clients }, (_, i): RequestRecord => {
    const start = 300 * Math.floor(i / clients);
    const times = { intendedMs: start, sentMs: start, endMs: start + 300 };
    return { ...FIXTURE_RECORD, ...times, firstTokenMs: start + 100, ...changes };
  });
  const runs: Run[] = [{ ...FIXTURE_RUN, wallMs: 6000, records }];
  const targets = [fixtureTarget('a')];
  return { runs, summaries: summarise({ runs, targets, setup: FIXTURE_SETUP }) };
}

describe('a prediction', () => {
  it('of one stream has both rates, what was predicted and the limit', () => {
    const [one] = predictionsOf(measured(1), ask);
    expect(one).toMatchObject({ target: 'a', users: 1 });
    expect(one?.decode.measured).toBeCloseTo(50);
    // 40 of 50 prompt tokens were not cached.
    expect(one?.prefill.measured).toBeCloseTo(400);
    const { predicted, limit, errorPct } = one?.decode ?? {};
    // 4.9 GB of weights over 546 GB/s are at most 111 steps a second.
    expect(limit).toBeGreaterThan(100);
    expect(limit).toBeLessThan(125);
    expect(predicted).toBeLessThan(limit ?? 0);
    expect(predicted).toBeGreaterThan(40);
    expect(errorPct).toBeGreaterThan(0);
    expect(one && predictionText(one)).toMatch(
      /^a: decodes 50 tok\/s, predicted \d+(\.\d)? tok\/s ± [\d.]+ %, \d+(\.\d)? % of the limit$/,
    );
  });

  it('of many streams counts them by the time that they took, and says nothing of prefill', () => {
    const [one] = predictionsOf(measured(4), ask);
    expect(one?.users).toBe(4);
    expect(one?.decode.measured).toBeCloseTo(200);
    expect(one?.prefill.measured).toBeNull();
  });

  it('is unknown for an unknown machine, and is not made where tokens were not counted', () => {
    const [one] = predictionsOf(measured(1), { ...ask, setup: null });
    expect(one?.decode).toMatchObject({ predicted: null, limit: null });
    expect(one?.basis).toMatch(/not in the catalogue/);
    expect(predictionsOf(measured(1, { outputTokens: null }), ask)).toEqual([]);
    expect(predictionsOf(measured(1, { kind: 'embed' }), ask)).toEqual([]);
  });
});
