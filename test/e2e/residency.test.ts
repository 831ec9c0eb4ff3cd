/**
 * Many models in one small pool, with real processes under a bound that makes over-commit fatal:
 * random requests, loads, unloads, pins and kills. Nothing dies that should not, only a killed
 * host's requests fail, the ledger balances.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { linuxFootprint } from '../../src/pool/footprint.ts';
import { type PoolBody, type PoolModelBody, poolSchema } from '../../src/wire/admin.ts';
import { boundMemory, type MemoryBound } from './memory-bound.ts';
import { configuration, startServer, stopAll, type TestServer, until } from './server.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const POOL_MB = 400;
/** For what the kernel counts beside proportional sizes: the front had its memory before. */
const BESIDE_MB = 80;
/** Together they would need about 1.2 GB. */
const CONFIGURATION = `
pool:
  memory: ${POOL_MB}MB
  floors: { embed: 95MB }
# Hosts are born in the bound: what was taken before would not count.
defaults: { engine: { threads: 1 }, wait_ms_max: 20000, preload: false }
models:
  - { model: "synthetic:small", id: chat, context: 2048 }
  - { model: "synthetic:tiny-bert", id: embedder }
  - { model: "synthetic:small", id: long, context: 8192 }
  - { model: "synthetic:small", id: longer, context: 8192 }
  - { model: "synthetic:small", id: longest, context: 8192 }
  - { model: "synthetic:tiny", id: judge, context: 4096, class: guard, ttl: 3s }
`;
const IDS = ['chat', 'embedder', 'long', 'longer', 'longest', 'judge'];
const ROUNDS = 80;
/** What a request may be told, beside its reply, in a pool that is too small for all. */
const REFUSALS = new Set(['pool_full', 'wait_expired', 'model_unavailable', 'model_loading']);

let server: TestServer;
let bound: MemoryBound | null = null;

beforeAll(async () => {
  server = await startServer(await configuration(CONFIGURATION));
  const limitBytes = (POOL_MB + BESIDE_MB) * 1e6;
  bound = boundMemory(server.launched.pid, limitBytes);
});
afterAll(async () => {
  await stopAll();
  bound?.remove();
});

const pool = async (): Promise<PoolBody> =>
  poolSchema.parse(await (await fetch(`${server.url}/admin/pool`)).json());

/** `200`, or the code of the error. */
async function outcome(path: string, body: unknown): Promise<string> {
  const reply = await server.post(path, body);
  const text = await reply.text();
  if (reply.status === 200) return '200';
  const error = (JSON.parse(text) as { error?: { code?: string } }).error;
  return error?.code ?? `status ${reply.status}`;
}

class Commotion {
  readonly rng: Prng;
  readonly killed = new Map<string, number>();
  readonly outcomes = new Map<string, number>();
  readonly #ids = IDS;
  readonly #under: Promise<void>[] = [];

  constructor(seed: number) {
    this.rng = new Prng(seed);
  }

  async round(): Promise<void> {
    const roll = this.rng.float();
    const id = this.rng.pick(this.#ids);
    if (roll < 0.55) this.#request(id);
    else if (roll < 0.63) this.#admin(id, 'load');
    else if (roll < 0.75) this.#admin(id, 'unload');
    else if (roll < 0.8) this.#admin(id, this.rng.pick(['pin', 'unpin']));
    else if (roll < 0.88) await this.#kill(id);
    else await this.#quiet();
    this.#check(await pool());
  }

  async end(): Promise<void> {
    await this.#quiet();
  }

  #request(id: string): void {
    const tokens = this.rng.int(1, 120);
    const messages = [{ role: 'user', content: 'of many models' }];
    const chat = { model: id, messages, max_completion_tokens: tokens, ignore_eos: true };
    const isEncoder = id === 'embedder';
    const path = isEncoder ? '/v1/embeddings' : '/v1/chat/completions';
    const body = isEncoder ? { model: id, input: ['one', 'two'] } : chat;
    const judge = id === 'judge' ? '/v1/moderations' : path;
    const asked = id === 'judge' ? { model: id, input: 'is this safe?' } : body;
    this.#under.push(this.#await(id, { path: judge, body: asked }));
  }

