/**
 * Where a sweep breaks: the last point that keeps the objective, and the first that gives all that
 * the target has. Pure.
 */
import { defined } from '../../base/assert.ts';
import type { Knee, Report, Run, Slo, SweepPoint } from '../result.ts';
import { keepsSlo, runValues } from './run-values.ts';
import { plain } from './sentence.ts';
import { pointsOf, runsAt } from './summary.ts';

/** A point keeps the objective when so many of its requests do; failed ones do not. */
export const SLO_SHARE_MIN = 0.95;
/** More load that adds less than this is no growth. */
const GROWTH_MIN = 0.05;

type Measured = Pick<Report, 'runs' | 'setup' | 'targets'>;

/** For each target with a sweep: by the objective, where there is one, and by throughput. */
export function findKnees({ runs, setup, targets }: Measured): Knee[] {
  return targets.flatMap(({ name }): Knee[] => {
    const own = runs.filter((run) => run.target === name && run.valid && run.point !== null);
    const points = pointsOf(own).filter((point) => point !== null);
    if (points.length < 2) return [];
    const steps = points.map((point) => stepOf(point, runsAt(own, name, point), setup.slo));
    const byThroughput = throughputKnee(name, steps);
    return setup.slo === null ? [byThroughput] : [sloKnee(name, steps), byThroughput];
  });
}

interface Step {
  readonly point: SweepPoint;
  /** Output tokens per second, or requests where nothing streams. */
  readonly rate: number;
  readonly unit: 'tok/s' | 'req/s';
  /** Requests that keep the objective, of all that were not cut off. */
  readonly keptShare: number;
}

function stepOf(point: SweepPoint, runs: readonly Run[], slo: Slo | null): Step {
  const values = runs.map((run) => runValues(run, slo));
  const mean = (metric: 'outputRate' | 'requestRate'): number | null => {
    const known = values.map((run) => run.value(metric, 'value')).filter((rate) => rate !== null);
    return known.length === 0 ? null : known.reduce((sum, rate) => sum + rate, 0) / known.length;
  };
  const judged = runs.flatMap(({ records }) => records.filter((one) => one.outcome !== 'aborted'));
  const kept = judged.filter((record) => keepsSlo(record, slo ?? {})).length;
  const tokens = mean('outputRate');
  return {
    point,
    rate: tokens ?? mean('requestRate') ?? 0,
    unit: tokens === null ? 'req/s' : 'tok/s',
    keptShare: judged.length === 0 ? 0 : kept / judged.length,
  };
}

const pointText = ({ axis, value }: SweepPoint): string =>
  axis === 'rate' ? `${plain(value)} requests per second` : `${plain(value)} clients`;

/** The last point before the first that misses: one that recovers later was luck. */
function sloKnee(target: string, steps: readonly Step[]): Knee {
  const missed = steps.findIndex(({ keptShare }) => keptShare < SLO_SHARE_MIN);
  const least = `${100 * SLO_SHARE_MIN} % of requests`;
  if (missed === -1) {
    const { point } = defined(steps.at(-1), 'a step of the sweep');
    const reason = `keeps the objective for ${least} up to the last point, ${pointText(point)}`;
    return { target, point, reason: `${reason}: its limit lies beyond` };
  }
  const breaking = defined(steps[missed], 'the step that misses');
  const share = `${plain(100 * breaking.keptShare)} %`;
  const at = `at ${pointText(breaking.point)} only ${share} of requests keep it`;
  const last = steps[missed - 1];
  if (last === undefined) {
    return { target, point: null, reason: `keeps the objective at no point: ${at}` };
  }
  const reason = `keeps the objective up to ${pointText(last.point)}; ${at}`;
  return { target, point: last.point, reason };
}

function throughputKnee(target: string, steps: readonly Step[]): Knee {
  const best = Math.max(...steps.map(({ rate }) => rate));
  if (best === 0) return { target, point: null, reason: 'answers nothing at any point' };
  const { point, rate, unit } = defined(
    steps.find((step) => step.rate * (1 + GROWTH_MIN) >= best),
    'a step with the best rate',
  );
  if (point === steps.at(-1)?.point) {
    const reason = `throughput still grows at the last point, ${pointText(point)}`;
    return { target, point: null, reason: `${reason}: its limit lies beyond` };
  }
  const reached = `${plain(rate)} ${unit} at ${pointText(point)}`;
  const reason = `throughput stops growing at ${reached}: no later point adds 5 %`;
  return { target, point, reason };
}
