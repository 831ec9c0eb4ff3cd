/** This machine without --machine: from its profile, or told to measure. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { defaultThreads } from '../../engine/llama/threads.ts';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import { parseSynthSpec, synthesize } from '../../model/synth.ts';
import { availableMemory } from '../../planner/available.ts';
import { PROFILE } from '../../planner/profile-fixture.ts';
import { setupMemory } from '../../planner/setup.ts';
import type { MachineProfile } from '../../wire/profile.ts';
import { fakeContext } from '../fixture.ts';
import { ENGINE_HERE, identityHere } from '../measure/identity.ts';
import { saveProfile } from '../measure/store.ts';
import { fitModels } from './fit.ts';
import { machineHere, memoryHere } from './here.ts';
import { planFor } from './plan.ts';

let home = '';

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'plenum-here-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const planHere = async () => {
  const context = fakeContext({ env: { PLENUM_HOME: home }, cwd: home });
  await planFor(['synthetic:probe-dense@q4_0'], { json: true }, context);
  const row = z.object({
    machine: z.string(),
    speed: z.object({ decodeTps: z.number(), prefillTps: z.number() }),
  });
  return z.tuple([row]).parse(JSON.parse(context.out))[0];
};

const profileHere = async (): Promise<MachineProfile> => ({
  ...PROFILE,
  machine: await identityHere(),
  engine: ENGINE_HERE,
  threads: defaultThreads(),
});

it('is planned from its profile, faster where the profile is faster', async () => {
  const profile = await profileHere();
  await saveProfile(home, profile);
  const before = await planHere();
  expect(before.machine).toBe('this-machine');
  const bandwidth = { ...profile.bandwidth, bytesPerSecond: 10 * profile.bandwidth.bytesPerSecond };
  await saveProfile(home, { ...profile, bandwidth, opsPerSecond: 10 * profile.opsPerSecond });
  const after = await planHere();
  expect(after.speed.decodeTps).toBeGreaterThan(5 * before.speed.decodeTps);
  expect(after.speed.prefillTps).toBeGreaterThan(5 * before.speed.prefillTps);
});

const UNKNOWN = { ...loadCatalogue(), machines: [] };

it('is to be measured where there is neither a profile nor an entry of the catalogue', async () => {
  const asked = machineHere(UNKNOWN, { home });
  await expect(asked).rejects.toThrow(
    /has not been measured; plenum measure --threads \d+ measures it/,
  );
});

it('says what is wrong with a profile', async () => {
  const path = await saveProfile(home, await profileHere());
  await writeFile(path, 'nonsense');
  const asked = machineHere(UNKNOWN, { home });
  await expect(asked).rejects.toThrow(/not JSON.*plenum measure --threads \d+ measures it/);
});

it('is planned with the profile of as many threads as are asked for, and says which', async () => {
  const threads = defaultThreads() + 1;
  await saveProfile(home, { ...(await profileHere()), threads });
  const asked = machineHere(UNKNOWN, { home });
  await expect(asked).rejects.toThrow(`it is of ${threads} threads, not of ${threads - 1}`);
  const setup = await machineHere(UNKNOWN, { home, threads });
  expect(setup.measured).toMatch(
    `of 2026-11-27: ${threads} threads, plain attention over a cache for each sequence, haswell`,
  );
});

it('counts of a file that is here what its engine would allocate, as fit does', async () => {
  await saveProfile(home, await profileHere());
  const path = join(home, 'quantised.gguf');
  await synthesize(parseSynthSpec('smollm2-135m@q4_0'), path);
  const item = z.object({ name: z.string(), bytes: z.number(), source: z.string() });
  const shape = { context: '512', json: true } as const;
  const here = (): ReturnType<typeof fakeContext> =>
    fakeContext({ env: { PLENUM_HOME: home }, cwd: home });
  const [planning, fitting] = [here(), here()];
  const traffic = { promptTokens: '64', outputTokens: '16', users: '4' };
  await planFor([path], { ...shape, ...traffic }, planning);
  await fitModels([path], { ...shape, parallel: '4' }, fitting);
  const row = z.object({ memory: z.object({ neededBytes: z.number(), items: z.array(item) }) });
  const [plan] = z.tuple([row]).parse(JSON.parse(planning.out));
  const { models } = z
    .object({ models: z.tuple([z.object({ neededBytes: z.number() })]) })
    .parse(JSON.parse(fitting.out));
  expect(plan.memory.neededBytes).toBe(models[0].neededBytes);
  const simulated = plan.memory.items.filter(({ source }) => source.includes('simulated'));
  expect(simulated.map(({ name }) => name)).toContain('compute buffers');
  // ggml lays Q4_0 out anew on every processor that it has kernels for.
  if (process.platform !== 'linux' || process.arch !== 'x64') return;
  expect(simulated.map(({ name }) => name)).toContain('repacked weights');
});

it('has the memory that the pool would have', async () => {
  await saveProfile(home, await profileHere());
  const setup = await machineHere(UNKNOWN, { home });
  const facts = await memoryHere();
  const planned = setupMemory(setup);
  const served = availableMemory(facts);
  expect(planned.source).toBe(served.source);
  // Between the two readings others take and give back some of it.
  expect(planned.availableBytes / served.availableBytes).toBeCloseTo(1, 1);
});
