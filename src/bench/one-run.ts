/**
 * One repetition of one target at one point: warm-up, then the measured load beside which the
 * server's memory and processor time and the client itself are watched.
 */
import { defined } from '../base/assert.ts';
import { ClientMeter } from './client/meter.ts';
import type { TargetClient } from './client/target-client.ts';
import { poissonArrivals } from './load/arrivals.ts';
import { type Driven, drive, type Pace } from './load/driver.ts';
import { fixed } from './load/lengths.ts';
import { SCENARIO_DEFAULTS } from './load/scenario.ts';
import { seedOf } from './load/seeds.ts';
import type { WordStock } from './load/text.ts';
import { type Dialect, Workload } from './load/workload.ts';
import type { Load, RequestRecord, Run } from './result.ts';
import type { Session } from './session.ts';
import type { BenchSpec, BenchWatcher, RunPlace } from './spec.ts';
import { ResourceSampler } from './target/resources.ts';

export interface RunOptions {
  readonly spec: BenchSpec;
  readonly session: Session;
  readonly place: RunPlace;
  readonly order: number;
  readonly dialect: Dialect;
  readonly stock: WordStock;
  readonly signal: AbortSignal;
  readonly watcher: BenchWatcher;
}

/** Requests of the flood have indices of their own, from here on. */
const FLOOD_INDEX = 10_000_000;
const FLOOD_MS_MAX = 600_000;

export async function oneRun(options: RunOptions): Promise<Run> {
  const client = options.session.client();
  const flood = options.spec.flood === null ? null : options.session.client();
  try {
    const warmup = await warmUp(options, client);
    const run = await measured(options, client, flood);
    options.session.noteQuirks([...client.quirks]);
    return { ...run, warmup };
  } finally {
    client.close();
    flood?.close();
  }
}

/** At a load of its own, so that a server's connections and caches of code are warm. */
async function warmUp(options: RunOptions, client: TargetClient): Promise<RequestRecord[]> {
  const { spec, signal } = options;
  const requests = spec.warmupRequests;
  if (requests === 0) return [];
  const epoch = performance.now();
  client.begin(epoch, null);
  const clients = Math.min(requests, lanesOf(options));
  const workload = workloadOf(options, seedOf(runSeed(options), 'warm-up'));
  const pace = { mode: 'closed', clients, durationMs: null, requests } as const;
  const { drainMsMax } = spec;
  const driven = await drive({
    ...{ client, workload, pace, epoch, signal, drainMsMax },
    onSample: () => undefined,
  });
  return [...driven.records];
}

async function measured(
  options: RunOptions,
  client: TargetClient,
  floodClient: TargetClient | null,
): Promise<Run> {
  const { spec, session, place, signal, watcher } = options;
  const workload = workloadOf(options, runSeed(options));
  const requestsSha256 = workload.sha256(spec.requests);
  const pace = paceOf(options);
  // Before the clock of the run starts: a meter may take a while to give its first reading.
  const power = (await spec.meter?.start()) ?? null;
  const startedAt = new Date().toISOString();
  const sampler = session.pid === null ? null : await ResourceSampler.start(session.pid);
  const epoch = performance.now();
  sampler?.begin(epoch);
  const meter = new ClientMeter();
  client.begin(epoch, meter);
  floodClient?.begin(epoch, meter);
  const base = { epoch, drainMsMax: spec.drainMsMax };
  const onSample = (sample: Run['timeline'][number], records: readonly RequestRecord[]): void =>
    watcher.sample(place, sample, records);
  const over = new AbortController();
  const flood = flooded(options, floodClient, AbortSignal.any([signal, over.signal]), base);
  const load = drive({ ...base, client, workload, pace, signal, onSample });
  const driven = await load.catch(async (thrown: unknown) => {
    await power?.stop();
    throw thrown;
  });
  over.abort();
  const floodRecords = await flood;
  const health = meter.stop(spec.clientLimits);
  const resources = (await sampler?.stop()) ?? null;
  const energy = (await power?.stop()) ?? null;
  const notes = notesOf(options, driven, health.reasons);
  return {
    ...place,
    order: options.order,
    ...{ startedAt, wallMs: driven.wallMs, warmup: [], timeline: [...driven.timeline] },
    records: [...driven.records, ...floodRecords],
    ...{ resources, client: health, energy, requestsSha256 },
    valid: notes.length === 0,
    notes,
  };
}

