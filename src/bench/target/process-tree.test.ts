/** What systems say of processes, read as they write it. */
import { describe, expect, it } from 'vitest';
import {
  parseClockMs,
  parseFootprintBytes,
  parsePs,
  parsePssBytes,
  parseStatCpuMs,
  treeUse,
} from './process-tree.ts';

describe('process-tree', () => {
  it('reads Linux', () => {
    const stat = '42 (a) (b c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 7 3 20 0 1 0 9 10 11';
    expect(parseStatCpuMs(stat)).toBe(2100);
    expect(parseStatCpuMs('')).toBeNull();
    expect(parsePssBytes('Rss:  16 kB\nPss:   12 kB\nPss_Anon: 4 kB\n')).toBe(12_288);
    expect(parsePssBytes('')).toBe(0);
  });

  it('reads ps and footprint of macOS', () => {
    const rows = '  1 0 10 0:01.50\n 20 1 100 1-02:03:04\n 30 20 50 0:02\n 40 2 9 0:01\n';
    expect(parsePs(rows, 20).map(({ pid }) => pid)).toEqual([20, 30]);
    expect(parsePs(rows, 99)).toEqual([]);
    expect(parseClockMs('0:01.50')).toBe(1500);
    expect(parseClockMs('1-02:03:04')).toBe(93_784_000);
    expect(
      parseFootprintBytes('x [1]: 64-bit\n  phys_footprint: 100 B\n  phys_footprint: 5 B\n'),
    ).toBe(105);
    expect(parseFootprintBytes('no permission')).toBeNull();
  });

  it('counts this process, and nothing of one that is not there', async () => {
    expect(await treeUse(process.pid)).toMatchObject({ processes: expect.any(Number) });
    expect((await treeUse(process.pid))?.memoryBytes).toBeGreaterThan(1e6);
    expect(await treeUse(2 ** 22 + 5)).toBeNull();
  });
});
