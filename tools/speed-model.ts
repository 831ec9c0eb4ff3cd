/**
 * Predicts rows of published measurements with the planner's speed model, fits its parameters to
 * them backend by backend, and leaves one machine out at a time to see what a machine that was
 * never measured would get.
 */
import { defined } from '../src/base/assert.ts';
import type { Catalogue, CatalogueMachine } from '../src/model/catalogue-types.ts';
import { geometryOfModel } from '../src/planner/architecture.ts';
import { deviceOf } from '../src/planner/device.ts';
import { fitParameters, meanAbsolutePercentageError } from '../src/planner/fit.ts';
import { type ModelCost, modelCost } from '../src/planner/model-cost.ts';
import { layerSplit, type Placement, placedPrompt, placedStep } from '../src/planner/placement.ts';
import type { SpeedParams } from '../src/planner/speed-params.ts';
import { hostSplit, layersOnDevice, systemDevice } from '../src/planner/split.ts';
import { BACKENDS, type Backend, type Values } from './speed-layout.ts';
import type { SpeedRow } from './speed-rows.ts';

/** Parameters for a family; what a row's machine needs of another backend's too. */
export type ParamsOf = (family: string) => SpeedParams;

/** VRAM that layers cannot have: context, buffers and cache of the one row that is split. */
const SPLIT_RESERVE_BYTES = 3.5e9;
const GIB = 2 ** 30;

export class RowPredictor {
  readonly #catalogue: Catalogue;
  readonly #machines: ReadonlyMap<string, CatalogueMachine>;
  readonly #costs = new Map<string, ModelCost>();

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue;
    this.#machines = new Map(catalogue.machines.map((machine) => [machine.id, machine]));
  }

  machine(id: string): CatalogueMachine {
    return defined(this.#machines.get(id), `machine ${id} of a measured row`);
  }

  /** Whose parameters decide a row: its machine's family, or another backend's. */
  family(row: SpeedRow): string {
    return row.backend === 'llama.cpp' ? this.machine(row.machine).family : row.backend;
  }

  cost(modelId: string, quant: string): ModelCost {
    const key = `${modelId} ${quant}`;
    const known = this.#costs.get(key);
    if (known !== undefined) return known;
    const model = defined(
      this.#catalogue.models.find(({ id }) => id === modelId),
      `model ${modelId}`,
    );
    const cost = modelCost(geometryOfModel(model, quant));
    this.#costs.set(key, cost);
    return cost;
  }

  /** Tokens per second; null where a rate that it needs is not known. */
  predict(row: SpeedRow, paramsOf: ParamsOf): number | null {
    const cost = this.cost(row.model, row.quant);
    const placement = this.#placement(row, cost, paramsOf);
    if (row.kind === 'decode') {
      const shape = {
        tokens: row.batch,
        sequences: row.batch,
        attended: row.batch * row.depth,
        outputs: row.batch,
      };
      return (1e3 * row.batch) / placedStep({ shape, cost, placement }).totalMs;
    }
    if (placement.stages[0]?.device.matrixOpsPerSecond === null) return null;
    const { totalMs } = placedPrompt({ cost, placement, tokens: row.tokens, cached: row.depth });
    return (1e3 * row.tokens) / totalMs;
  }

  #placement(row: SpeedRow, cost: ModelCost, paramsOf: ParamsOf): Placement {
    const machine = this.machine(row.machine);
    const own = paramsOf(machine.family);
    const params = row.backend === 'mlx' ? paramsOf('mlx') : own;
    const attention = row.build === 'early' ? 'plain' : 'flash';
    const device = deviceOf({ machine, params, attention, ratesPerCore: own.ratesPerCore });
    const link = (machine.pcie?.value ?? 32) * 1e9;
    if (!row.isSplit) return layerSplit(device, row.devices, link);
    const prices = this.#catalogue.prices.find(({ item }) => item === 'ddr5-dual');
    const vram = defined(machine.memory[0], 'memory').value * GIB;
    const onDevice = layersOnDevice({
      layers: cost.layers,
      layerBytes: cost.dense.bytes + cost.head.bytes,
      deviceBytes: vram - SPLIT_RESERVE_BYTES,
    });
    return hostSplit({
      device,
      system: systemDevice(paramsOf('cpu'), defined(prices, 'ddr5').value * 1e9),
      deviceShare: onDevice / cost.layers,
      linkBytesPerSecond: link,
    });
  }
}

/** Free values by backend name. */
export type Fitted = Readonly<Record<string, Values>>;

