/**
 * What to do instead when a model does not fit a machine or is too slow on it: fewer bits, a
 * shorter context, speculation, a mixture of experts of its size class, another machine. Each
 * proposal is planned, and only those that meet the wish are made. Pure.
 */
import type { Catalogue, CatalogueMachine, CatalogueModel } from '../model/catalogue-types.ts';
import { geometryOfModel } from './architecture.ts';
import { type Plan, type PlanAsk, type PlanModel, planModels } from './plan.ts';
import type { MachineSetup } from './setup.ts';

export interface Wish {
  readonly catalogue: Catalogue;
  readonly model: CatalogueModel;
  readonly quant: string;
  readonly ask: Omit<PlanAsk, 'models'>;
  readonly contextTokens: number;
  /** Tokens per second that each user should get; null when it only has to fit. */
  readonly tpsPerUser: number | null;
  /** Longest time to first token and between tokens, alone and with all users; null for any. */
  readonly ttftMs?: number | null;
  readonly itlMs?: number | null;
  /** Models that stay resident beside it, as they are. */
  readonly beside?: readonly PlanModel[];
}

export interface Advice {
  readonly kind: 'quantisation' | 'context' | 'speculation' | 'experts' | 'machine';
  /** `Q4_K_M instead of Q8_0`. */
  readonly change: string;
  readonly plan: Plan;
}

/** In falling order of size; below Q3_K_M models lose too much to be proposed. */
const LADDER = ['F16', 'Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_K_S', 'Q3_K_M'];
const CONTEXT_LEAST = 2048;
/** A cautious rate for a small model of the same family; measured ones span 0.6 to 0.9. */
const ACCEPTANCE = 0.7;
export const DRAFT_TOKENS = 4;
/** A mixture of experts is of the class of a dense model with as many parameters, give or take. */
const CLASS = { least: 0.3, most: 2 } as const;
const MACHINES_SHOWN = 3;

/** Proposals that meet the wish, the smallest change of each kind; none when it is met already. */
export function adviseInstead(wish: Wish): readonly Advice[] {
  if (meets(wish, planOf(wish, {}))) return [];
  return [
    ...first(wish, 'quantisation', quantisations(wish)),
    ...first(wish, 'context', contexts(wish)),
    ...first(wish, 'speculation', drafts(wish)),
    ...first(wish, 'experts', mixtures(wish)),
    ...machines(wish),
  ];
}

interface Change {
  readonly text: string;
  readonly with: Partial<Pick<Wish, 'model' | 'quant' | 'contextTokens'>> & {
    readonly draft?: CatalogueModel;
    readonly setup?: PlanAsk['setup'];
  };
}

/** Whether the plan fits, and is as fast as wished for. */
export function meets(
  { tpsPerUser, ttftMs, itlMs }: Pick<Wish, 'tpsPerUser' | 'ttftMs' | 'itlMs'>,
  { fits, speed }: Plan,
): boolean {
  const isWithin = (most: number | null | undefined, value: number | null): boolean =>
    most === null || most === undefined || (value !== null && value <= most);
  const isFast = tpsPerUser === null || speed.perUserTps >= tpsPerUser;
  return (
    fits && isFast && isWithin(ttftMs, speed.warmTtftMs) && isWithin(itlMs, speed.interTokenMs)
  );
}

function planOf(wish: Wish, change: Change['with']): Plan {
  const { model, quant, contextTokens, ask } = { ...wish, ...change };
  const { draft } = change;
  const speculation =
    draft === undefined
      ? {}
      : {
          speculation: {
            draft: geometryOfModel(draft, 'Q8_0'),
            draftTokens: DRAFT_TOKENS,
            acceptance: ACCEPTANCE,
          },
        };
  const first = { geometry: geometryOfModel(model, quant), contextTokens, ...speculation };
  const models = [first, ...(wish.beside ?? [])];
  return planModels({ ...ask, setup: change.setup ?? ask.setup, models });
}

