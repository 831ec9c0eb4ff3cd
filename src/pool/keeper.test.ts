/** The keeper with real host processes (on the simulated engine) in a pool of made-up bytes. */
import { afterEach, expect, it, vi } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { PlenumError } from '../base/errors.ts';
import { ENCODE_LIMITS, type HostSpec } from '../wire/host.ts';
import { type Counted, type FootprintOf, footprintOf } from './footprint.ts';
import { Keeper, type Lease } from './keeper.ts';
import type { KeeperEvent, KeptModel } from './keeper-types.ts';
import { type Floors, NO_FLOORS } from './ledger.ts';
import type { PressureReading } from './pressure.ts';

vi.setConfig({ testTimeout: 30_000 });
const POLL = { timeout: 20_000, interval: 10 };
const SOON = { signal: null, deadlineMs: null };

interface Given {
  readonly models: readonly (Partial<KeptModel> & { readonly id: string; readonly gb: number })[];
  readonly availableGb?: number;
  readonly floors?: Partial<Floors>;
  readonly footprintOf?: FootprintOf;
  readonly waitMsMax?: number;
  readonly failLoad?: string;
}

let pressure: PressureReading | null = null;
const open: Keeper[] = [];
afterEach(async () => {
  pressure = null;
  await Promise.all(open.splice(0).map((keeper) => keeper.drain(0)));
});

function specOf(id: string, { waitMsMax = 20_000, failLoad }: Given): HostSpec {
  const faults = { crashAtStep: null, failAtStep: null, hangAtStep: null };
  const sim = {
    seed: 7,
    vocabSize: 512,
    fixedMs: 1,
    perTokenMs: 0,
    perAttendedMs: 0,
    noise: 0,
    stepTokensMax: 64,
    faults: { ...faults, failLoad: failLoad ?? null },
  };
  return {
    modelId: id,
    role: 'generate',
    engine: { kind: 'sim', sim },
    contextTokens: 128,
    parallel: 1,
    cells: 128,
    queueMax: 1,
    waitMsMax,
    stepTargetMs: null,
    prefixCache: false,
    heartbeatMs: 1000,
    encode: ENCODE_LIMITS,
  };
}

/** Of real hosts, whose bytes are far below those that the tests make up: no finding. */
const onlySplit: FootprintOf = (pid) => ({
  look: async () => {
    const counted = await footprintOf(pid).look();
    return counted === null ? null : { ...counted, wholeBytes: null };
  },
});

function keeperOf(given: Given): { keeper: Keeper; events: KeeperEvent[] } {
  const events: KeeperEvent[] = [];
  const keeper = new Keeper({
    models: given.models.map(({ gb, ...model }) => ({
      class: 'chat',
      spec: specOf(model.id, given),
      items: [{ name: 'weights', bytes: gb * 1e9, source: 'test' }],
      pinned: false,
      preload: 'no',
      priority: 0,
      ttlMs: null,
      ...model,
    })),
    availableBytes: (given.availableGb ?? 10) * 1e9,
    availableSource: 'test',
    floors: { ...NO_FLOORS, ...given.floors },
    clock: systemClock,
    turns: null,
    footprintOf: given.footprintOf ?? onlySplit,
    pressure: () => Promise.resolve(pressure),
    smaller: (model, room) => [`${model} in ${room / 1e9} GB`],
    onChange: () => undefined,
    onEvent: (event) => events.push(event),
  });
  open.push(keeper);
  return { keeper, events };
}

const refusalOf = async (promise: Promise<unknown>): Promise<PlenumError> => {
  const thrown: unknown = await promise.then(
    () => new Error('it was not refused'),
    (error: unknown) => error,
  );
  if (thrown instanceof PlenumError) return thrown;
  throw thrown;
};
const kindsOf = (events: readonly KeeperEvent[]): string[] =>
  events.map((event) => `${event.kind} ${'model' in event ? event.model : ''}`.trim());

it('loads at the start what is to be there, the rest when it is asked for', async () => {
  const models = [
    { id: 'a', gb: 6, preload: 'may' },
    { id: 'b', gb: 6, preload: 'may' },
    { id: 'p', gb: 3, pinned: true, preload: 'must' },
  ] as const;
  const { keeper, events } = keeperOf({ models });
  expect(keeper.boot()).toEqual(['p', 'a']);
  const [later] = events.filter(({ kind }) => kind === 'on_demand');
  expect(later).toMatchObject({ model: 'b' });
  expect(later && 'reason' in later ? later.reason : '').toContain(
    'there is no room for b now: 6.00 GB for b + 9.00 GB of other chat models = 15.0 GB is ' +
      '5.00 GB more than the pool of 10.0 GB (test)',
  );
  await expect.poll(() => keeper.stateOf('a').state, POLL).toBe('ready');
  const lease = await keeper.use('b', SOON);
  expect(keeper.stateOf('a').state).toBe('unloaded');
  expect(keeper.view()).toMatchObject({ reservedBytes: 9e9 });
  lease.release();
  keeper.check();
  const unloaded = events.findIndex(({ kind }) => kind === 'unloaded');
  expect(kindsOf(events).slice(unloaded)).toEqual(['unloaded a', 'loading b']);
});

