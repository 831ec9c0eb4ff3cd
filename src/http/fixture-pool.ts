/** For tests: a pool of models that does what it is told and remembers it. */
import { PlenumError } from '../base/errors.ts';
import type { PoolModel, PoolView } from '../wire/pool.ts';
import type { PoolAdmin } from './backend.ts';

export class FixturePool implements PoolAdmin {
  readonly calls: string[] = [];
  /** What `load` rejects with; null = it loads. */
  refusal: PlenumError | null = null;
  readonly #model: PoolModel;

  constructor(id: string) {
    this.#model = fixturePoolModel(id);
  }

  view(): PoolView {
    return {
      availableBytes: 16e9,
      availableSource: 'MemAvailable',
      reservedBytes: 8e9,
      measuredBytes: 7.5e9,
      pausedBy: null,
      floors: { chat: 0, embed: 1e9, rerank: 0, guard: 0 },
      models: [this.#model],
    };
  }

  async load(model: string): Promise<PoolModel> {
    this.calls.push(`load ${model}`);
    if (this.refusal !== null) throw this.refusal;
    return { ...this.#model, id: model };
  }

  async unload(model: string): Promise<PoolModel> {
    this.calls.push(`unload ${model}`);
    if (this.#model.pinned) throw new PlenumError('model_in_use', `${model} is pinned`);
    return { ...this.#model, id: model, state: 'unloaded', reservedBytes: 0 };
  }

  pin(model: string, pinned: boolean): PoolModel {
    this.calls.push(`${pinned ? 'pin' : 'unpin'} ${model}`);
    return { ...this.#model, id: model, pinned };
  }
}

export function fixturePoolModel(id: string): PoolModel {
  return {
    id,
    class: 'chat',
    state: 'resident',
    reason: null,
    pinned: false,
    preload: true,
    priority: 0,
    ttlMs: null,
    items: [{ name: 'weights', bytes: 8e9, source: 'test' }],
    neededBytes: 8e9,
    reservedBytes: 8e9,
    measuredBytes: 7.5e9,
    mispredicted: null,
    pid: 1,
    inUse: 0,
    waiting: 0,
    queued: 0,
    running: 0,
    tokensPerSecond: 12.5,
    idleMs: 1000,
    loads: 1,
    restarts: 0,
  };
}