function first(wish: Wish, kind: Advice['kind'], changes: readonly Change[]): Advice[] {
  for (const { text, with: change } of changes) {
    const plan = planOf(wish, change);
    if (meets(wish, plan)) return [{ kind, change: text, plan }];
  }
  return [];
}

function quantisations({ model, quant }: Wish): Change[] {
  const now = geometryOfModel(model, quant).weights.bytes;
  return LADDER.filter((name) => geometryOfModel(model, name).weights.bytes < now).map((name) => ({
    text: `${name} instead of ${quant}`,
    with: { quant: name },
  }));
}

function contexts({ contextTokens, ask }: Wish): Change[] {
  const { promptTokens, outputTokens } = ask.traffic;
  const least = Math.max(CONTEXT_LEAST, promptTokens + outputTokens);
  const changes: Change[] = [];
  for (let half = Math.floor(contextTokens / 2); half >= least; half = Math.floor(half / 2)) {
    changes.push({
      text: `a context of ${half} instead of ${contextTokens} tokens`,
      with: { contextTokens: half },
    });
  }
  return changes;
}

/** A draft needs the same vocabulary; an eighth of the size is small enough to pay. */
export function draftsFor({ models }: Catalogue, model: CatalogueModel): readonly CatalogueModel[] {
  return models
    .filter(({ vocab, parameters, arch }) => {
      return vocab === model.vocab && arch === model.arch && parameters < model.parameters / 8;
    })
    .sort((a, b) => a.parameters - b.parameters);
}

function drafts({ catalogue, model }: Wish): Change[] {
  return draftsFor(catalogue, model).map((draft) => ({
    text: `speculation with ${draft.id} (acceptance ${ACCEPTANCE} assumed)`,
    with: { draft },
  }));
}

function mixtures({ catalogue, model }: Wish): Change[] {
  if (model.experts > 0) return [];
  return catalogue.models
    .filter(({ experts, parameters }) => {
      const ratio = parameters / model.parameters;
      return experts > 0 && ratio >= CLASS.least && ratio <= CLASS.most;
    })
    .sort((a, b) => b.parameters - a.parameters)
    .map((mixture) => {
      const quant = mixture.arch === 'gpt-oss' ? 'MXFP4' : 'Q4_K_M';
      return {
        text: `${mixture.id} ${quant}, a mixture of experts`,
        with: { model: mixture, quant },
      };
    });
}

/** The cheapest machines of the catalogue that meet the wish and have a price. */
function machines(wish: Wish): Advice[] {
  const { catalogue, ask } = wish;
  const priced = catalogue.machines
    .filter(({ priceUsd, memory, bandwidth, id }) => {
      const isKnown = priceUsd !== null && bandwidth !== null && memory.length > 0;
      return isKnown && id !== ask.setup.machine.id;
    })
    .sort((a, b) => (a.priceUsd?.value ?? 0) - (b.priceUsd?.value ?? 0));
  const found: Advice[] = [];
  for (const machine of priced) {
    if (found.length === MACHINES_SHOWN) break;
    const plan = planOf(wish, { setup: pricedSetup(machine) });
    const price = `$${machine.priceUsd?.value} for ${machine.priceUsd?.note}`;
    if (meets(wish, plan)) {
      found.push({ kind: 'machine', change: `${machine.name} (${price})`, plan });
    }
  }
  return found;
}

/** `machine` with the memory that its price is for (`Mac mini 2024 24GB`), else with its least. */
export function pricedSetup(machine: CatalogueMachine): MachineSetup {
  const note = machine.priceUsd?.note ?? '';
  const sizes = machine.memory.map(({ value }) => value);
  const named = [...note.matchAll(/\b(\d+) ?GB\b/g)].map(([, size]) => Number(size));
  const memoryGib = named.find((size) => sizes.includes(size)) ?? sizes[0];
  return memoryGib === undefined ? { machine } : { machine, memoryGib };
}
