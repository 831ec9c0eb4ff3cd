/**
 * From models to the profile of this machine: models take turns, so that what changes in the
 * machine meanwhile touches all of them alike; middle means over all turns are fitted. What
 * measures is handed in.
 */
import { defined } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import type { ModelCost } from '../../planner/model-cost.ts';
import { fitProfile, type MeasuredStep, type ProfileFit } from '../../planner/profile-fit.ts';
import type { StepShape } from '../../planner/step-cost.ts';
import {
  type MachineIdentity,
  type MachineProfile,
  PROFILE_SCHEMA,
  type ProfileStep,
} from '../../wire/profile.ts';
import type { BandwidthFound } from './bandwidth.ts';
import { isCpu, type StepPoint } from './messages.ts';
import { middleMean, spreadPct, stepMs } from './samples.ts';
import type { StepMeter } from './session.ts';

export interface MeasuredModel {
  readonly name: string;
  readonly cost: ModelCost;
  readonly points: readonly StepPoint[];
  readonly meter: StepMeter;
}

export interface Effort {
  readonly rounds: number;
  readonly repeats: number;
}

export interface Turn {
  readonly round: number;
  readonly model: string;
}

/** All times of a point, and the point. */
export interface Series {
  readonly model: string;
  readonly cost: ModelCost;
  readonly point: StepPoint;
  readonly ms: readonly number[];
}

/** Every point of every model, `rounds` × `repeats` times. */
export async function measureSteps(
  models: readonly MeasuredModel[],
  { rounds, repeats }: Effort,
  onTurn: (turn: Turn) => void,
): Promise<readonly Series[]> {
  const series = models.flatMap(({ name, cost, points }) =>
    points.map((point) => ({ model: name, cost, point, ms: [] as number[] })),
  );
  for (let round = 0; round < rounds; round++) {
    for (const { name, points, meter } of models) {
      onTurn({ round, model: name });
      const timings = await meter.round(points, repeats);
      const how = timingOf(meter.facts.device);
      const own = series.filter(({ model }) => model === name);
      for (const [i, repeated] of timings.entries()) {
        const { ms } = defined(own[i], 'point of a timing');
        ms.push(...repeated.map((timing) => stepMs(timing, how)));
      }
    }
  }
  return series;
}

const timingOf = (device: string): 'one-thread' | 'clock' =>
  isCpu(device) && device.endsWith(', 1 thread') ? 'one-thread' : 'clock';

export function shapeOf({ sequences, tokensEach, depth, outputs }: StepPoint): StepShape {
  const attendedEach = tokensEach * depth + (tokensEach * (tokensEach + 1)) / 2;
  return {
    tokens: sequences * tokensEach,
    sequences,
    attended: sequences * attendedEach,
    outputs,
  };
}

export interface ProfileParts {
  readonly machine: MachineIdentity;
  readonly threads: number;
  readonly measuredAt: Date;
  readonly bandwidth: BandwidthFound;
  readonly facts: StepMeter['facts'];
  readonly series: readonly Series[];
}

/** Throws `usage` for too few steps, `engine_failed` for times that no clock gives. */
export function profileOf(parts: ProfileParts): MachineProfile {
  const { series, bandwidth, facts, measuredAt } = parts;
  const steps = series.map(({ cost, point, ms, model }): MeasuredStep => {
    const measuredMs = middleMean(ms);
    if (measuredMs > 0) return { cost, shape: shapeOf(point), measuredMs };
    throw new PlenumError('engine_failed', `a step of ${model} took ${measuredMs} ms`);
  });
  const { kernels } = facts;
  const bandwidthBytesPerSecond = bandwidth.bytesPerSecond;
  const compute = isCpu(facts.device) ? 'cpu' : 'gpu';
  const fit = fitProfile(steps, { compute, bandwidthBytesPerSecond, kernels });
  const profileSteps = series.map((one, i) => stepOf(one, fit.predictedMs[i] ?? 0));
  return {
    schema: PROFILE_SCHEMA,
    machine: parts.machine,
    engine: facts.engine,
    device: facts.device,
    compute,
    threads: parts.threads,
    kernels: { library: libraryOf(facts.device), ...kernels },
    measuredAt: measuredAt.toISOString(),
    bandwidth,
    opsPerSecond: fit.opsPerSecond,
    params: storedParams(fit),
    kinds: [...fit.kinds],
    expertKinds: [...fit.expertKinds],
    errorPct: {
      decode: rmsPct(profileSteps.filter(({ tokensEach }) => tokensEach === 1)),
      prefill: rmsPct(profileSteps.filter(({ tokensEach }) => tokensEach > 1)),
    },
    steps: profileSteps,
  };
}

/** `cpu (haswell), 1 thread` → `haswell`. */
const libraryOf = (device: string): string | null => /^cpu \((.+)\)/.exec(device)?.[1] ?? null;

const stepOf = ({ model, point, ms }: Series, predictedMs: number): ProfileStep => ({
  model,
  ...point,
  measuredMs: middleMean(ms),
  spreadPct: spreadPct(ms),
  repetitions: ms.length,
  predictedMs,
});

function storedParams({ params }: ProfileFit): MachineProfile['params'] {
  const { kernelMicros, softness, vectorShare, matrixShare } = params;
  const { cacheShare, attentionShare, rowShare, blockCells = null } = params.attention.flash;
  return {
    readShare: defined(params.readShare, 'reading of a fit'),
    kernelMicros,
    elementNanos: defined(params.elementNanos, 'elements of a fit'),
    softness,
    oneRowKernels: params.oneRowKernels === true,
    vectorShare,
    matrixShare,
    paddingByKind: defined(params.paddingByKind, 'padding of a fit'),
    pagedFactor: params.pagedFactor ?? 1,
    expertShare: params.expertShare ?? null,
    expertPadding: params.expertPadding ?? 0,
    routingMicros: params.routingMicros ?? 0,
    attention: {
      cacheShare,
      attentionShare,
      rowShare: defined(rowShare, 'rows of a fit'),
      blockCells,
    },
  };
}

function rmsPct(steps: readonly ProfileStep[]): number {
  if (steps.length === 0) return 0;
  const squares = steps.map(({ predictedMs, measuredMs }) => (predictedMs / measuredMs - 1) ** 2);
  return 100 * Math.sqrt(squares.reduce((sum, one) => sum + one, 0) / steps.length);
}
