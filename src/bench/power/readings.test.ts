import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  joulesOf,
  macmonWatts,
  nvidiaWatts,
  parseRapl,
  powermetricsWatts,
  type RaplCounter,
  raplJoules,
} from './readings.ts';

const counter = (id: string, name: string, energy: number): RaplCounter => {
  const files = { name: `${name}\n`, energy: `${energy}\n`, max: '262143328850\n' };
  const parsed = parseRapl(id, files);
  if (parsed === null) throw new Error('the fixture is no counter');
  return parsed;
};

describe('RAPL', () => {
  it('sums packages and memory, and counts no part twice', () => {
    const at = (joules: number): RaplCounter[] => [
      counter('intel-rapl:0', 'package-0', joules * 1e6),
      counter('intel-rapl:0:0', 'core', joules * 1e6),
      counter('intel-rapl:0:1', 'dram', joules * 1e5),
      counter('intel-rapl:1', 'package-1', joules * 2e6),
      counter('intel-rapl:2', 'psys', joules * 9e6),
    ];
    expect(raplJoules(at(100), at(110))).toBeCloseTo(10 + 1 + 20);
  });

  it('goes round once between two readings, wherever it stood', () => {
    const max = 262143328850;
    fc.assert(
      fc.property(fc.integer({ min: 0, max }), fc.integer({ min: 0, max: 1e9 }), (from, used) => {
        const before = counter('intel-rapl:0', 'package-0', from);
        const after = counter('intel-rapl:0', 'package-0', (from + used) % max);
        expect(raplJoules([before], [after])).toBeCloseTo(used / 1e6, 3);
      }),
    );
  });

  it('is unknown without a package, or when a counter goes away', () => {
    const before = [counter('intel-rapl:0', 'package-0', 1)];
    expect(raplJoules(before, [])).toBeNull();
    expect(raplJoules([], [])).toBeNull();
    const core = [counter('intel-rapl:0:0', 'core', 1)];
    expect(raplJoules(core, core)).toBeNull();
    expect(parseRapl('x', { name: 'package-0', energy: '', max: '1' })).toBeNull();
  });
});

describe('macmon', () => {
  it('gives the whole system, or the chip where that is missing', () => {
    const line = '{"temp":{"cpu_temp_avg":43.7},"all_power":4.6,"sys_power":12.25,"gpu_power":1.1}';
    expect(macmonWatts(line)).toEqual({ watts: 12.25, of: 'whole system' });
    expect(macmonWatts('{"all_power":4.6,"sys_power":0}')).toEqual({
      watts: 4.6,
      of: 'chip alone',
    });
  });

  it.each(['', '{"all_power":', 'null', '{}', '{"sys_power":"12"}'])('%j is no reading', (line) => {
    expect(macmonWatts(line)).toBeNull();
  });
});

describe('powermetrics', () => {
  it('gives the combined power of every sample', () => {
    const text = `*** Sampled system activity ***
CPU Power: 1204 mW
GPU Power: 18 mW
ANE Power: 0 mW
Combined Power (CPU + GPU + ANE): 1222 mW

*** Sampled system activity ***
Combined Power (CPU + GPU + ANE): 9500 mW
`;
    expect(powermetricsWatts(text)).toEqual([1.222, 9.5]);
    expect(powermetricsWatts('powermetrics must be invoked as the superuser')).toEqual([]);
  });
});

describe('nvidia-smi', () => {
  it('sums cards, and is unknown when one has no meter', () => {
    expect(nvidiaWatts(['71.02', ' 250.5 ', ''])).toBeCloseTo(321.52);
    expect(nvidiaWatts(['71.02', '[N/A]'])).toBeNull();
    expect(nvidiaWatts([])).toBeNull();
  });
});

describe('samples of power', () => {
  it('add up to joules, each for the time before it', () => {
    const samples = [
      { atMs: 0, watts: 999 },
      { atMs: 1000, watts: 10 },
      { atMs: 3000, watts: 20 },
      { atMs: 9000, watts: 999 },
    ];
    expect(joulesOf(samples, { fromMs: 500, toMs: 4000 })).toBeCloseTo(5 + 40 + 20);
    expect(joulesOf(samples, { fromMs: 4000, toMs: 5000 })).toBeNull();
  });
});
