/**
 * What was measured of a local target against the planner's prediction for its model and machine,
 * and against the physical limit. Pure; what is not known stays null, and `basis` says why.
 */
import type { ModelGeometry } from '../../model/geometry.ts';
import { planModel } from '../../planner/plan.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import type { SpeedTable } from '../../planner/speed-params.ts';
import type { Prediction, Report, RequestRecord, Run, Summary, TokenRate } from '../result.ts';
import { isStreamed, tpotMs, ttftMs } from '../stats/run-values.ts';
import { plain } from '../stats/sentence.ts';
import { runsAt } from '../stats/summary.ts';

export interface PredictAsk {
  readonly geometry: ModelGeometry;
  /** Null when nobody knows the machine: then nothing is predicted. */
  readonly setup: MachineSetup | null;
  readonly table: SpeedTable;
}

/** One for each summary of a target that streams. */
export function predictionsOf(
  { runs, summaries }: Pick<Report, 'runs' | 'summaries'>,
  ask: PredictAsk,
): Prediction[] {
  return summaries.flatMap((summary) => {
    const own = runsAt(runs, summary.target, summary.point).filter(({ valid }) => valid);
    const prediction = predictionOf(summary, own, ask);
    return prediction === null ? [] : [prediction];
  });
}

interface Traffic {
  readonly users: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
}

function predictionOf(
  { target, point }: Summary,
  runs: readonly Run[],
  { geometry, setup, table }: PredictAsk,
): Prediction | null {
  const good = runs.flatMap(({ records }) =>
    records.filter((record) => record.outcome === 'ok' && isStreamed(record)),
  );
  const traffic = trafficOf(good, runs);
  if (traffic === null) return null;
  const { users } = traffic;
  const measured = {
    decode: decodeTps(good, users),
    // With several at once a first token waits for the others' work, and is no measure of it.
    prefill: users === 1 ? prefillTps(good) : null,
  };
  const at = { target, point, users };
  if (setup === null) {
    const basis = 'the machine is not in the catalogue and has no profile (plenum measure)';
    const unknown = { predicted: null, errorPct: null, limit: null };
    const decode = { measured: measured.decode, ...unknown };
    return { ...at, decode, prefill: { measured: measured.prefill, ...unknown }, basis };
  }
  const { speed } = planModel({ model: { geometry }, setup, table, traffic, utilisation: 1 });
  const { errorPct } = speed;
  const decode: TokenRate = {
    measured: measured.decode,
    predicted: speed.decodeTps,
    errorPct: errorPct.decode,
    limit: speed.limitTps,
  };
  const prefill: TokenRate = {
    measured: measured.prefill,
    predicted: speed.prefillTps,
    errorPct: speed.prefillTps === null ? null : errorPct.prefill,
    limit: null,
  };
  const { promptTokens, outputTokens } = traffic;
  const basis = [
    `${geometry.description} on ${setup.machine.name}`,
    `${users} at once, ${promptTokens} + ${outputTokens} tokens`,
    `bound by ${speed.binding}`,
  ].join('; ');
  return { ...at, decode, prefill, basis };
}

/** Means over the good requests; null where tokens were not counted. */
function trafficOf(good: readonly RequestRecord[], runs: readonly Run[]): Traffic | null {
  const prompt = meanOf(good.map(({ promptTokens }) => promptTokens));
  const output = meanOf(good.map(({ outputTokens }) => outputTokens));
  if (prompt === null || output === null) return null;
  // Little's law: time that requests took, over time that passed.
  const busyMs = good.reduce((sum, { endMs, sentMs }) => sum + endMs - sentMs, 0);
  const wallMs = runs.reduce((sum, run) => sum + run.wallMs, 0);
  const cached = meanOf(good.map(({ cachedTokens }) => cachedTokens)) ?? 0;
  return {
    users: Math.max(1, Math.round(busyMs / Math.max(1, wallMs))),
    promptTokens: Math.max(1, Math.round(prompt)),
    outputTokens: Math.max(1, Math.round(output)),
    cachedTokens: Math.round(Math.min(cached, prompt)),
  };
}

function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

/** Of all streams together: so many at the median time per token. */
function decodeTps(good: readonly RequestRecord[], users: number): number | null {
  const tpot = median(good.map(tpotMs));
  return tpot === null || tpot === 0 ? null : (1e3 * users) / tpot;
}

/** Tokens that had to be computed, over the time until the first token. */
function prefillTps(good: readonly RequestRecord[]): number | null {
  const rates = good.map((record) => {
    const ttft = ttftMs(record);
    if (ttft === null || !(ttft > 0) || record.promptTokens === null) return null;
    return (1e3 * (record.promptTokens - (record.cachedTokens ?? 0))) / ttft;
  });
  return median(rates);
}

function median(values: readonly (number | null)[]): number | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
}

/** `decode 310 tok/s, predicted 330 ± 12 %, 61 % of the physical limit`. */
export function predictionText({ target, decode }: Prediction): string {
  const { measured, predicted, errorPct, limit } = decode;
  const rate = (tps: number | null): string => (tps === null ? 'unknown' : `${plain(tps)} tok/s`);
  const error = errorPct === null ? '' : ` ± ${plain(errorPct)} %`;
  const share =
    measured === null || limit === null
      ? ''
      : `, ${plain((100 * measured) / limit)} % of the limit`;
  return `${target}: decodes ${rate(measured)}, predicted ${rate(predicted)}${error}${share}`;
}