it('does not start with what can never fit, or must and has no room', () => {
  const huge = keeperOf({ models: [{ id: 'h', gb: 12 }] }).keeper;
  expect(() => huge.boot()).toThrow(
    'h does not fit: 12.0 GB for h is 2.00 GB more than the pool of 10.0 GB (test). ' +
      'It would fit with: h in 10 GB',
  );
  const floors = { embed: 5e9 };
  const guaranteed = keeperOf({ models: [{ id: 'g', gb: 6 }], floors }).keeper;
  expect(() => guaranteed.boot()).toThrow(/5.00 GB guaranteed to embed.*a floor of embed below/);
  const models = [
    { id: 'a', gb: 6, preload: 'must' },
    { id: 'b', gb: 6, preload: 'must' },
  ] as const;
  const both = keeperOf({ models });
  expect(() => both.keeper.boot()).toThrow(/there is no room for b now/);
  expect(both.events).toEqual([]);
});

it('waits for a busy model to be done, within the limit, and then says who holds the room', async () => {
  const models = [
    { id: 'a', gb: 6 },
    { id: 'b', gb: 6 },
  ];
  const { keeper } = keeperOf({ models, waitMsMax: 5000 });
  keeper.boot();
  const first = await keeper.use('a', SOON);
  const late = await refusalOf(keeper.use('b', { signal: null, deadlineMs: 30 }));
  expect(late.code).toBe('deadline_exceeded');
  const waiting = keeper.use('b', SOON);
  await expect.poll(() => keeper.modelView('b').waiting, POLL).toBe(1);
  first.release();
  (await waiting).release();
  expect(keeper.stateOf('a').state).toBe('unloaded');
  keeper.pin('b', true);
  const refused = await refusalOf(keeper.use('a', SOON));
  expect(refused).toMatchObject({ code: 'pool_full', retryAfterMs: 5000 });
  expect(refused.message).toContain('unpinning and unloading b (6.00 GB)');
});

it('bounds those who wait, and lets them go away', async () => {
  const models = [
    { id: 'a', gb: 6 },
    { id: 'b', gb: 6 },
  ];
  const { keeper } = keeperOf({ models });
  keeper.boot();
  const lease = await keeper.use('a', SOON);
  const aborter = new AbortController();
  const gone = refusalOf(keeper.use('b', { signal: aborter.signal, deadlineMs: null }));
  const second = refusalOf(keeper.use('b', SOON));
  expect(await refusalOf(keeper.use('b', SOON))).toMatchObject({ code: 'queue_full' });
  aborter.abort();
  expect((await gone).code).toBe('client_closed');
  const draining = keeper.drain(0);
  expect((await second).code).toBe('draining');
  lease.release();
  await draining;
});

it('an operator unloads what is idle and nothing else; it comes back when asked for', async () => {
  const { keeper } = keeperOf({ models: [{ id: 'a', gb: 6 }] });
  keeper.boot();
  const lease = await keeper.use('a', SOON);
  expect(await refusalOf(keeper.unload('a'))).toMatchObject({ code: 'model_in_use' });
  lease.release();
  keeper.pin('a', true);
  expect((await refusalOf(keeper.unload('a'))).message).toContain('unpin it first');
  keeper.pin('a', false);
  const { pid } = keeper.modelView('a');
  await keeper.unload('a');
  expect(keeper.modelView('a')).toMatchObject({ state: 'unloaded', reservedBytes: 0, pid: null });
  expect(pid === null ? 0 : await footprintOf(pid).look()).toBeNull();
  await keeper.load('a', null);
  expect(keeper.modelView('a')).toMatchObject({ state: 'resident', loads: 2 });
});

it('counts the bytes of a host that has gone until the system has them back', async () => {
  let lingering = 3;
  const slow: FootprintOf = (pid) => ({
    look: async () => {
      const counted = await footprintOf(pid).look();
      if (counted !== null) return counted;
      lingering -= 1;
      return lingering < 0 ? null : { bytes: 5e9, wholeBytes: 5e9 };
    },
  });
  const models = [
    { id: 'a', gb: 6 },
    { id: 'b', gb: 6 },
  ];
  const { keeper, events } = keeperOf({ models, footprintOf: slow });
  keeper.boot();
  (await keeper.use('a', SOON)).release();
  const coming = keeper.use('b', SOON);
  await expect.poll(() => lingering, POLL).toBeLessThan(3);
  expect(keeper.modelView('b').state).toBe('unloaded');
  (await coming).release();
  expect(lingering).toBeLessThan(0);
  expect(kindsOf(events)).toEqual(['loading a', 'unloaded a', 'loading b']);
});