export const startValues = (backend: Backend): Values =>
  Object.fromEntries(backend.free.map(({ name, start }) => [name, start]));

/** Looks a family up among backends at their fitted values. */
export function paramsFrom(fitted: Fitted): ParamsOf {
  return (family) => {
    const backend = defined(
      BACKENDS.find(({ families }) => families.includes(family)),
      `backend of ${family}`,
    );
    return backend.paramsOf(family, fitted[backend.name] ?? startValues(backend));
  };
}

export interface FitInput {
  readonly predictor: RowPredictor;
  readonly rows: readonly SpeedRow[];
  /** Values of the other backends, and where the search begins. */
  readonly from: Fitted;
}

/** Fits one backend to the rows that its families decide. */
export function fitBackend(backend: Backend, { predictor, rows, from }: FitInput): Values {
  const own = rows.filter((row) => backend.families.includes(predictor.family(row)));
  if (own.length === 0) return from[backend.name] ?? startValues(backend);
  const start = from[backend.name] ?? startValues(backend);
  const named = (values: readonly number[]): Values =>
    Object.fromEntries(backend.free.map(({ name }, i) => [name, values[i] ?? 0]));
  const found = fitParameters({
    start: backend.free.map(({ name }) => start[name] ?? 1),
    lower: backend.free.map(({ lower }) => lower),
    upper: backend.free.map(({ upper }) => upper),
    residuals: (values) => {
      const cache = new Map<string, SpeedParams>();
      const all = paramsFrom({ ...from, [backend.name]: named(values) });
      const paramsOf: ParamsOf = (family) => {
        const known = cache.get(family) ?? all(family);
        cache.set(family, known);
        return known;
      };
      return own.map((row) => residual(predictor.predict(row, paramsOf), row));
    },
  });
  return named(found);
}

/** log(predicted / measured); 0 where nothing is predicted. */
export function residual(predicted: number | null, row: SpeedRow): number {
  return predicted === null ? 0 : Math.log(predicted / row.measuredTps);
}

/** All backends, one after the other. */
export function fitAll(predictor: RowPredictor, rows: readonly SpeedRow[]): Fitted {
  let fitted: Fitted = {};
  for (const backend of BACKENDS) {
    const values = fitBackend(backend, { predictor, rows, from: fitted });
    fitted = { ...fitted, [backend.name]: values };
  }
  return fitted;
}

/** Each machine's rows, predicted by a fit that has not seen that machine. */
export function leaveOneMachineOut(
  predictor: RowPredictor,
  rows: readonly SpeedRow[],
  fitted: Fitted,
): readonly Predicted[] {
  const machines = new Set(rows.map(({ machine }) => machine));
  return [...machines].flatMap((machine) => {
    const own = rows.filter((row) => row.machine === machine);
    const others = rows.filter((row) => row.machine !== machine);
    const touched = BACKENDS.filter(({ families }) =>
      own.some((row) => families.includes(predictor.family(row))),
    );
    let left = fitted;
    for (const backend of touched) {
      const values = fitBackend(backend, { predictor, rows: others, from: left });
      left = { ...left, [backend.name]: values };
    }
    return predictAll(predictor, own, paramsFrom(left));
  });
}

export interface Predicted {
  readonly row: SpeedRow;
  /** log(predicted / measured). */
  readonly residual: number;
}

/** Every row that can be predicted. */
export function predictAll(
  predictor: RowPredictor,
  rows: readonly SpeedRow[],
  paramsOf: ParamsOf,
): readonly Predicted[] {
  return rows.flatMap((row) => {
    const predicted = predictor.predict(row, paramsOf);
    return predicted === null ? [] : [{ row, residual: residual(predicted, row) }];
  });
}

export interface SetError {
  /** `llama-3-all decode`. */
  readonly name: string;
  readonly count: number;
  /** Mean absolute percentage error. */
  readonly mape: number;
  /** Mean of log(predicted / measured), in percent. */
  readonly bias: number;
}

export function errorsBySet(list: readonly Predicted[]): readonly SetError[] {
  const sets = new Map<string, number[]>();
  for (const { row, residual: error } of list) {
    const name = `${row.set} ${row.kind}`;
    sets.set(name, [...(sets.get(name) ?? []), error]);
  }
  return [...sets].map(([name, errors]) => ({
    name,
    count: errors.length,
    mape: meanAbsolutePercentageError(errors),
    bias: (100 * errors.reduce((sum, error) => sum + error, 0)) / errors.length,
  }));
}
