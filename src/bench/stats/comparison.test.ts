import { describe, expect, it } from 'vitest';
import type { Comparison, Report } from '../result.ts';
import { compareSeparate, compareTargets } from './comparison.ts';
import { FIXTURE_RUN, type NoiseSpec, noisyReport } from './fixture-noise.ts';
import { headline } from './sentence.ts';

const SEEDS = 400;
/** With few pairs the t-test spends all that it may: a share near 5 % needs a larger sample. */
const SEEDS_FEW_PAIRS = 2000;

const isDifference = ({ verdict }: Comparison): boolean =>
  verdict === 'better' || verdict === 'worse';
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const find = (all: readonly Comparison[], metric: Comparison['metric'], statistic = 'p50') =>
  all.find((one) => one.metric === metric && one.statistic === statistic);

/** Share of seeds in which `holds` is true of the comparison. */
function shareOf(
  spec: Omit<NoiseSpec, 'seed'>,
  holds: (comparisons: readonly Comparison[]) => boolean,
  compare: (report: ReturnType<typeof noisyReport>) => Comparison[] = compareTargets,
): number {
  const seeds = spec.repetitions < 6 ? SEEDS_FEW_PAIRS : SEEDS;
  let count = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    if (holds(compare(noisyReport({ ...spec, seed: seed * 7919 + spec.repetitions })))) count += 1;
  }
  return count / seeds;
}

const MACHINES = {
  'a quiet machine': {},
  'a machine that drifts by 3 % from run to run': { drift: 0.03 },
  'a machine that gets 1 % slower with each run': { trend: 0.01 },
  'a machine on which one run of ten is 40 % slower': { outliers: 0.1 },
} as const;

describe.each(Object.entries(MACHINES))('on %s', (name, machine) => {
  const base = { noise: 0.03, ...machine };

  it.each([3, 6, 10])(
    '%i repetitions: equal targets are told apart in no metric, 19 times of 20',
    (repetitions) => {
      const falsely = shareOf({ ...base, repetitions, factor: 1 }, (all) => all.some(isDifference));
      console.info(`${name}, ${repetitions} repetitions, equal: ${percent(falsely)} told apart`);
      expect(falsely).toBeLessThanOrEqual(0.05);
    },
    60_000,
  );
});

describe('a target that is truly slower', () => {
  const slower = (all: readonly Comparison[]): boolean => find(all, 'e2e')?.verdict === 'worse';

  it.each([
    // Noise of 3 % in every repetition: the best test that there is finds 5 % in 93 of 100.
    [0.03, 1.05, {}, 10, 0.8],
    [0.03, 1.05, { trend: 0.01 }, 10, 0.8],
    [0.03, 1.05, { outliers: 0.1 }, 10, 0.3],
    [0.02, 1.05, {}, 10, 0.97],
    [0.03, 1.1, {}, 6, 0.85],
    [0.03, 1.3, {}, 3, 0.85],
    [0.03, 1.5, { outliers: 0.1 }, 10, 0.9],
  ])(
    'noise %f, factor %f, %o, %i repetitions',
    (noise, factor, machine, repetitions, least) => {
      const found = shareOf({ noise, factor, ...machine, repetitions }, slower);
      const what = JSON.stringify({ noise, factor, ...machine, repetitions });
      console.info(`${what}: end to end found slower in ${percent(found)}`);
      expect(found).toBeGreaterThanOrEqual(least);
    },
    60_000,
  );

  it('is never called better', () => {
    const spec = { noise: 0.03, factor: 1.05, repetitions: 10 };
    expect(shareOf(spec, (all) => find(all, 'e2e')?.verdict === 'better')).toBe(0);
  });
});

