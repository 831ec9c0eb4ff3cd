/** The money part of a plan: what the flags give over the catalogue's prices and powers. */
import type { CataloguePrice } from '../../model/catalogue-types.ts';
import type { MoneyAsk } from '../../planner/money-offers.ts';
import { ownershipOf, type Plan } from '../../planner/plan.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import type { Asked } from './plan-asked.ts';
import type { Wanted } from './wanted.ts';

export function moneyAsk(of: {
  readonly setup: MachineSetup;
  readonly plan: Plan;
  readonly wanted: Wanted | undefined;
  readonly asked: Asked;
  readonly prices: readonly CataloguePrice[];
}): MoneyAsk {
  const { setup, plan, wanted, asked, prices } = of;
  const { ownership, rentUsdPerHour, rentHours, hosted } = asked.money;
  const { decodeTps, prefillTps, perUserTps } = plan.speed;
  const { promptTokens, outputTokens } = asked.traffic;
  return {
    setup,
    modelId: wanted?.named.entry?.model.id ?? null,
    prices,
    ownership: ownershipOf(setup, ownership),
    given: new Set(Object.keys(ownership)),
    rentUsdPerHour,
    rentHours,
    hosted,
    speed: { decodeTps, prefillTps, perUserTps },
    // Cold prompts: what a cache saves, here or there, is not counted.
    mix: { promptTokens, outputTokens },
    utilisation: asked.utilisation,
  };
}
