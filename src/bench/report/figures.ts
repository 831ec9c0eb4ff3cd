/**
 * The figures of a report, as data for src/plot: distributions, throughput against latency, and
 * what happened when. They thin out what is too much to draw, never what is summed.
 */
import type { Plot, Series } from '../../plot/svg-plot.ts';
import type { Report, Run, SweepPoint } from '../result.ts';
import { pooledValues, type RequestMetric, ttftMs } from '../stats/run-values.ts';
import { findEstimate, keyOf, pointsOf, runsAt } from '../stats/summary.ts';

export interface Figure {
  readonly title: string;
  /** What is drawn, and from how much. */
  readonly note: string;
  readonly plot: Plot;
}

/** Points of a line: more do not show. */
const POINTS_MAX = 160;
/** Dots of a cloud, for each target. */
const DOTS_MAX = 400;
/** A logarithmic axis has no 0; nothing is measured finer. */
const LEAST_MS = 0.001;

interface At {
  readonly report: Report;
  readonly point: SweepPoint | null;
}

interface Distribution {
  readonly metric: RequestMetric;
  readonly title: string;
  readonly axis: string;
}

const DISTRIBUTIONS: readonly Distribution[] = [
  { metric: 'ttft', title: 'Time to first token', axis: 'time to first token, ms' },
  { metric: 'itl', title: 'Inter-token latency', axis: 'time between tokens, ms' },
  { metric: 'gap', title: 'Worst gap of each request', axis: 'longest wait within a request, ms' },
  { metric: 'e2e', title: 'End to end', axis: 'whole request, ms' },
];

/** The point whose requests are shown one by one: the last that all targets have. */
export function shownPoint({ runs, targets }: Report): SweepPoint | null {
  const points = pointsOf(runs.filter(({ valid }) => valid));
  const common = points.findLast((point) =>
    targets.every(({ name }) => runsAt(runs, name, point).some(({ valid }) => valid)),
  );
  return common ?? points.at(-1) ?? null;
}

/** Share of requests (or gaps) that took at most so long, for each target. */
export function distributionFigures({ report, point }: At): Figure[] {
  return DISTRIBUTIONS.flatMap(({ metric, title, axis }): Figure[] => {
    let count = 0;
    const series = report.targets.flatMap(({ name }, colour): Series[] => {
      const runs = validAt({ report, point }, name);
      const sorted = Float64Array.from(pooledValues(runs, metric)).sort();
      count += sorted.length;
      if (sorted.length < 2) return [];
      return [{ name, colour, line: true, points: cumulative(sorted) }];
    });
    if (series.length === 0) return [];
    const what = metric === 'itl' ? 'gaps' : 'requests';
    const note = `share of ${what} that took at most so long; ${count} ${what} of all repetitions`;
    const axes = { x: { label: axis, log: true }, y: { label: `% of ${what}`, log: false } };
    return [{ title, note, plot: { title, ...axes, series } }];
  });
}

const validAt = ({ report, point }: At, target: string): Run[] =>
  runsAt(report.runs, target, point).filter(({ valid }) => valid);

/** Denser towards the end, where the tail is. */
function cumulative(sorted: Float64Array): (readonly [number, number])[] {
  const last = sorted.length - 1;
  const steps = Math.min(POINTS_MAX, last);
  const seen = new Set<number>();
  for (let i = 0; i <= steps; i++) {
    const share = i / steps;
    seen.add(Math.round(last * (1 - (1 - share) ** 1.6)));
  }
  return [...seen].map((index) => [
    Math.max(LEAST_MS, sorted[index] ?? 0),
    (100 * (index + 1)) / sorted.length,
  ]);
}