describe('a comparison', () => {
  it('has 95 % intervals that hold the true ratio in 95 % of cases', () => {
    const spec = { noise: 0.03, factor: 1.2, repetitions: 5, drift: 0.02 };
    const holds = shareOf(spec, (all) => {
      const { low, high } = find(all, 'e2e') ?? { low: null, high: null };
      return (low ?? 9) <= 1.2 && (high ?? 0) >= 1.2;
    });
    expect(holds).toBeGreaterThan(0.92);
    expect(holds).toBeLessThan(0.98);
  });

  it('judges a metric by its direction, with how much in its sentence', () => {
    const all = compareTargets(noisyReport({ seed: 4, repetitions: 8, factor: 3, noise: 0.01 }));
    expect(find(all, 'ttft')).toMatchObject({ verdict: 'worse', baseline: 'a', target: 'b' });
    expect(find(all, 'ttft')?.sentence).toMatch(
      /^time to first token, p50: b is slower than a, (2\.9|3)\d* times as long \(ratio 3?2?\.\d\d, 95 % interval [\d.]+ to [\d.]+\)$/,
    );
    expect(find(all, 'outputRate', 'value')).toMatchObject({ verdict: 'worse' });
    expect(find(all, 'outputRate', 'value')?.sentence).toMatch(/slower than a, 6\d[.\d]* % less/);
    expect(headline(all)).toMatch(
      /^b against a: worse in time to first token p50 \(.* and \d more/,
    );
  });

  it('is undecided with fewer than three repetitions, however large the difference', () => {
    const all = compareTargets(noisyReport({ seed: 4, repetitions: 2, factor: 9, noise: 0.01 }));
    expect(new Set(all.map(({ verdict }) => verdict))).toEqual(new Set(['undecided']));
    expect(all[0]?.sentence).toMatch(/2 repetitions are too few/);
    expect(headline(all)).toMatch(/too few repetitions/);
  });

  it('pairs only repetitions in which both runs are valid', () => {
    const report = noisyReport({ seed: 4, repetitions: 4, factor: 1.5, noise: 0.01 });
    const runs = report.runs.map((run) => ({
      ...run,
      valid: !(run.target === 'a' && run.repetition < 3) && !(run.target === 'b' && run.order > 6),
    }));
    const all = compareTargets({ ...report, runs });
    expect(find(all, 'ttft')?.verdict).toBe('undecided');
  });

  it('compares error shares by their difference where one is 0', () => {
    const report = noisyReport({ seed: 4, repetitions: 6, factor: 1, noise: 0.01 });
    const runs = report.runs.map((run) => {
      if (run.target === 'a') return run;
      const records = run.records.map((record, i) =>
        i % 4 === 0
          ? {
              ...record,
              outcome: 'error' as const,
              error: { kind: 'stalled' as const, message: 'x', status: null },
            }
          : record,
      );
      return { ...run, records };
    });
    const row = find(compareTargets({ ...report, runs }), 'errorShare', 'value');
    expect(row).toMatchObject({ ratio: null, verdict: 'worse' });
    expect(row?.sentence).toBe(
      'share of failed requests: b is worse than a by +25 % … +25 % (95 % interval of the difference)',
    );
    const same = find(compareTargets(report), 'errorShare', 'value');
    expect(same?.sentence).toBe('share of failed requests: the same at both');
  });

  it('has nothing to say of targets without runs', () => {
    const report = noisyReport({ seed: 1, repetitions: 3, factor: 1, noise: 0.01 });
    expect(compareTargets({ ...report, runs: [] })).toEqual([]);
    expect(compareTargets({ ...report, runs: [FIXTURE_RUN] })).toEqual([]);
    expect(headline([])).toMatch(/Nothing/);
  });
});

describe('runs that were made at different times', () => {
  const apart = (between: number) => (report: Pick<Report, 'runs'>) =>
    compareSeparate({
      ask: { baseline: 'a', target: 'b', point: null, slo: null },
      baseline: { runs: report.runs.filter(({ target }) => target === 'a'), slo: null },
      target: { runs: report.runs.filter(({ target }) => target === 'b'), slo: null },
      allowance: between,
    });

  it('are not told apart by a change of the machine within the allowance', () => {
    // The second run has a machine that is 4 % slower.
    const spec = { noise: 0.03, factor: 1.04, repetitions: 10 };
    const withAllowance = shareOf(spec, (all) => all.some(isDifference), apart(0.05));
    const without = shareOf(spec, (all) => all.some(isDifference), apart(0));
    console.info(
      `apart, machine 4 % slower: told apart ${percent(withAllowance)} with allowance, ` +
        `${percent(without)} without`,
    );
    expect(withAllowance).toBeLessThanOrEqual(0.05);
    expect(without).toBeGreaterThan(0.4);
  });

  it('are told apart by more than that', () => {
    const spec = { noise: 0.03, factor: 1.15, repetitions: 6 };
    const found = shareOf(spec, (all) => find(all, 'e2e')?.verdict === 'worse', apart(0.05));
    expect(found).toBeGreaterThan(0.9);
  });
});
