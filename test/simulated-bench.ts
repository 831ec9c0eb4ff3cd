/**
 * For tests of the bench's verdicts: reports as a bench would write them of two targets that are
 * the real scheduler on the `sim` engine in virtual time, on a machine whose noise is known. Both
 * get the same seeded requests, repetition by repetition. Nothing is sent and nothing waits.
 *
 * It stands for a server and its engine only: a bench's own client adds no noise here.
 */
import { Prng } from '../src/base/prng.ts';
import type { Report, RequestRecord, Run, Slo } from '../src/bench/result.ts';
import {
  FIXTURE_RECORD,
  FIXTURE_RUN,
  FIXTURE_SETUP,
  fixtureTarget,
} from '../src/bench/stats/fixture-noise.ts';
import type { StepShape } from '../src/scheduler/plan.ts';
import { type Served, type Run as Simulated, simulate } from '../src/simulate/simulation.ts';
import { DrawnRequests } from '../src/simulate/workload.ts';

export interface SimulatedMachine {
  /** Standard deviation of a whole run's speed, as a share: 0.02. */
  readonly betweenRuns: number;
  /** Of the time of each step, beside that. */
  readonly betweenSteps: number;
}

export interface SimulatedTarget {
  readonly name: 'a' | 'b';
  /** How much longer each of its steps truly takes: 1.05 is 5 %. */
  readonly factor: number;
  readonly machine: SimulatedMachine;
  /** Of the whole bench. */
  readonly seed: number;
}

const LIMITS = {
  ...{ contextTokens: 512, parallel: 4, cells: 2048, seqsMax: 20, stepTokensMax: 512 },
  ...{ queueMax: 64, waitMsMax: Number.POSITIVE_INFINITY, stepTargetMs: null, prefixCache: true },
};
/** About what a small model takes on one core. */
const STEP = { fixedMs: 20, perTokenMs: 4, perAttendedMs: 0.004 };
const trueStepMs = ({ tokens, attended }: StepShape): number =>
  STEP.fixedMs + STEP.perTokenMs * tokens + STEP.perAttendedMs * attended;

const CLIENTS = 4;
const REQUESTS = 24;
const LENGTHS = {
  ...{ promptTokens: 80, outputTokens: 12, spread: 0.3, sharedTokens: 32, contextTokens: 512 },
};

export const SIMULATED_SLO: Slo = { ttft: 1000, gap: 500 };

/** Repetitions 1 to `repetitions` of one target. */
export function simulatedRuns(target: SimulatedTarget, repetitions: number): Run[] {
  return Array.from({ length: repetitions }, (_, i) => simulatedRun(target, i + 1));
}

/** As the bench would have made it with the repetitions that both have. */
export function simulatedReport(runs: readonly Run[]): Pick<Report, 'runs' | 'setup' | 'targets'> {
  const setup = { ...FIXTURE_SETUP, slo: SIMULATED_SLO };
  return { runs: [...runs], setup, targets: [fixtureTarget('a'), fixtureTarget('b')] };
}

function simulatedRun({ name, factor, machine, seed }: SimulatedTarget, repetition: number): Run {
  const requestSeed = seed * 1009 + repetition;
  const prng = new Prng(requestSeed * 2 + (name === 'a' ? 0 : 1));
  const speed = factor * Math.exp(machine.betweenRuns * prng.normal());
  const served: Served = {
    limits: LIMITS,
    stepMs: (shape) => trueStepMs(shape) * speed * Math.exp(machine.betweenSteps * prng.normal()),
    guess: STEP,
  };
  const tokensAt: number[][] = [];
  const run = simulate({
    served,
    process: { kind: 'closed', users: CLIENTS },
    requests: new DrawnRequests({ ...LENGTHS, seed: requestSeed }),
    ...{ count: REQUESTS, warmUp: 0, seed: requestSeed },
    onToken: (record, at) => {
      tokensAt[record] ??= [];
      tokensAt[record].push(at);
    },
  });
  const isFirst = (repetition % 2 === 1) === (name === 'a');
  return {
    ...FIXTURE_RUN,
    ...{ target: name, repetition, order: 2 * (repetition - 1) + (isFirst ? 0 : 1) },
    wallMs: run.endedMs,
    records: run.records.map((record, index) => asMeasured(record, index, tokensAt[index] ?? [])),
  };
}

/** What a client that adds no delay would have recorded. */
function asMeasured(
  record: Simulated['records'][number],
  index: number,
  tokensAt: readonly number[],
): RequestRecord {
  const { arrivedAt, startedAt, firstTokenAt, endedAt, outcome, shape } = record;
  const gapsMs = tokensAt.slice(1).map((at, i) => at - (tokensAt[i] ?? at));
  const isGood = outcome?.kind === 'finished';
  return {
    ...FIXTURE_RECORD,
    index,
    ...{ intendedMs: arrivedAt, sentMs: arrivedAt, headersMs: startedAt },
    ...{ firstTokenMs: firstTokenAt, endMs: endedAt ?? arrivedAt },
    ...{ promptTokens: shape.promptTokens, cachedTokens: record.cachedTokens },
    ...{ outputTokens: record.generated, chunks: tokensAt.length },
    ...{ gapsMs, gapMaxMs: gapsMs.length === 0 ? null : Math.max(...gapsMs) },
    outcome: isGood ? 'ok' : 'error',
    error: isGood ? null : { kind: 'http_error', message: outcome?.kind ?? '', status: null },
  };
}
