/**
 * Energy per token and dollars per million of what was measured: joules of a meter where there is
 * one, otherwise the planner's figures of power for the machine, said to be modelled. Pure; a
 * figure that nobody has stays null.
 */
import type { Ownership } from '../../planner/money.ts';
import { ownedCost } from '../../planner/money.ts';
import type { Cost, Energy, Report, Run, Summary } from '../result.ts';
import { findEstimate, runsAt } from '../stats/summary.ts';

/** Power of the machine by its catalogue entry; null where it has none. */
export interface PowerFigures {
  readonly machine: string;
  readonly idleWatts: number | null;
  readonly loadWatts: number | null;
  /** What computes is its processor, whose time was measured; of a GPU nothing was. */
  readonly isProcessor: boolean;
}

/**
 * Between idle and load: by the share of processors that worked, or of a GPU by the share of the
 * time in which requests were on their way. Null without both figures or the processor time.
 */
export function modelledEnergy(
  run: Pick<Run, 'wallMs' | 'resources' | 'records'>,
  { power, cores }: { readonly power: PowerFigures; readonly cores: number },
): Energy | null {
  const { idleWatts, loadWatts, machine, isProcessor } = power;
  if (idleWatts === null || loadWatts === null || !(run.wallMs > 0) || cores < 1) return null;
  const cpuMs = run.resources?.cpuMs ?? null;
  if (isProcessor && cpuMs === null) return null;
  const busyMs = isProcessor ? (cpuMs ?? 0) / cores : inFlightMs(run.records);
  const wattsMean = idleWatts + (loadWatts - idleWatts) * Math.min(1, busyMs / run.wallMs);
  const how = isProcessor ? 'by processor use' : 'load while requests were in flight';
  return {
    joules: (wattsMean * run.wallMs) / 1e3,
    wattsMean,
    source: 'modelled',
    meter: `idle ${idleWatts} W to load ${loadWatts} W of ${machine}, ${how}`,
  };
}

/** How long at least one request was on its way. */
function inFlightMs(records: Run['records']): number {
  let [sum, until] = [0, 0];
  for (const { sentMs, endMs } of records.toSorted((a, b) => a.sentMs - b.sentMs)) {
    sum += Math.max(0, endMs - Math.max(sentMs, until));
    until = Math.max(until, endMs);
  }
  return sum;
}

/** One for each summary; `owned` says what the machine costs, its watts are replaced. */
export function costsOf(
  { runs, summaries }: Pick<Report, 'runs' | 'summaries'>,
  owned: Ownership,
): Cost[] {
  return summaries.map((summary) => {
    const own = runsAt(runs, summary.target, summary.point).filter(({ valid }) => valid);
    return costOf(summary, own, owned);
  });
}

function costOf(summary: Summary, runs: readonly Run[], owned: Ownership): Cost {
  const { target, point } = summary;
  const energies = runs.map(({ energy }) => energy).filter((energy) => energy !== null);
  const [first] = energies;
  const isWhole = first !== undefined && energies.length === runs.length;
  const rate = findEstimate(summary, 'outputRate', 'value')?.value ?? null;
  const tokens = sum(
    runs.map(({ records }) =>
      sum(records.map(({ outcome, outputTokens }) => (outcome === 'ok' ? (outputTokens ?? 0) : 0))),
    ),
  );
  const joules = sum(energies.map((energy) => energy.joules));
  const seconds = sum(runs.map(({ wallMs }) => wallMs)) / 1e3;
  const joulesPerToken = isWhole && tokens > 0 ? joules / tokens : null;
  const wattsMean = isWhole && seconds > 0 ? joules / seconds : null;
  const base = { target, point, joulesPerToken, wattsMean };
  const meter = isWhole ? first.meter : null;
  const source = isWhole ? first.source : null;
  if (rate === null || !(rate > 0)) {
    const basis = 'no output tokens were counted';
    return { ...base, source, meter, usdPerMtok: null, energyUsdPerMtok: null, basis };
  }
  const speed = { decodeTps: rate, prefillTps: null };
  const money = ownedCost({ ...owned, loadWatts: wattsMean }, speed, 1);
  const energyUsd = wattsMean === null ? null : (wattsMean / 1e3) * owned.pue * owned.usdPerKwh;
  return {
    ...base,
    source,
    meter,
    usdPerMtok: money.usdPerMtokOut,
    energyUsdPerMtok: energyUsd === null ? null : (energyUsd * 1e6) / (3600 * rate),
    basis: basisOf(owned, money.unknown),
  };
}

function basisOf(owned: Ownership, unknown: readonly string[]): string {
  const price = owned.priceUsd === null ? 'price unknown' : `$${owned.priceUsd}`;
  const share = `${100 * owned.residualShare} % left after ${owned.years} years`;
  const missing = unknown.filter((name) => !name.includes('idle'));
  const lacks = missing.length === 0 ? '' : `; not known: ${missing.join(', ')}`;
  return `${price}, ${share}, $${owned.usdPerKwh} per kWh, always busy${lacks}`;
}

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);
