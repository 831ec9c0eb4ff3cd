/** What to do instead, where models do not fit a machine or miss what is wished of them. */
import type { Catalogue } from '../../model/catalogue-types.ts';
import { adviseInstead, meets, pricedSetup, type Wish } from '../../planner/advise.ts';
import { type Plan, type PlanAsk, planModels } from '../../planner/plan.ts';
import { fitOf, setupDevice } from '../../planner/setup.ts';
import type { LoadAnswer } from '../../simulate/under-load.ts';
import { figure } from './columns.ts';
import type { Asked } from './plan-asked.ts';
import { smallerWishes, type Wanted } from './wanted.ts';

export interface InsteadRow {
  readonly kind: string;
  readonly change: string;
  /** Null where the change was weighed in bytes only. */
  readonly perUserTps: number | null;
}

export interface InsteadAsk {
  readonly planAsk: PlanAsk;
  readonly wanted: readonly Wanted[];
  readonly asked: Asked;
  readonly catalogue: Catalogue;
  readonly plan: Plan;
  readonly load: LoadAnswer | null;
}

export type Wished = Pick<Wish, 'tpsPerUser' | 'ttftMs' | 'itlMs'>;

/** What was asked for, of one request beside as many as are asked for. */
export function wishedOf({ targetTps, load }: Asked): Wished {
  const { ttftMs = null, itlMs = null } = load?.target ?? {};
  return { tpsPerUser: targetTps, ttftMs, itlMs };
}

/** None when the wish is met. */
export function insteadOf(ask: InsteadAsk): readonly InsteadRow[] {
  const { plan, asked, wanted } = ask;
  const wished = wishedOf(asked);
  if (meets(wished, plan)) return fewerRequests(ask);
  const [first, ...others] = wanted;
  const advice = first === undefined ? null : adviceFor(ask, first, wished);
  if (advice !== null && others.length === 0) return advice;
  return [...(advice ?? []), ...smaller(ask, advice ?? []), ...(advice ? [] : machines(ask))];
}

/** It would do, but not for so many. */
function fewerRequests({ load, asked, plan }: InsteadAsk): InsteadRow[] {
  const target = asked.load?.target ?? null;
  const goodput = load?.result.goodput ?? null;
  const most = load?.highest?.ratePerSecond ?? null;
  if (target === null || goodput === null || goodput.share >= target.share) return [];
  if (most === null) return [];
  const change = `at most ${figure(most)} requests per second`;
  return [{ kind: 'rate', change, perUserTps: plan.speed.perUserTps }];
}

/** Null where the first model is none of the catalogue: nothing can be put in its place. */
function adviceFor(ask: InsteadAsk, first: Wanted, wished: Wished): InsteadRow[] | null {
  const { entry } = first.named;
  if (entry === null) return null;
  const { catalogue, planAsk } = ask;
  const { model, quant } = entry;
  const { contextTokens } = first;
  const beside = planAsk.models.slice(1);
  const wish: Wish = { ...wished, catalogue, model, quant, ask: planAsk, contextTokens, beside };
  return adviseInstead(wish).map(({ kind, change, plan }) => {
    return { kind, change, perUserTps: plan.speed.perUserTps };
  });
}

/** What else would make a mix fit: fewer sequences, a smaller cache, one model less. */
function smaller(ask: InsteadAsk, advice: readonly InsteadRow[]): InsteadRow[] {
  const { plan, planAsk, wanted, asked } = ask;
  if (plan.fits) return [];
  const { setup } = planAsk;
  const device = setupDevice(setup);
  const there = wanted.map((one) => ({ ...one, device }));
  const changes = smallerWishes(there, (needs) => fitOf(setup, needs).fits, asked.longestTokens);
  const hasContext = advice.some(({ kind }) => kind === 'context');
  const first = wanted[0]?.named.entry?.model.id;
  return changes
    .filter((change) => !(hasContext && change.startsWith('a context of')))
    .filter((change) => advice.length === 0 || !change.startsWith(`${first} as `))
    .map((change) => ({ kind: 'smaller', change, perUserTps: null }));
}

const MACHINES_SHOWN = 3;

/** The cheapest of the catalogue, with a known price, on which the mix meets the wish. */
function machines({ planAsk, asked, catalogue }: InsteadAsk): InsteadRow[] {
  const priced = catalogue.machines
    .filter(({ priceUsd, memory, bandwidth, id }) => {
      const isOther = id !== planAsk.setup.machine.id;
      return isOther && priceUsd !== null && bandwidth !== null && memory.length > 0;
    })
    .sort((a, b) => (a.priceUsd?.value ?? 0) - (b.priceUsd?.value ?? 0));
  const found: InsteadRow[] = [];
  for (const machine of priced) {
    if (found.length === MACHINES_SHOWN) break;
    const plan = planModels({ ...planAsk, setup: pricedSetup(machine) });
    if (!meets(wishedOf(asked), plan)) continue;
    const price = `$${machine.priceUsd?.value} for ${machine.priceUsd?.note}`;
    const change = `${machine.name} (${price})`;
    found.push({ kind: 'machine', change, perUserTps: plan.speed.perUserTps });
  }
  return found;
}
