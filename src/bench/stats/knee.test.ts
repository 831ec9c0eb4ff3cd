import { describe, expect, it } from 'vitest';
import type { Report, Run } from '../result.ts';
import { FIXTURE_RECORD, FIXTURE_RUN, FIXTURE_SETUP, fixtureTarget } from './fixture-noise.ts';
import { findKnees } from './knee.ts';

/** One run per point: so many requests a second, so slow. */
function sweep(
  points: readonly (readonly [clients: number, perSecond: number, ttftMs: number])[],
): Pick<Report, 'runs' | 'targets' | 'setup'> {
  const runs = points.map(
    ([value, perSecond, ttftMs]): Run => ({
      ...FIXTURE_RUN,
      point: { axis: 'clients', value },
      wallMs: 1000,
      records: Array.from({ length: perSecond }, () => ({
        ...FIXTURE_RECORD,
        firstTokenMs: ttftMs,
      })),
    }),
  );
  return { runs, targets: [fixtureTarget('a')], setup: { ...FIXTURE_SETUP, slo: { ttft: 500 } } };
}

const GROWS_THEN_BREAKS = [
  [1, 10, 100],
  [2, 20, 150],
  [4, 38, 300],
  [8, 39, 700],
  [16, 39, 1500],
] as const;

describe('the knee of a sweep', () => {
  it('is the last point that keeps the objective, and the first that gives all', () => {
    const [slo, throughput] = findKnees(sweep(GROWS_THEN_BREAKS));
    expect(slo).toMatchObject({ target: 'a', point: { axis: 'clients', value: 4 } });
    expect(slo?.reason).toBe(
      'keeps the objective up to 4 clients; at 8 clients only 0 % of requests keep it',
    );
    expect(throughput?.point?.value).toBe(4);
    expect(throughput?.reason).toMatch(/stops growing at 418 tok\/s at 4 clients/);
  });

  it('lies beyond a sweep that ends too early', () => {
    const knees = findKnees(sweep(GROWS_THEN_BREAKS.slice(0, 3)));
    expect(knees.map(({ point }) => point?.value ?? null)).toEqual([4, null]);
    for (const { reason } of knees) expect(reason).toMatch(/its limit lies beyond$/);
  });

  it('is at no point where the first already misses, even if a later one recovers', () => {
    const knees = findKnees(
      sweep([
        [1, 10, 900],
        [2, 20, 100],
      ]),
    );
    expect(knees[0]).toMatchObject({ point: null });
    expect(knees[0]?.reason).toMatch(/at no point: at 1 clients only 0 %/);
  });

  it('is not looked for without a sweep, and not by an objective that there is not', () => {
    const measured = sweep(GROWS_THEN_BREAKS);
    expect(findKnees({ ...measured, runs: [FIXTURE_RUN] })).toEqual([]);
    expect(findKnees({ ...measured, setup: FIXTURE_SETUP })).toHaveLength(1);
    const silent = measured.runs.map((run) => ({ ...run, records: [] }));
    expect(findKnees({ ...measured, runs: silent })[1]?.reason).toMatch(/answers nothing/);
  });
});