/** Of a sweep: what more load gives, and what it costs. */
export function sweepFigures({ summaries, targets, setup }: Report): Figure[] {
  const streams = !['embed', 'rerank'].includes(setup.scenario.name);
  const rate = streams ? 'outputRate' : 'requestRate';
  const latency = streams ? 'ttft' : 'e2e';
  const unit = streams ? 'output tokens per second' : 'requests per second';
  const name = streams ? 'time to first token' : 'end to end';
  const axis = summaries.find(({ point }) => point !== null)?.point?.axis;
  if (axis === undefined) return [];
  const rows = (read: 'latency' | 'rate'): Series[] =>
    targets.flatMap((target, colour): Series[] => {
      const points = summaries
        .filter((summary) => summary.target === target.name && summary.point !== null)
        .flatMap((summary): [number, number][] => {
          const x = findEstimate(summary, rate, 'value')?.value ?? null;
          const y = findEstimate(summary, latency, 'p95')?.value ?? null;
          const load = summary.point?.value ?? 0;
          if (x === null || (read === 'latency' && y === null)) return [];
          return [read === 'latency' ? [x, Math.max(LEAST_MS, y ?? 0)] : [load, x]];
        });
      if (points.length === 0) return [];
      const base = { name: target.name, colour, points };
      return [
        { ...base, line: true },
        { ...base, line: false },
      ];
    });
  const load = axis === 'rate' ? 'requests per second offered' : 'clients at once';
  const figure = (title: string, note: string, plot: Omit<Plot, 'title'>): Figure[] =>
    plot.series.length === 0 ? [] : [{ title, note, plot: { title, ...plot } }];
  return [
    ...figure('Throughput against latency', `each dot is one point of the sweep (${load})`, {
      x: { label: unit, log: false },
      y: { label: `${name}, p95, ms`, log: true },
      series: rows('latency'),
    }),
    ...figure('Throughput against load', 'where the line is flat, more load gives no more', {
      x: { label: load, log: false },
      y: { label: unit, log: false },
      series: rows('rate'),
    }),
  ];
}

/** Of the first valid repetition of each target: the same requests at the same moments. */
export function timelineFigures({ report, point }: At): Figure[] {
  const firsts = report.targets.flatMap(({ name }, colour) => {
    const [run] = validAt({ report, point }, name);
    return run === undefined ? [] : [{ name, colour, run }];
  });
  const lines = (read: (run: Run) => [number, number][]): Series[] =>
    firsts.flatMap(({ name, colour, run }) => {
      const points = thin(read(run), POINTS_MAX);
      return points.length < 2 ? [] : [{ name, colour, line: true, points }];
    });
  const dots = (read: (run: Run) => [number, number][]): Series[] =>
    firsts.flatMap(({ name, colour, run }) => {
      const points = thin(read(run), DOTS_MAX);
      return points.length === 0 ? [] : [{ name, colour, line: false, points }];
    });
  const seconds = { label: 'seconds since the start', log: false };
  const figure = (title: string, note: string, y: string, series: Series[]): Figure[] =>
    series.length === 0
      ? []
      : [{ title, note, plot: { title, x: seconds, y: { label: y, log: false }, series } }];
  return [
    ...figure(
      'Waiting',
      'each dot is a request, at the moment it was meant to be sent',
      'time to first token, ms',
      dots(waits),
    ),
    ...figure('Stalls', 'each dot is a request, at its end', 'its longest gap, ms', dots(stalls)),
    ...figure(
      'Tokens',
      'output tokens that arrived in each interval',
      'tokens per second',
      lines(tokenRates),
    ),
    ...figure(
      'In flight',
      'requests that were sent and not yet answered to the end',
      'requests',
      lines(({ timeline }) => timeline.map((at) => [at.atMs / 1e3, at.inFlight])),
    ),
    ...(report.summaries.some(({ errors }) => Object.keys(errors).length > 0)
      ? figure(
          'Errors',
          'failed requests since the start',
          'requests',
          lines(({ timeline }) => timeline.map((at) => [at.atMs / 1e3, at.errors])),
        )
      : []),
  ];
}

const waits = ({ records }: Run): [number, number][] =>
  records.flatMap((record): [number, number][] => {
    const ttft = record.outcome === 'ok' ? ttftMs(record) : null;
    return ttft === null ? [] : [[record.intendedMs / 1e3, ttft]];
  });

const stalls = ({ records }: Run): [number, number][] =>
  records.flatMap(({ outcome, gapMaxMs, endMs }): [number, number][] =>
    gapMaxMs === null || outcome !== 'ok' ? [] : [[endMs / 1e3, gapMaxMs]],
  );

function tokenRates({ timeline }: Run): [number, number][] {
  return timeline.slice(1).flatMap((sample, i): [number, number][] => {
    const before = timeline[i];
    const spanMs = before === undefined ? 0 : sample.atMs - before.atMs;
    if (before === undefined || !(spanMs > 0)) return [];
    return [[sample.atMs / 1e3, (1e3 * (sample.outputTokens - before.outputTokens)) / spanMs]];
  });
}

/** Every n-th, and the last. */
function thin<T>(points: readonly T[], most: number): T[] {
  const step = Math.ceil(points.length / most);
  return points.filter((_, i) => i % step === 0 || i === points.length - 1);
}

export const pointTitle = (point: SweepPoint | null): string =>
  point === null
    ? ''
    : point.axis === 'rate'
      ? `${point.value} requests per second`
      : `${point.value} ${point.value === 1 ? 'client' : 'clients'}`;

export const samePoint = (a: SweepPoint | null, b: SweepPoint | null): boolean =>
  keyOf(a) === keyOf(b);