async function flooded(
  options: RunOptions,
  client: TargetClient | null,
  signal: AbortSignal,
  base: { readonly epoch: number; readonly drainMsMax: number },
): Promise<RequestRecord[]> {
  const { spec, stock, dialect } = options;
  if (client === null) return [];
  const { model, rate } = defined(spec.flood, 'flood');
  const seed = seedOf(runSeed(options), 'flood');
  const settings = { ...SCENARIO_DEFAULTS.embed, scenario: 'embed' } as const;
  const promptTokens = fixed(FLOOD_TOKENS);
  const workload = new Workload({
    ...{ stock, seed, trace: null, dialect, model, lanes: 1 },
    settings: { ...settings, promptTokens },
  });
  const durationMs = spec.durationMs ?? FLOOD_MS_MAX;
  const arrivals = poissonArrivals({ rate, seed, durationMs, requests: null });
  const pace = { mode: 'open', arrivals } as const;
  const driven = await drive({
    ...base,
    client,
    workload,
    pace,
    signal,
    onSample: () => undefined,
  });
  return driven.records.map((record) => ({ ...record, index: record.index + FLOOD_INDEX }));
}

/** Text of one request of the flood. */
const FLOOD_TOKENS = 128;

function notesOf(
  { session, signal }: RunOptions,
  { records, cutShort }: Driven,
  reasons: readonly string[],
): string[] {
  const good = records.filter(({ outcome }) => outcome === 'ok').length;
  // First, because where nothing succeeded the rest may only be what follows from it: a client
  // whose requests are refused at once does nothing but send.
  const notes =
    good === 0 && records.length > 0 && cutShort === null ? ['no request succeeded'] : [];
  if (cutShort !== null) notes.push(signal.aborted ? 'interrupted' : `cut short: ${cutShort}`);
  if (session.hasDied) notes.push('the server ended during the run');
  notes.push(...reasons.map((reason) => `the client was the bottleneck: ${reason}`));
  return notes;
}

/** The load of a point: the sweep's value in place of what was given. */
export function loadAt({ load }: Pick<BenchSpec, 'load'>, point: RunPlace['point']): Load {
  if (point === null) return load;
  return point.axis === 'rate'
    ? { mode: 'open', rate: point.value, arrivals: 'poisson' }
    : { mode: 'closed', clients: point.value };
}

function paceOf(options: RunOptions): Pace {
  const { spec, place } = options;
  const { durationMs, requests, arrivals } = spec;
  const load = loadAt(spec, place.point);
  if (load.mode === 'closed') return { ...load, durationMs, requests };
  if (load.rate === null) {
    const within = defined(arrivals, 'arrivals').filter((at) => at < (durationMs ?? Infinity));
    return { mode: 'open', arrivals: within.slice(0, requests ?? within.length) };
  }
  const seed = runSeed(options);
  return {
    mode: 'open',
    arrivals: poissonArrivals({ rate: load.rate, seed, durationMs, requests }),
  };
}

const lanesOf = ({ spec, place }: RunOptions): number => {
  const load = loadAt(spec, place.point);
  return load.mode === 'closed' ? load.clients : spec.users;
};

/**
 * The same for every target; another for each repetition and point, so that no cache has it
 * yet.
 */
const runSeed = ({ spec, place: { repetition, point } }: RunOptions): number =>
  seedOf(spec.seed, repetition, point?.axis ?? '', point?.value ?? 0);

function workloadOf(options: RunOptions, seed: number): Workload {
  const { spec, stock, dialect, session } = options;
  const { settings, trace } = spec;
  const lanes = lanesOf(options);
  return new Workload({ settings, stock, seed, trace, dialect, model: session.model, lanes });
}
