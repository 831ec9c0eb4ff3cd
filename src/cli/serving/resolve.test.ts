import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { NO_FLAGS } from '../../config/layers.ts';
import { loadConfig } from '../../config/load.ts';
import { resolveModels } from './resolve.ts';

const home = await mkdtemp(join(tmpdir(), 'plenum-resolve-'));
afterAll(() => rm(home, { recursive: true, force: true }));

async function names(yaml: string): Promise<{ id: string; aliases: readonly string[] }[]> {
  await writeFile(join(home, 'plenum.yaml'), yaml);
  const { config } = loadConfig({ flags: NO_FLAGS, env: { PLENUM_HOME: home }, cwd: home });
  const found = await resolveModels(config, {
    ensure: { home, env: {}, cwd: home },
    onStandIn: () => undefined,
  });
  return found.map(({ served: { id, aliases } }) => ({ id, aliases }));
}

it('a model answers to the reference that it was served by', async () => {
  expect(await names('models: [{ model: synthetic:tiny }]')).toEqual([
    { id: 'synthetic-tiny', aliases: ['synthetic:tiny'] },
  ]);
});

it('one that was given a name answers to that and its aliases', async () => {
  expect(await names('models: [{ model: synthetic:tiny, id: mine, aliases: [ours] }]')).toEqual([
    { id: 'mine', aliases: ['ours'] },
  ]);
});

it('the same model may be served twice under names of its own', async () => {
  const yaml = 'models: [{ model: synthetic:tiny }, { model: synthetic:tiny, id: other }]';
  expect((await names(yaml)).map(({ id }) => id)).toEqual(['synthetic-tiny', 'other']);
});
