/**
 * The plots of a plan's page: roofline, batch curve, first token against load, cost against use.
 * Each is made from the same functions that the plan itself is made from.
 */
import { cacheBytes } from '../../model/geometry-cache.ts';
import { costCurves } from '../../planner/money-offers.ts';
import { type Placement, placedStep } from '../../planner/placement.ts';
import { roofOf, roofPoint, underRoof } from '../../planner/roofline.ts';
import type { PlannedSteps } from '../../planner/step-guess.ts';
import { type Plot, type Series, svgPlot } from '../../plot/svg-plot.ts';
import { loadCurve } from '../../simulate/under-load.ts';
import type { Asked } from './plan-asked.ts';
import type { PlanRow } from './plan-row.ts';
import { setupName } from './setups.ts';
import type { Wanted } from './wanted.ts';

/** More machines than this make a plot that nobody can read. */
export const MACHINES_PLOTTED = 4;
const BATCHES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
const BATCHES_UNDER_ROOF = [1, 4, 16, 64];
const LOADS = [0.1, 0.3, 0.5, 0.7, 0.85, 1];
const UTILISATIONS = [0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.65, 1];
const PREFILL_TOKENS = 512;

interface Plotted {
  readonly name: string;
  readonly colour: number;
  readonly row: PlanRow;
  readonly steps: PlannedSteps;
}

function plottedOf(rows: readonly PlanRow[]): readonly Plotted[] {
  return rows
    .filter(({ plan }) => plan.fits)
    .slice(0, MACHINES_PLOTTED)
    .flatMap((row, colour): Plotted[] => {
      const steps = row.plan.models[0]?.steps;
      return steps === undefined ? [] : [{ name: setupName(row.setup), colour, row, steps }];
    });
}

/** The plots as SVG; those that nothing is known for are left out. */
export function planPlots(
  rows: readonly PlanRow[],
  asked: Asked,
  first: Wanted | undefined,
): readonly string[] {
  const plotted = plottedOf(rows);
  return [
    roofline(plotted, asked),
    batchCurve(plotted, asked, first),
    firstTokenAgainstLoad(plotted),
    ...plotted.map(costAgainstUse),
  ]
    .map((plot): Plot => {
      return { ...plot, series: plot.series.filter(({ points }) => points.length > 0) };
    })
    .filter(({ series }) => series.length > 0)
    .map(svgPlot);
}

const depthOf = ({ traffic }: Asked): number => traffic.promptTokens + traffic.outputTokens / 2;

const decodeShape = (users: number, depth: number) => {
  return { tokens: users, sequences: users, attended: users * depth, outputs: users };
};

function roofline(plotted: readonly Plotted[], asked: Asked): Plot {
  const depth = depthOf(asked);
  const prefill = {
    tokens: PREFILL_TOKENS,
    sequences: 1,
    attended: (PREFILL_TOKENS * (PREFILL_TOKENS + 1)) / 2,
    outputs: 1,
  };
  const series = plotted.flatMap(({ name, colour, steps: { cost, placement } }): Series[] => {
    const shapes = [...BATCHES_UNDER_ROOF.map((users) => decodeShape(users, depth)), prefill];
    const points = shapes.flatMap((shape): [number, number][] => {
      const point = roofPoint(shape, cost, placement);
      return point === null ? [] : [[point.intensity, point.opsPerSecond / 1e12]];
    });
    const roof = roofSeries(placement);
    return [
      { name, colour, line: true, points: roof },
      { name: 'batch 1, 4, 16, 64; prompt', colour, line: false, points },
    ];
  });
  return {
    title: 'Roofline: what the machine could do, and what is predicted',
    x: { label: 'operations per byte moved', log: true },
    y: { label: 'operations per second, 1e12', log: true },
    series,
  };
}

const INTENSITIES = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

function roofSeries(placement: Placement): [number, number][] {
  const roof = roofOf(placement);
  if (roof === null) return [];
  const ridge = roof.opsPerSecond === null ? [] : [roof.opsPerSecond / roof.bytesPerSecond];
  const at = [...INTENSITIES, ...ridge].sort((a, b) => a - b);
  return at.map((intensity) => [intensity, underRoof(roof, intensity) / 1e12]);
}

function batchCurve(plotted: readonly Plotted[], asked: Asked, first: Wanted | undefined): Plot {
  const depth = depthOf(asked);
  const series = plotted.flatMap(({ name, colour, row, steps }): Series[] => {
    const most = sequencesMost(row, first);
    const tps = (users: number): number =>
      (1e3 * users) / placedStep({ shape: decodeShape(users, depth), ...steps }).totalMs;
    const all = BATCHES.filter((users) => users <= most);
    return [
      { name, colour, line: true, points: all.map((n) => [n, tps(n)]) },
      {
        name: 'one user',
        colour,
        line: true,
        dashed: true,
        points: all.map((n) => [n, tps(n) / n]),
      },
    ];
  });
  return {
    title: 'Decode speed by sequences at a time, as many as fit: all users, and one',
    x: { label: 'sequences at a time', log: true },
    y: { label: 'tokens per second', log: true },
    series,
  };
}

/** As many sequences of the first model's context as there are bytes left for. */
function sequencesMost({ plan }: PlanRow, first: Wanted | undefined): number {
  if (first === undefined) return 1;
  const { perToken, perWindowedToken } = cacheBytes(first.named.geometry, {
    key: first.cacheType,
    value: first.cacheType,
  });
  const each = (perToken + perWindowedToken) * first.contextTokens;
  const left = plan.memory.availableBytes - plan.memory.neededBytes;
  return first.parallel + (each === 0 ? 0 : Math.max(0, Math.floor(left / each)));
}

function firstTokenAgainstLoad(plotted: readonly Plotted[]): Plot {
  const series = plotted.flatMap(({ name, colour, row }): Series[] => {
    const curve = row.loadAsk === null ? [] : loadCurve(row.loadAsk, LOADS);
    const of = (which: 'p50' | 'p95'): [number, number][] =>
      curve.flatMap(({ ratePerSecond, result }): [number, number][] => {
        const value = result.ttftMs?.[which] ?? 0;
        return value > 0 ? [[ratePerSecond, value / 1e3]] : [];
      });
    return [
      { name, colour, line: true, points: of('p50') },
      { name: '95 % of requests', colour, line: true, dashed: true, points: of('p95') },
    ];
  });
  return {
    title: 'Time to first token against load, simulated: the median, and 95 %',
    x: { label: 'requests per second', log: plotted.length > 1 },
    y: { label: 'seconds', log: true },
    series,
  };
}

function costAgainstUse({ name, row }: Plotted): Plot {
  const known = costCurves(row.moneyAsk, UTILISATIONS);
  // A hosted price alone does not change with use.
  const curves = known.some(({ name: offer }) => !offer.startsWith('hosted')) ? known : [];
  return {
    title: `Cost against use: ${name}`,
    x: { label: 'share of the time in which it works, %', log: true },
    y: { label: '$ per million tokens of the mix', log: true },
    series: curves.map(({ name: offer, points }) => ({
      name: offer,
      line: true,
      dashed: offer.startsWith('hosted'),
      points: points
        .filter(({ usdPerMtok }) => usdPerMtok > 0)
        .map(({ utilisation, usdPerMtok }) => [100 * utilisation, usdPerMtok]),
    })),
  };
}
