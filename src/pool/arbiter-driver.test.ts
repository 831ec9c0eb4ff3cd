/** The arbiter between real host processes (on the simulated engine). */
import os from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '../base/clock.ts';
import { type GenerateRequest, NEUTRAL_SAMPLING } from '../wire/generation.ts';
import { ENCODE_LIMITS, type EngineSpec, type HostSpec } from '../wire/host.ts';
import type { ModelClass } from '../wire/pool.ts';
import type { ClassTime, TurnOrder } from '../wire/turn.ts';
import { concurrencyOf, TurnKeeper } from './arbiter-driver.ts';
import { defaultPolicy } from './arbiter-policy.ts';
import { HostSupervisor } from './supervisor.ts';

function specOf(modelId: string, stepMs: number): HostSpec {
  return {
    modelId,
    role: 'generate',
    encode: ENCODE_LIMITS,
    engine: {
      kind: 'sim',
      sim: {
        seed: 7,
        vocabSize: 512,
        fixedMs: stepMs,
        perTokenMs: 0,
        perAttendedMs: 0,
        noise: 0,
        stepTokensMax: 64,
        faults: { crashAtStep: null, failAtStep: null, hangAtStep: null, failLoad: null },
      },
    },
    contextTokens: 4096,
    parallel: 1,
    cells: 4096,
    queueMax: 4,
    waitMsMax: 60_000,
    stepTargetMs: null,
    prefixCache: false,
    heartbeatMs: 1000,
  };
}

const request = (maxTokens: number): GenerateRequest => ({
  prompt: { kind: 'tokens', tokens: Int32Array.of(70, 71, 72) },
  sampling: { ...NEUTRAL_SAMPLING, temperature: 0, ignoreEos: true },
  maxTokens,
  stop: [],
  promptLogprobs: null,
  deadlineMs: null,
});

const started: HostSupervisor[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((host) => host.stop(0)));
});

async function hostOf(
  model: string,
  options: { class: ModelClass; stepMs: number; keeper: TurnKeeper | null },
): Promise<HostSupervisor> {
  const { class: modelClass, stepMs, keeper } = options;
  const ready = Promise.withResolvers<void>();
  const host = new HostSupervisor({
    spec: specOf(model, stepMs),
    clock: systemClock,
    takeSeat: keeper && ((post) => keeper.seat(model, modelClass, post)),
    onChange: (change) => {
      if (change.kind === 'ready') ready.resolve();
    },
  });
  started.push(host);
  host.start();
  await ready.promise;
  return host;
}

/** Runs a generation; `onToken` hears of each step of it. Resolves to how it ended. */
function generate(
  host: HostSupervisor,
  id: string,
  { tokens, onToken }: { tokens: number; onToken: () => void },
): Promise<string> {
  return new Promise((resolve) => {
    host.submit(id, request(tokens), (event) => {
      if (event.kind === 'delta') onToken();
      if (event.kind === 'end') resolve(event.outcome.kind);
    });
  });
}

const timeOf = (keeper: TurnKeeper, c: ModelClass): ClassTime | undefined =>
  keeper.view().classes.find((time) => time.class === c);

