/** How long work takes by the clock, of what was predicted. */
import { describe, expect, it } from 'vitest';
import { Pace } from './encode-pace.ts';

describe('the pace', () => {
  it('is that of the prediction before anything is known, and never quicker', () => {
    const pace = new Pace();
    expect(pace.factor).toBe(1);
    pace.batch(5, 10);
    expect(pace.factor).toBe(1);
  });

  it('is weighed by the length of batches', () => {
    const pace = new Pace();
    pace.batch(100, 100);
    pace.batch(3, 1);
    expect(pace.factor).toBeCloseTo((90 + 3) / (90 + 1));
  });

  it('follows what changes within tens of batches', () => {
    const pace = new Pace();
    for (let i = 0; i < 100; i++) pace.batch(10, 10);
    for (let i = 0; i < 7; i++) pace.batch(30, 10);
    expect(pace.factor).toBeGreaterThan(2);
    for (let i = 0; i < 50; i++) pace.batch(10, 10);
    expect(pace.factor).toBeLessThan(1.05);
  });
});
