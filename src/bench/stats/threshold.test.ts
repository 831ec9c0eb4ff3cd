import { describe, expect, it } from 'vitest';
import { noisyReport } from './fixture-noise.ts';
import { summarise } from './summary.ts';
import { heldBySummaries, judgeThreshold, parseThreshold, ratioOf } from './threshold.ts';

describe('a threshold', () => {
  it.each([
    ['ttft.p95<500ms', { metric: 'ttft', statistic: 'p95', operator: '<', limit: 500 }],
    ['TTFT.P95 <= 0.5 s', { metric: 'ttft', statistic: 'p95', operator: '<=', limit: 500 }],
    ['outputRate>100tok/s', { metric: 'outputRate', statistic: 'value', limit: 100 }],
    ['errorShare<1%', { metric: 'errorShare', limit: 0.01 }],
    ['memoryPeak<2GB', { metric: 'memoryPeak', limit: 2e9 }],
  ])('%s is of a value', (text, expected) => {
    expect(parseThreshold(text)).toMatchObject({ ...expected, of: 'value' });
  });

  it('without a unit is of the ratio to the baseline', () => {
    expect(parseThreshold('ttft.p95<1.1')).toMatchObject({ of: 'ratio', limit: 1.1 });
  });

  it.each([
    ['ttft.p95', /is no threshold; write 'ttft.p95<500ms'/],
    ['ttft.p95<-1', /is no threshold/],
    ['tfft.p95<1', /there is no metric 'tfft'; did you mean 'ttft'\?/],
    ['ttft<1', /ttft has several values; write one of ttft.mean, ttft.p50/],
    ['ttft.p96<1', /no 'ttft.p96'; write one of/],
    ['ttft.p95<1tok/s', /ttft is not in tok\/s; its units: ms, s, us/],
  ])('%s is refused with what would be right', (text, message) => {
    expect(() => parseThreshold(text)).toThrow(message);
  });

  const report = noisyReport({ seed: 1, repetitions: 3, factor: 2, noise: 0.01 });
  const summaries = summarise(report);
  const judge = (text: string) => {
    const threshold = parseThreshold(text);
    return judgeThreshold(threshold, heldBySummaries(threshold, summaries)).map(
      ({ target, outcome }) => [target, outcome],
    );
  };

  it('is held against every target, a ratio against all but the baseline', () => {
    expect(judge('ttft.p50<300ms')).toEqual([
      ['a', 'kept'],
      ['b', 'broken'],
    ]);
    expect(judge('ttft.p50<1.9')).toEqual([['b', 'broken']]);
    expect(judge('ttft.p50<2.1')).toEqual([['b', 'kept']]);
    expect(judge('outputRate>=1tok/s')).toHaveLength(2);
  });

  it('is not kept by what was not measured', () => {
    expect(judge('goodput>1req/s')).toEqual([
      ['a', 'unknown'],
      ['b', 'unknown'],
    ]);
  });

  it('takes no failures at both as a ratio of 1', () => {
    expect([ratioOf(0, 0), ratioOf(1, 0), ratioOf(null, 1), ratioOf(3, 2)]).toEqual([
      1,
      Number.POSITIVE_INFINITY,
      null,
      1.5,
    ]);
  });
});