  async #await(id: string, request: { path: string; body: unknown }): Promise<void> {
    const code = await outcome(request.path, request.body);
    this.#count(`${request.path} ${code}`);
    if (code === '200' || REFUSALS.has(code)) return;
    expect(code, `${id} ${request.path}`).toBe('host_crashed');
    expect(this.killed.get(id) ?? 0, `${id} was not killed`).toBeGreaterThan(0);
  }

  #admin(id: string, deed: string): void {
    const done = outcome(`/admin/models/${id}/${deed}`, {}).then((code) => {
      this.#count(`${deed} ${code}`);
      expect(['200', 'model_in_use', ...REFUSALS], `${deed} ${id}`).toContain(code);
    });
    this.#under.push(done);
  }

  async #kill(id: string): Promise<void> {
    const { pid } = (await pool()).models.find((model) => model.id === id) ?? { pid: null };
    if (pid === null) return;
    this.killed.set(id, (this.killed.get(id) ?? 0) + 1);
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // It left between the two.
      expect(error).toMatchObject({ code: 'ESRCH' });
    }
  }

  /** Everything that is under way ends. */
  async #quiet(): Promise<void> {
    await Promise.all(this.#under.splice(0));
  }

  #count(what: string): void {
    this.outcomes.set(what, (this.outcomes.get(what) ?? 0) + 1);
  }

  #check({ available_bytes, reserved_bytes, models, floors }: PoolBody): void {
    const sum = models.reduce((total, model) => total + model.reserved_bytes, 0);
    expect(reserved_bytes).toBe(sum);
    const embedders = models.filter((model) => model.class === 'embed');
    const used = embedders.reduce((total, model) => total + model.reserved_bytes, 0);
    const kept = sum - used + Math.max(used, floors.embed ?? 0);
    expect(kept).toBeLessThanOrEqual(available_bytes);
    for (const model of models) {
      const isHeld = model.state !== 'unloaded';
      expect(model.reserved_bytes, model.id).toBe(isHeld ? model.needed_bytes : 0);
    }
  }
}

it('holds through random requests, loads, unloads, pins and kills', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`seed ${seed} (SEED=${seed} repeats its choices)`);
  const commotion = new Commotion(seed);
  for (let round = 0; round < ROUNDS; round++) await commotion.round();
  await commotion.end();
  const kills = [...commotion.killed.values()].reduce((sum, count) => sum + count, 0);
  const deaths = server.launched.log('host died').length;
  console.log(Object.fromEntries(commotion.outcomes), { kills, deaths, oom: bound?.kills() });
  // Nobody dies but those who were killed, and each death is of one host.
  expect(deaths).toBeLessThanOrEqual(kills);
  expect(bound?.kills() ?? 0).toBe(0);
  expect(commotion.outcomes.get('/v1/chat/completions 200')).toBeGreaterThan(0);
  expect(commotion.outcomes.get('/v1/embeddings 200')).toBeGreaterThan(0);
});

it('and afterwards every model serves, and the books agree with the system', async () => {
  for (const id of IDS) await outcome(`/admin/models/${id}/unpin`, {});
  const messages = [{ role: 'user', content: 'still there?' }];
  for (const model of ['long', 'chat']) {
    await until(`${model} serves`, server.launched, async () => {
      return (await outcome('/v1/chat/completions', { model, messages, max_tokens: 2 })) === '200';
    });
  }
  expect(await outcome('/v1/embeddings', { model: 'embedder', input: 'x' })).toBe('200');
  const { models } = await pool();
  const measured = async ({ pid }: PoolModelBody): Promise<number> =>
    pid === null ? 0 : ((await linuxFootprint(pid, '/proc').look())?.bytes ?? 0);
  for (const model of models.filter(({ state }) => state === 'resident')) {
    if (process.platform === 'linux') {
      expect(await measured(model), model.id).toBeLessThan(1.15 * model.needed_bytes);
    }
    expect(model.in_use, model.id).toBe(0);
  }
  for (const id of IDS) {
    expect(await outcome(`/admin/models/${id}/unload`, {}), id).toBe('200');
  }
  expect((await pool()).reserved_bytes).toBe(0);
});
