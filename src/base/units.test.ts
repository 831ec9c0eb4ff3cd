import { expect, test } from 'vitest';
import { ManualClock, systemClock } from './clock.ts';
import { formatBytes, formatMillis } from './units.ts';

test.each([
  [0, '0 B'],
  [1, '1 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [999_499, '999 kB'],
  [999_500, '1.00 MB'],
  [1_234_567_890, '1.23 GB'],
  [55_662_790_000, '55.7 GB'],
  [999_600_000_000, '1.00 TB'],
  [1.5e15, '1.50 PB'],
  [-2_500_000, '-2.50 MB'],
])('%d bytes are shown as %s', (bytes, shown) => {
  expect(formatBytes(bytes)).toBe(shown);
});

test.each([
  [0, '0 ms'],
  [0.0123, '0.0123 ms'],
  [12.3, '12.3 ms'],
  [999, '999 ms'],
  [999.9, '1.00 s'],
  [1000, '1.00 s'],
  [1500, '1.50 s'],
  [59_990, '1 min 0 s'],
  [83_000, '1 min 23 s'],
  [119_700, '2 min 0 s'],
  [3_600_000, '60 min 0 s'],
])('%d milliseconds are shown as %s', (ms, shown) => {
  expect(formatMillis(ms)).toBe(shown);
});

test('a manual clock moves when it is told to; the system’s never goes back', () => {
  const clock = new ManualClock();
  expect(clock.now()).toBe(0);
  clock.advance(12.5);
  clock.advance(1);
  expect(clock.now()).toBe(13.5);
  const before = systemClock.now();
  expect(systemClock.now()).toBeGreaterThanOrEqual(before);
});