/** Steps of the flood between two neighbouring steps of the stream, while both run. */
async function interleaving(keeper: TurnKeeper | null): Promise<number[]> {
  const chat = await hostOf('chat', { class: 'chat', stepMs: 24, keeper });
  const embed = await hostOf('embed', { class: 'embed', stepMs: 3, keeper });
  const between: number[] = [];
  let flood = 0;
  const flooding = generate(embed, 'flood', { tokens: 4000, onToken: () => (flood += 1) });
  let last: number | null = null;
  const stream = await generate(chat, 'stream', {
    tokens: 40,
    onToken: () => {
      if (last !== null) between.push(flood - last);
      last = flood;
    },
  });
  expect(stream).toBe('finished');
  embed.cancel('flood', 'client_closed');
  expect(await flooding).toBe('cancelled');
  return between;
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

describe('two models of one machine', () => {
  it('a flood takes its share between the steps of a stream, not all that it could', async () => {
    const keeper = new TurnKeeper(defaultPolicy(1), systemClock);
    const without = await interleaving(null);
    const shared = await interleaving(keeper);
    // A step of 24 ms leaves 24/3 steps of the flood without the arbiter, 0.2 · 24/3 with it.
    // Timers of a busy machine fire late, which only lowers the first figure.
    expect(mean(shared)).toBeGreaterThan(0.3);
    expect(mean(shared)).toBeLessThan(mean(without) / 1.5);
    expect(mean(shared)).toBeLessThan(3);
    const [chat, embed] = [timeOf(keeper, 'chat'), timeOf(keeper, 'embed')];
    expect(chat?.turns).toBeGreaterThan(20);
    expect(embed?.turns).toBeGreaterThan(10);
    expect(chat?.grantedMs).toBeGreaterThan(embed?.grantedMs ?? 0);
    expect(keeper.view().strays).toBe(0);
  });

  it('a stream goes on when the host that shares its machine is killed', async () => {
    const keeper = new TurnKeeper(defaultPolicy(1), systemClock);
    const chat = await hostOf('chat', { class: 'chat', stepMs: 5, keeper });
    const embed = await hostOf('embed', { class: 'embed', stepMs: 5, keeper });
    const flooding = generate(embed, 'flood', { tokens: 4000, onToken: () => undefined });
    let tokens = 0;
    const stream = generate(chat, 'stream', {
      tokens: 100,
      onToken: () => {
        tokens += 1;
        if (tokens === 20) process.kill(embed.pid ?? 0, 'SIGKILL');
      },
    });
    expect(await flooding).toBe('failed');
    expect(await stream).toBe('finished');
    expect(timeOf(keeper, 'chat')?.waiting).toBe(0);
    expect(timeOf(keeper, 'embed')?.overdue).toBe(0);
  });
});

describe('the priority of a host', () => {
  it('is that of its class where models share a machine', async () => {
    const keeper = new TurnKeeper(defaultPolicy(1), systemClock);
    const nicenessOf = async (c: ModelClass, turns: TurnKeeper | null): Promise<number> => {
      const { pid } = await hostOf(c, { class: c, stepMs: 1, keeper: turns });
      return os.getPriority(pid ?? 0) - os.getPriority();
    };
    expect(await nicenessOf('chat', keeper)).toBe(0);
    expect(await nicenessOf('guard', keeper)).toBe(0);
    // 19 is the highest there is, also for a test that is nice itself.
    const flood = Math.min(10, 19 - os.getPriority());
    expect(await nicenessOf('rerank', keeper)).toBe(flood);
    expect(await nicenessOf('embed', keeper)).toBe(flood);
    expect(await nicenessOf('embed', null)).toBe(0);
  });
});

describe('TurnKeeper', () => {
  it('tells a host to ask, forgets it when it is gone, and ignores what comes after', () => {
    const clock = new ManualClock();
    const keeper = new TurnKeeper(defaultPolicy(1), clock);
    const orders: TurnOrder[] = [];
    const seat = keeper.seat('a', 'chat', (order) => orders.push(order));
    expect(orders).toEqual([{ type: 'turn', order: 'hold' }]);
    const need = { stepMs: 5, leastMs: 5 };
    seat.heard({ type: 'turn', say: 'woke', need });
    expect(orders[1]).toEqual({ type: 'turn', order: 'go', turn: 1, ms: Infinity });
    seat.gone();
    seat.gone();
    seat.heard({ type: 'turn', say: 'woke', need });
    expect(orders).toHaveLength(2);
    const next = keeper.seat('a', 'chat', (order) => orders.push(order));
    next.heard({ type: 'turn', say: 'woke', need });
    expect(orders).toHaveLength(4);
    next.gone();
    expect(keeper.view().strays).toBe(0);
  });

  it('lets as many compute at once as have cores of their own', () => {
    const llama = (threads: number | null): EngineSpec => ({
      kind: 'llama',
      path: '',
      threads,
      gpuLayers: 0,
      cacheType: 'f16',
      stepTokensMax: 1,
    });
    expect(concurrencyOf([llama(2), llama(4)], 8)).toBe(2);
    expect(concurrencyOf([llama(2), llama(null)], 8)).toBe(1);
    expect(concurrencyOf([llama(6)], 8)).toBe(1);
    expect(concurrencyOf([llama(1), specOf('sim', 1).engine], 8)).toBe(1);
  });
});
