import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findMeter } from './meter.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-powercap-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function counter(id: string, name: string, microjoules: number | null): Promise<void> {
  await mkdir(join(folder, id), { recursive: true });
  await writeFile(join(folder, id, 'name'), `${name}\n`);
  await writeFile(join(folder, id, 'max_energy_range_uj'), '1000000000\n');
  if (microjoules === null) return;
  await writeFile(join(folder, id, 'energy_uj'), `${microjoules}\n`);
}

// On a Mac, and where there is a card, their meters go before the counters of this test.
describe.skipIf(process.platform !== 'linux')('a meter of a Linux machine', () => {
  it('counts what the package used between start and stop, round the end too', async () => {
    await counter('intel-rapl:0', 'package-0', 999_000_000);
    await counter('intel-rapl:0:0', 'core', 0);
    const { meter } = await findMeter(folder);
    expect(meter?.name).toBe('rapl');
    const reading = await meter?.start();
    await counter('intel-rapl:0', 'package-0', 4_000_000);
    const energy = await reading?.stop();
    expect(energy).toMatchObject({ source: 'measured', joules: 5 });
    expect(energy?.wattsMean).toBeGreaterThan(0);
  });

  it('is none without counters, and the report learns why', async () => {
    expect(await findMeter(join(folder, 'none'))).toEqual({
      meter: null,
      problems: [expect.stringMatching(/^there is no .*none$/)],
    });
    await counter('intel-rapl:0', 'package-0', null);
    const found = await findMeter(folder);
    expect(found).toEqual({ meter: null, problems: ['intel-rapl:0: ENOENT'] });
  });

  it('has nothing to say when a counter goes away during the run', async () => {
    await counter('intel-rapl:0', 'package-0', 1);
    const { meter } = await findMeter(folder);
    const reading = await meter?.start();
    await rm(join(folder, 'intel-rapl:0'), { recursive: true });
    expect(await reading?.stop()).toBeNull();
  });
});
