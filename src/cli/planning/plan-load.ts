/** The part of a plan that is simulated: whether it can be, and with what. */
import type { Plan } from '../../planner/plan.ts';
import { servedModel } from '../../simulate/served.ts';
import type { LoadAsk } from '../../simulate/under-load.ts';
import type { Asked } from './plan-asked.ts';
import type { Wanted } from './wanted.ts';

export interface Simulated {
  readonly ask: LoadAsk | null;
  /** Why nothing is simulated although it was asked for; null otherwise. */
  readonly missing: string | null;
}

/** A model that does not fit, or of which the machine's compute rate is unknown, is not. */
export function loadAsk(of: {
  readonly plan: Plan;
  readonly wanted: Wanted | undefined;
  readonly asked: Asked;
}): Simulated {
  const { plan, wanted, asked } = of;
  const { load, traffic } = asked;
  const [first] = plan.models;
  const isEncoder = wanted?.named.geometry.isEncoder ?? false;
  if (load === null || wanted === undefined || first === undefined || isEncoder) {
    return { ask: null, missing: null };
  }
  if (!plan.fits) return { ask: null, missing: 'it does not fit' };
  if (plan.isOffloaded) {
    return { ask: null, missing: 'steps of layers in system memory are not simulated' };
  }
  if (plan.speed.prefillTps === null) {
    return { ask: null, missing: 'no compute rate of this machine is known' };
  }
  const { users, promptTokens, outputTokens, cachedTokens } = traffic;
  const served = servedModel({
    steps: first.steps,
    contextTokens: wanted.contextTokens,
    parallel: users,
    sharesPrefixes: wanted.named.geometry.recurrence === 'none',
  });
  const { trace, ratePerSecond, spread, seed, target } = load;
  const mean = { promptTokens, outputTokens, cachedTokens };
  const simulated = { mean, spread, trace, ratePerSecond, users, seed };
  return { ask: { served, traffic: simulated, target }, missing: null };
}
