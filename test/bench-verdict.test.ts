/**
 * The verdicts of `plenum bench` against a known truth: targets are the real scheduler on the `sim`
 * engine in virtual time, whose speed varies by 2 % from run to run and by 5 % from step to step.
 * Two equal ones are told apart in no metric, 19 times of 20; one whose steps take 5 % longer is
 * found slower within 10 repetitions.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Comparison, Run } from '../src/bench/result.ts';
import { compareTargets } from '../src/bench/stats/comparison.ts';
import { type SimulatedTarget, simulatedReport, simulatedRuns } from './simulated-bench.ts';

const MACHINE = { betweenRuns: 0.02, betweenSteps: 0.05 };
const REPETITIONS = [3, 6, 10] as const;
const SEED_FIRST = 1;
const SEEDS = 200;
const SEEDS_TEXT = `seeds ${SEED_FIRST} to ${SEED_FIRST + SEEDS - 1}`;

const targetOf = (name: 'a' | 'b', factor: number, seed: number): SimulatedTarget => ({
  ...{ name, factor, seed },
  machine: MACHINE,
});

/** What is said of `other` against `first` with the first `repetitions` of each. */
function judge(first: readonly Run[], other: readonly Run[], repetitions: number): Comparison[] {
  const runs = [...first.slice(0, repetitions), ...other.slice(0, repetitions)];
  return compareTargets(simulatedReport(runs));
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Comparisons of every seed, by repetitions. */
type Judged = Map<number, Comparison[][]>;
const equal: Judged = new Map(REPETITIONS.map((repetitions) => [repetitions, []]));
const slower: Judged = new Map(REPETITIONS.map((repetitions) => [repetitions, []]));

function shareOf(
  judged: Judged,
  repetitions: number,
  holds: (all: readonly Comparison[]) => boolean,
): number {
  return (judged.get(repetitions) ?? []).filter(holds).length / SEEDS;
}

const isNamed =
  (verdict: Comparison['verdict']) =>
  (all: readonly Comparison[]): boolean =>
    all.some((one) => one.verdict === verdict);
const isTold = (all: readonly Comparison[]): boolean =>
  isNamed('better')(all) || isNamed('worse')(all);
const isSlowerInMean = (all: readonly Comparison[]): boolean =>
  all.some(
    ({ metric, statistic, verdict }) =>
      metric === 'e2e' && statistic === 'mean' && verdict === 'worse',
  );

beforeAll(() => {
  for (let seed = SEED_FIRST; seed < SEED_FIRST + SEEDS; seed++) {
    const first = simulatedRuns(targetOf('a', 1, seed), 10);
    const same = simulatedRuns(targetOf('b', 1, seed), 10);
    const slow = simulatedRuns(targetOf('b', 1.05, seed), 10);
    for (const repetitions of REPETITIONS) {
      equal.get(repetitions)?.push(judge(first, same, repetitions));
      slower.get(repetitions)?.push(judge(first, slow, repetitions));
    }
  }
}, 300_000);

describe('two equal targets', () => {
  it.each(REPETITIONS)('%i repetitions: are told apart in no metric, 19 times of 20', (n) => {
    const falsely = shareOf(equal, n, isTold);
    console.info(`${n} repetitions, equal, ${SEEDS_TEXT}: ${percent(falsely)} told apart`);
    expect(falsely).toBeLessThanOrEqual(0.05);
  });

  it('are compared in latencies, rates and errors', () => {
    const metrics = new Set(equal.get(10)?.[0]?.map(({ metric }) => metric));
    const rates = ['outputRate', 'inputRate', 'requestRate', 'goodput', 'errorShare'];
    expect(metrics).toEqual(new Set(['ttft', 'itl', 'gap', 'e2e', ...rates]));
  });
});

describe('a target whose steps take 5 % longer', () => {
  it('is found slower within 10 repetitions', () => {
    for (const n of REPETITIONS) {
      const mean = shareOf(slower, n, isSlowerInMean);
      const any = shareOf(slower, n, isNamed('worse'));
      const wrong = shareOf(slower, n, isNamed('better'));
      console.info(
        `${n} repetitions, 5 % slower, ${SEEDS_TEXT}: slower end to end in ${percent(mean)}, ` +
          `in any metric in ${percent(any)}; better in any in ${percent(wrong)}`,
      );
    }
    expect(shareOf(slower, 10, isSlowerInMean)).toBeGreaterThanOrEqual(0.95);
  });

  it('has its true ratio in the intervals of 19 in 20', () => {
    const all = (slower.get(10) ?? []).flatMap((one) =>
      one.filter(({ metric, statistic }) => metric === 'e2e' && statistic === 'mean'),
    );
    const held = all.filter(({ low, high }) => (low ?? 9) <= 1.05 && (high ?? 0) >= 1.05).length;
    console.info(
      `end to end, mean, ${SEEDS_TEXT}: 1.05 is in ${percent(held / SEEDS)} of intervals`,
    );
    expect(held / SEEDS).toBeGreaterThanOrEqual(0.9);
  });
});

it('the same seed gives the same runs', () => {
  const [once, again] = [1, 2].map(() => simulatedRuns(targetOf('b', 1.05, 7), 2));
  expect(once).toEqual(again);
  expect(once?.[0]?.records.every(({ outcome }) => outcome === 'ok')).toBe(true);
});
