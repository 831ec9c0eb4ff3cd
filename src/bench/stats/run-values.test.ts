import { describe, expect, it } from 'vitest';
import type { RequestRecord, Run } from '../result.ts';
import { FIXTURE_RECORD, FIXTURE_RUN, FIXTURE_SETUP, fixtureTarget } from './fixture-noise.ts';
import { keepsSlo, runValues } from './run-values.ts';
import { findEstimate, summarise } from './summary.ts';

const record = (changes: Partial<RequestRecord>): RequestRecord => ({
  ...FIXTURE_RECORD,
  ...changes,
});
const run = (records: RequestRecord[], changes: Partial<Run> = {}): Run => ({
  ...FIXTURE_RUN,
  records,
  ...changes,
});
const FAILED = record({
  outcome: 'error',
  error: { kind: 'http_error', message: 'no', status: 500 },
});

describe('values of a run', () => {
  it('count from the moment at which a request was meant to be sent', () => {
    const late = record({ intendedMs: 10, sentMs: 60, firstTokenMs: 110, endMs: 310 });
    const values = runValues(run([late]), null);
    expect(values.value('ttft', 'p50')).toBe(100);
    expect(values.value('e2e', 'p50')).toBe(300);
    expect(values.value('tpot', 'mean')).toBe(20);
  });

  it('take percentiles by nearest rank', () => {
    const records = Array.from({ length: 100 }, (_, i) => record({ firstTokenMs: i + 1 }));
    const values = runValues(run(records), null);
    expect(values.value('ttft', 'p50')).toBe(50);
    expect(values.value('ttft', 'p95')).toBe(95);
    expect(values.value('ttft', 'max')).toBe(100);
  });

  it('leave failed and cut-off requests out of times and rates', () => {
    const records = [record({}), FAILED, record({ outcome: 'aborted' }), record({})];
    const values = runValues(run(records, { wallMs: 2000 }), null);
    expect(values.value('requestRate', 'value')).toBe(1);
    expect(values.value('outputRate', 'value')).toBe(11);
    expect(values.value('errorShare', 'value')).toBeCloseTo(1 / 3);
    expect(values.value('cachedShare', 'value')).toBe(0.2);
  });

  it('are unknown where nothing was measured, never 0', () => {
    const mute = record({ outputTokens: null, promptTokens: null, firstTokenMs: null });
    const values = runValues(run([{ ...mute, gapsMs: null, gapMaxMs: null }]), null);
    for (const metric of ['ttft', 'itl', 'gap', 'tpot'] as const) {
      expect(values.value(metric, 'p50')).toBeNull();
    }
    for (const metric of ['outputRate', 'inputRate', 'goodput', 'memoryPeak'] as const) {
      expect(values.value(metric, 'value')).toBeNull();
    }
    expect(runValues(run([]), null).value('errorShare', 'value')).toBeNull();
  });

  it('of a mixed run are those of its streams', () => {
    const vector = record({ kind: 'embed', firstTokenMs: null, endMs: 9000, gapsMs: null });
    const values = runValues(run([record({}), vector]), null);
    expect(values.value('e2e', 'max')).toBe(300);
    expect(runValues(run([vector]), null).value('e2e', 'max')).toBe(9000);
  });

  it('count as good what keeps every objective that applies to it', () => {
    expect(keepsSlo(record({}), { ttft: 100, itl: 20, gap: 20, e2e: 300 })).toBe(true);
    expect(keepsSlo(record({}), { ttft: 99 })).toBe(false);
    expect(keepsSlo(record({}), { itl: 19 })).toBe(false);
    expect(keepsSlo(FAILED, { ttft: 1e9 })).toBe(false);
    expect(keepsSlo(record({ firstTokenMs: null }), { ttft: 1 })).toBe(true);
    const half = [record({}), record({ firstTokenMs: 200 })];
    expect(runValues(run(half), { ttft: 150 }).value('goodput', 'value')).toBe(1);
  });
});

describe('a summary', () => {
  const targets = [fixtureTarget('a'), fixtureTarget('b')];
  const at = (repetition: number, firstTokenMs: number, changes: Partial<Run> = {}): Run =>
    run([record({ firstTokenMs })], { repetition, ...changes });

  it('has an interval over valid repetitions, and counts the others', () => {
    const runs = [at(2, 121), at(1, 100), at(3, 999, { valid: false, records: [FAILED] })];
    const [summary, ...others] = summarise({ runs, targets, setup: FIXTURE_SETUP });
    expect(others).toEqual([]);
    expect(summary).toMatchObject({ target: 'a', runs: 3, invalidRuns: 1, requests: 3, ok: 2 });
    expect(summary?.errors).toEqual({ http_error: 1 });
    const estimate = summary && findEstimate(summary, 'ttft', 'p50');
    expect(estimate?.perRun).toEqual([100, 121]);
    expect(estimate?.value).toBeCloseTo(110);
    expect((estimate?.low ?? 1e9) < 100 && (estimate?.high ?? 0) > 121).toBe(true);
  });

  it('of one repetition has a value and no interval', () => {
    const [summary] = summarise({ runs: [at(1, 100)], targets, setup: FIXTURE_SETUP });
    const estimate = summary && findEstimate(summary, 'ttft', 'p50');
    expect(estimate).toMatchObject({ value: 100, low: null, high: null });
  });

  it('is one for each point, in ascending order', () => {
    const point = (value: number) => ({ point: { axis: 'clients' as const, value } });
    const runs = [at(1, 100, point(8)), at(1, 100, point(2)), at(2, 100, point(8))];
    const summaries = summarise({ runs, targets, setup: FIXTURE_SETUP });
    expect(summaries.map((one) => [one.point?.value, one.runs])).toEqual([
      [2, 1],
      [8, 2],
    ]);
  });
});