it('a killed host keeps its bytes, its requests end once, and it is back', async () => {
  const { keeper } = keeperOf({ models: [{ id: 'a', gb: 6 }] });
  keeper.boot();
  const before = await keeper.use('a', SOON);
  process.kill(keeper.modelView('a').pid ?? 0, 'SIGKILL');
  await expect.poll(() => keeper.modelView('a').state, POLL).toBe('loading');
  expect(keeper.view().reservedBytes).toBe(6e9);
  const after: Lease = await keeper.use('a', SOON);
  before.release();
  expect(keeper.modelView('a')).toMatchObject({ inUse: 1, restarts: 1 });
  after.release();
  expect(keeper.modelView('a').inUse).toBe(0);
  keeper.check();
});

it('a host that cannot be loaded holds nothing, and an operator may have it tried again', async () => {
  const { keeper } = keeperOf({ models: [{ id: 'a', gb: 6 }], failLoad: 'file_not_found' });
  keeper.boot();
  expect(await refusalOf(keeper.use('a', SOON))).toMatchObject({ code: 'model_unavailable' });
  const { state } = keeper.stateOf('a');
  if (state === 'failed') expect(keeper.view().reservedBytes).toBe(0);
  else expect(state).toBe('backing_off');
  await keeper.unload('a');
  expect(keeper.view().reservedBytes).toBe(0);
  expect(await refusalOf(keeper.load('a', null))).toMatchObject({ code: 'model_unavailable' });
  keeper.check();
});

it('loads nothing under memory pressure, serves what is there, and goes on afterwards', async () => {
  const models = [
    { id: 'a', gb: 3 },
    { id: 'b', gb: 3 },
  ];
  const { keeper, events } = keeperOf({ models });
  keeper.boot();
  (await keeper.use('a', SOON)).release();
  pressure = { kind: 'psi', some: 40, full: 20, of: 'the machine' };
  await expect.poll(() => keeper.view().pausedBy, POLL).toContain('waited for it 40 %');
  const refused = await refusalOf(keeper.use('b', SOON));
  expect(refused).toMatchObject({ code: 'memory_pressure', retryAfterMs: 10_000 });
  (await keeper.use('a', SOON)).release();
  pressure = { kind: 'psi', some: 0, full: 0, of: 'the machine' };
  await expect.poll(() => keeper.view().pausedBy, POLL).toBeNull();
  (await keeper.use('b', SOON)).release();
  expect(kindsOf(events)).toEqual(['loading a', 'paused', 'resumed', 'loading b']);
});

/** A live process counts as this. */
const counting =
  (counted: () => Counted): FootprintOf =>
  (pid) => ({
    look: async () => ((await footprintOf(pid).look()) === null ? null : counted()),
  });

it('lets an idle model go when its time is over, and warns of more bytes than predicted', async () => {
  const measured = counting(() => ({ bytes: 7e9, wholeBytes: 8e9 }));
  const { keeper, events } = keeperOf({
    models: [{ id: 'a', gb: 6, ttlMs: 2500 }],
    footprintOf: measured,
  });
  keeper.boot();
  const lease = await keeper.use('a', SOON);
  await expect.poll(() => kindsOf(events), POLL).toContain('mispredicted a');
  expect(keeper.modelView('a')).toMatchObject({
    measuredBytes: 7e9,
    neededBytes: 6e9,
    mispredicted: 'above',
  });
  lease.release();
  await expect.poll(() => kindsOf(events).at(-1), POLL).toBe('unloaded a');
  expect(keeper.modelView('a')).toMatchObject({
    measuredBytes: null,
    mispredicted: null,
    reservedBytes: 0,
  });
});

it('warns of a host that has less than predicted though shared pages count whole', async () => {
  // Weights are there from the start, so that nothing needs to be used to know.
  const { keeper, events } = keeperOf({
    models: [{ id: 'less', gb: 6 }],
    footprintOf: counting(() => ({ bytes: 3e9, wholeBytes: 5e9 })),
  });
  keeper.boot();
  (await keeper.use('less', SOON)).release();
  await expect.poll(() => keeper.modelView('less').mispredicted, POLL).toBe('below');
  const found = events.filter(({ kind }) => kind === 'mispredicted');
  expect(found).toEqual([
    {
      kind: 'mispredicted',
      model: 'less',
      direction: 'below',
      predictedBytes: 6e9,
      inUseBytes: 6e9,
      measuredBytes: 3e9,
      wholeBytes: 5e9,
    },
  ]);
});
