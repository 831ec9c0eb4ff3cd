/** What the engine says of a load that is only simulated, in a process of its own. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { geometryOf } from '../model/geometry.ts';
import { inspectGguf } from '../model/gguf.ts';
import { ensureSynthetic } from '../model/synth.ts';
import { byteItems, hostNeed } from '../planner/host-need.ts';
import { ENCODE_LIMITS, type HostSpec } from '../wire/host.ts';
import { weighHost } from './weigh.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-weigh-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const specOf = (path: string, role: HostSpec['role']): HostSpec => ({
  modelId: 'm',
  role,
  engine: { kind: 'llama', path, threads: 1, gpuLayers: 0, cacheType: 'f16', stepTokensMax: 512 },
  contextTokens: 512,
  parallel: 2,
  cells: 1024,
  queueMax: 1,
  waitMsMax: 1,
  stepTargetMs: null,
  prefixCache: true,
  heartbeatMs: 1000,
  encode: ENCODE_LIMITS,
});

it('has the cache that the arithmetic has, and is remembered', async () => {
  const spec = specOf(await ensureSynthetic('tiny', folder), 'generate');
  const memory = join(folder, 'weighed');
  const weighed = await weighHost(spec, { memory });
  const geometry = geometryOf(
    await inspectGguf(spec.engine.kind === 'llama' ? spec.engine.path : ''),
  );
  const planned = hostNeed(spec, geometry, null);
  const cache = planned.items.find(({ name }) => name === 'KV cache');
  if (!('allocation' in weighed)) throw new Error(weighed.reason);
  const { cacheBytes, computeBytes } = weighed.allocation;
  if (cacheBytes !== null) expect(cacheBytes).toBe(cache?.bytes);
  expect(computeBytes).toBeGreaterThan(1e6);
  const [name = ''] = await readdir(memory);
  const remembered = { onGpu: true, repackedBytes: 7, cacheBytes: 8, computeBytes: 9 };
  await writeFile(join(memory, name), JSON.stringify(remembered));
  expect(await weighHost(spec, { memory })).toEqual({ allocation: remembered });
  await writeFile(join(memory, name), '{"damaged');
  expect(await weighHost(spec, { memory })).toEqual(weighed);
  expect(JSON.parse(await readFile(join(memory, name), 'utf8'))).toEqual(weighed.allocation);
  const items = byteItems(hostNeed(spec, geometry, weighed.allocation), spec);
  expect(items.map((item) => item.name)).toContain('prefix cache');
  expect(items.find((item) => item.name === 'compute buffers')?.source).toContain('simulated');
});

// The account by kinds of buffer is read on Linux alone; which weights are copied depends on the
// processor.
it.runIf(process.platform === 'linux' && process.arch === 'x64')(
  'counts the copy that a processor makes of 4-bit weights, also of those with a tied head',
  async () => {
    const path = await ensureSynthetic('smollm2-135m@q4_0', folder);
    const spec = specOf(path, 'generate');
    const weighed = await weighHost(spec, { memory: join(folder, 'weighed-copies') });
    if (!('allocation' in weighed)) throw new Error(weighed.reason);
    const { size } = await stat(path);
    expect(weighed.allocation.repackedBytes).toBeGreaterThan(0.5 * size);
    expect(weighed.allocation.repackedBytes).toBeLessThan(1.3 * size);
  },
);

it('of a model of vectors has a row of the vocabulary for each token of a batch', async () => {
  const path = await ensureSynthetic('tiny-bert', folder);
  const weighed = await weighHost(specOf(path, 'encode'), { memory: null });
  if (!('allocation' in weighed)) throw new Error(weighed.reason);
  const geometry = geometryOf(await inspectGguf(path));
  const { items } = hostNeed(specOf(path, 'encode'), geometry, weighed.allocation);
  const rows = items.find(({ name }) => name === 'output rows')?.bytes;
  expect(rows).toBe(512 * (geometry.vocab + geometry.width) * 4);
});

it('is a reason and no error for a file that the engine cannot read, and for the simulator', async () => {
  const path = join(folder, 'not-a-model.gguf');
  await writeFile(path, 'GGUF and nothing more');
  expect(await weighHost(specOf(path, 'generate'), { memory: null })).toHaveProperty('reason');
  const missing = specOf(join(folder, 'missing.gguf'), 'generate');
  expect(await weighHost(missing, { memory: folder })).toHaveProperty('reason');
});
