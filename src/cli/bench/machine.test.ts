/** The machine of a report: whatever the system's programs do, it is there in a moment. */
import { describe, expect, it } from 'vitest';
import { machineSchema } from '../../bench/result.ts';
import { benchMachine, graphicsName } from './machine.ts';

const found = (...controllers: { vendor: string; model: string; cores?: number }[]) =>
  graphicsName(() => Promise.resolve({ controllers }));

describe('the graphics processor of a report', () => {
  it('has its maker once, its cores where they are known, and is one of several', async () => {
    const apple = { vendor: 'Apple', model: 'Apple M4 Max', cores: 40 };
    expect(await found(apple)).toBe('Apple M4 Max (40 cores)');
    expect(
      await found(
        { vendor: 'NVIDIA Corporation', model: 'GB10' },
        { vendor: 'Advanced Micro Devices, Inc. [AMD/ATI] ', model: ' Strix Halo ', cores: 0 },
      ),
    ).toBe('NVIDIA Corporation GB10, Advanced Micro Devices, Inc. [AMD/ATI] Strix Halo');
    expect(await found({ vendor: '', model: 'virtio' }, { vendor: '', model: '' })).toBe('virtio');
  });

  it('is null where there is none, where nobody can say, and where it takes too long', async () => {
    expect(await found()).toBeNull();
    expect(await graphicsName(() => Promise.reject(new Error('no lspci')))).toBeNull();
    expect(
      await graphicsName(() => {
        throw new Error('not on this system');
      }),
    ).toBeNull();
    expect(await graphicsName(() => new Promise(() => undefined), 10)).toBeNull();
  });
});

it('the machine that this runs on is one that a report can have', async () => {
  const machine = await benchMachine();
  expect(machineSchema.parse(machine)).toEqual(machine);
  expect(machine.cores).toBeGreaterThan(0);
});
