/**
 * The planner's answer for models on a machine: does it fit, how fast, at what cost. Pure: the
 * catalogue's entries, geometries and fitted parameters are handed in. `plenum plan` prints it,
 * admission uses the same memory arithmetic, the scheduler the same step terms.
 */
import { PlenumError } from '../base/errors.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import type { CacheType } from '../model/geometry-cache.ts';
import type { SimulatedAllocation } from '../wire/pool.ts';
import { simulatedOf } from './host-need.ts';
import { type MemoryAsk, type MemoryItem, type MemoryNeed, memoryNeed } from './memory.ts';
import { modelCost } from './model-cost.ts';
import {
  OWNERSHIP_DEFAULTS,
  type Ownership,
  ownedCost,
  type Rental,
  rentedCost,
  type TokenCost,
} from './money.ts';
import { fitOf, type MachineSetup, placeModel, setupDevice } from './setup.ts';
import { predictSpeed, type Speculation, type Speed } from './speed.ts';
import type { SpeedTable } from './speed-params.ts';
import type { PlannedSteps } from './step-guess.ts';

export interface PlanModel {
  readonly geometry: ModelGeometry;
  /** Longest sequence; prompt and output when none is given. */
  readonly contextTokens?: number;
  /** Sequences at the same time; the users when none is given. */
  readonly parallel?: number;
  readonly cacheType?: CacheType;
  readonly weightsBytes?: number;
  readonly windowCache?: 'full' | 'window';
  readonly speculation?: PlannedSpeculation;
  /**
   * The engine's own account: copies of weights are known only so. It holds for this machine, which
   * is the setup that has `facts`, and is left out of account for any other.
   */
  readonly allocation?: SimulatedAllocation;
}

/** A small model that proposes tokens; it is resident beside the one that it drafts for. */
export interface PlannedSpeculation extends Omit<Speculation, 'draft' | 'placement'> {
  readonly draft: ModelGeometry;
}

export interface Traffic {
  /** Streams that decode at the same time. */
  readonly users: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens?: number;
}

export interface PlanAsk {
  /** The first is the one whose speed and cost are asked for; the others stay resident. */
  readonly models: readonly PlanModel[];
  readonly setup: MachineSetup;
  readonly table: SpeedTable;
  readonly traffic: Traffic;
  /** Share of the time in which the machine works, from above 0 to 1. */
  readonly utilisation: number;
  /** What is different from a machine of the catalogue's price, owned for three years. */
  readonly ownership?: Partial<Omit<Ownership, 'kind'>>;
  /** Instead of owning it. */
  readonly rental?: Rental;
}

export interface PlannedMemory {
  readonly availableBytes: number;
  readonly neededBytes: number;
  /** What is missing; 0 when it fits. */
  readonly shortBytes: number;
  readonly source: string;
  readonly items: readonly (MemoryItem & { readonly model: string })[];
}

export interface PlannedModel {
  readonly model: string;
  /** With those of its draft. */
  readonly neededBytes: number;
  readonly speed: Speed;
  /** What steps take, for a simulation; without speculation. */
  readonly steps: PlannedSteps;
}

export interface Plan {
  readonly machine: string;
  readonly fits: boolean;
  /** Layers of the first model lie in system memory. */
  readonly isOffloaded: boolean;
  readonly memory: PlannedMemory;
  /** Of the first model. */
  readonly speed: Speed;
  readonly cost: TokenCost;
  /** Every model alone, in the order asked for. */
  readonly models: readonly PlannedModel[];
}

/** Bytes of a cache element by type: f16 2, q8_0 34/32. */
const CACHE_ELEMENT_BYTES: Readonly<Record<CacheType, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  q8_0: 34 / 32,
  q5_1: 24 / 32,
  q5_0: 22 / 32,
  q4_1: 20 / 32,
  q4_0: 18 / 32,
  iq4_nl: 18 / 32,
};

/**
 * Plans a mix of models on one machine. Throws `usage` for impossible numbers or an unknown size,
 * `model_unsupported` for a geometry with gaps.
 */
