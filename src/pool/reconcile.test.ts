/** When a prediction of bytes is called wrong, and what counts as used. */
import { describe, expect, it } from 'vitest';
import { ENCODE_LIMITS } from '../wire/host.ts';
import type { ByteItem } from '../wire/pool.ts';
import type { LoadReport } from '../wire/report.ts';
import { bytesInUse, Exercise, misprediction } from './reconcile.ts';

const item = (name: string, bytes: number): ByteItem => ({ name, bytes, source: 'test' });
/** 100 in all: 40 are there from the start, 40 come with cells, 20 with large steps. */
const items = [
  item('weights', 30),
  item('host process', 10),
  item('KV cache', 40),
  item('compute buffers', 15),
  item('output rows', 5),
];

const report = (given: {
  readonly cells?: { readonly total: number; readonly free: number };
  readonly steps?: number;
  readonly read?: number;
}): LoadReport => ({
  waiting: 0,
  running: 0,
  runningMax: 1,
  queueMax: 1,
  predictedWaitMs: 0,
  cells: { total: 0, free: 0, cached: 0, held: 0, ...given.cells },
  steps: {
    count: given.steps ?? 0,
    predictedMsSum: 0,
    measuredMsSum: 0,
    ratio: 1,
    overheadMsSum: 0,
  },
  tokens: { promptCached: 0, promptComputed: given.read ?? 0, generated: 0 },
  preemptions: 0,
  memory: { rssBytes: 0 },
});

describe('a prediction is called wrong', () => {
  const found = (bytes: number, wholeBytes: number | null, share: number) =>
    misprediction({ bytes, wholeBytes }, { items, share });

  it('at once when even the split count is more than 5 % above it', () => {
    expect(found(105, 200, 0)).toBeNull();
    expect(found(105.1, 200, 0)).toBe('above');
    expect(found(106, null, 1)).toBe('above');
  });

  it('when even the whole count is more than 5 % below what is in use for sure', () => {
    expect(found(10, 39, 0)).toBeNull();
    expect(found(10, 37, 0)).toBe('below');
    expect(found(10, 57.1, 0.5)).toBeNull();
    expect(found(10, 56.9, 0.5)).toBe('below');
    expect(found(10, 95, 1)).toBeNull();
    expect(found(10, 94.9, 1)).toBe('below');
    expect(found(10, 94.9, 0.89)).toBeNull();
  });

  it('never for too little where the system does not count shared pages', () => {
    expect(found(1, null, 1)).toBeNull();
  });
});

describe('in use for sure', () => {
  it('are weights and process, the cache by its cells, the buffers of a host that was full', () => {
    expect(bytesInUse({ items, share: 0 })).toBe(40);
    expect(bytesInUse({ items, share: 0.25 })).toBe(50);
    expect(bytesInUse({ items, share: 0.9 })).toBe(100);
  });
});

describe('what a host has used of its declaration', () => {
  const exercise = (): Exercise => new Exercise({ contextTokens: 512, encode: ENCODE_LIMITS });

  it('is the most cells that were ever taken, cached ones with them', () => {
    const one = exercise();
    expect(one.share).toBe(0);
    one.sample(report({ cells: { total: 1000, free: 400 } }));
    one.sample(report({ cells: { total: 1000, free: 900 }, steps: 10, read: 99_999 }));
    expect(one.share).toBe(0.6);
  });

  it('is of an encoder the mean batch of its best while: its largest was no smaller', () => {
    const one = exercise();
    one.sample(report({ steps: 10, read: 10 * 128 }));
    expect(one.share).toBe(0.25);
    one.sample(report({ steps: 10, read: 10 * 128 }));
    one.sample(report({ steps: 12, read: 10 * 128 + 2 * 512 }));
    one.sample(report({ steps: 99, read: 10 * 128 + 2 * 512 + 87 }));
    expect(one.share).toBe(1);
  });
});
