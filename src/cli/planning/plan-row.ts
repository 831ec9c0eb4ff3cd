/** The answer for one machine, as the report, the JSON and the page are made from it. */
import type { MoneyAnswer, MoneyAsk } from '../../planner/money-offers.ts';
import type { Plan, PlannedSpeculation } from '../../planner/plan.ts';
import type { MachineSetup } from '../../planner/setup.ts';
import type { LoadAnswer, LoadAsk } from '../../simulate/under-load.ts';
import type { InsteadRow } from './plan-instead.ts';

export interface PlanRow {
  readonly setup: MachineSetup;
  readonly plan: Plan;
  /** The first model gives vectors: it reads, and decodes nothing. */
  readonly isEncoder: boolean;
  /** Null when it was not simulated. */
  readonly load: LoadAnswer | null;
  readonly loadAsk: LoadAsk | null;
  /** Why not, although it was asked for. */
  readonly loadMissing: string | null;
  readonly money: MoneyAnswer;
  readonly moneyAsk: MoneyAsk;
  /** Whether it fits, and is as fast as was asked for. */
  readonly isMet: boolean;
  readonly speculation: PlannedSpeculation | null;
  readonly verdict: string;
  readonly instead: readonly InsteadRow[];
}