export function planModels(ask: PlanAsk): Plan {
  const { setup, table, traffic } = ask;
  const [first] = ask.models;
  if (first === undefined) throw new PlenumError('usage', 'Name at least one model to plan for');
  const needs = ask.models.map((model) => needsOf(model, traffic, setup));
  const verdict = fitOf(setup, needs.flat());
  const models = ask.models.map((model, index): PlannedModel => {
    const own = needs[index] ?? needsOf(model, traffic, setup);
    const cost = modelCost(model.geometry);
    const [need = memoryNeed(memoryAsk(model, traffic, setup))] = own;
    const { params, placement } = placeModel({ setup, table, need, layers: cost.layers });
    const options = { cacheElementBytes: CACHE_ELEMENT_BYTES[model.cacheType ?? 'f16'] };
    const speculation = speculationOf(model);
    const speed = predictSpeed({ ...traffic, cost, placement, params, speculation, options });
    const steps = { cost, placement, options };
    return { model: nameOf(model), neededBytes: sumOf(own), speed, steps };
  });
  const speed = models[0]?.speed;
  if (speed === undefined) throw new PlenumError('usage', 'Name at least one model to plan for');
  return {
    machine: setup.machine.id,
    fits: verdict.fits,
    isOffloaded: verdict.isOffloaded,
    memory: {
      availableBytes: verdict.availableBytes,
      neededBytes: sumOf(needs.flat()),
      shortBytes: verdict.shortBytes,
      source: verdict.source,
      items: needs.flatMap((own, index) => itemsOf(ask.models[index] ?? first, own)),
    },
    speed,
    cost: costOf(ask, speed),
    models,
  };
}

/** One model on one machine. */
export const planModel = (ask: Omit<PlanAsk, 'models'> & { readonly model: PlanModel }): Plan =>
  planModels({ ...ask, models: [ask.model] });

const nameOf = ({ geometry }: PlanModel): string => geometry.description;

const sumOf = (needs: readonly MemoryNeed[]): number =>
  needs.reduce((sum, need) => sum + need.neededBytes, 0);

/** Of the model, and of its draft where it has one. */
function needsOf(model: PlanModel, traffic: Traffic, setup: MachineSetup): readonly MemoryNeed[] {
  const own = memoryNeed(memoryAsk(model, traffic, setup));
  if (model.speculation === undefined) return [own];
  const { draft } = model.speculation;
  const { contextTokens, parallel } = model;
  // It runs in the process of the model that it drafts for.
  const asked = {
    geometry: draft,
    ...(contextTokens === undefined ? {} : { contextTokens }),
    ...(parallel === undefined ? {} : { parallel }),
  };
  return [own, memoryNeed({ ...memoryAsk(asked, traffic, setup), hostBytes: 0 })];
}

function itemsOf(model: PlanModel, needs: readonly MemoryNeed[]): PlannedMemory['items'] {
  return needs.flatMap(({ items }, index) => {
    const name = index === 0 ? nameOf(model) : `draft ${model.speculation?.draft.description}`;
    return items.filter(({ bytes }) => bytes > 0).map((item) => ({ ...item, model: name }));
  });
}

function speculationOf({ speculation }: PlanModel): Speculation | undefined {
  return speculation && { ...speculation, draft: modelCost(speculation.draft) };
}

function memoryAsk(model: PlanModel, traffic: Traffic, setup: MachineSetup): MemoryAsk {
  const { geometry, cacheType, weightsBytes, windowCache } = model;
  const account = setup.facts === undefined ? undefined : model.allocation;
  return {
    geometry,
    contextTokens: model.contextTokens ?? traffic.promptTokens + traffic.outputTokens,
    parallel: model.parallel ?? traffic.users,
    device: setupDevice(setup),
    ...(account === undefined ? {} : simulatedOf(account)),
    ...(cacheType === undefined ? {} : { cacheType }),
    ...(weightsBytes === undefined ? {} : { weightsBytes }),
    ...(windowCache === undefined ? {} : { windowCache }),
    ...(setup.attention === undefined ? {} : { attention: setup.attention }),
  };
}

function costOf(ask: PlanAsk, speed: Speed): TokenCost {
  const { decodeTps, prefillTps } = speed;
  if (ask.rental !== undefined) {
    return rentedCost(ask.rental, { decodeTps, prefillTps }, ask.utilisation);
  }
  const owned = ownershipOf(ask.setup, ask.ownership);
  return ownedCost(owned, { decodeTps, prefillTps }, ask.utilisation);
}

/** The catalogue's price and power with the usual assumptions, where nothing else is given. */
export function ownershipOf(
  { machine, devices = 1 }: MachineSetup,
  given: PlanAsk['ownership'] = {},
): Ownership {
  // A price of one machine says nothing of one with more cards in it.
  const isSingle = devices === 1;
  return {
    kind: 'own',
    priceUsd: isSingle ? (machine.priceUsd?.value ?? null) : null,
    loadWatts: isSingle ? (machine.loadWatts?.value ?? null) : null,
    idleWatts: isSingle ? (machine.idleWatts?.value ?? null) : null,
    ...OWNERSHIP_DEFAULTS,
    ...given,
  };
}
