/** Prefixes in a cache that is split: continued in their slot, or copied into another. */
import { describe, expect, test } from 'vitest';
import { Drive } from './fixture-drive.ts';
import { options, request, tokensOf } from './fixture-requests.ts';
import type { CacheOp } from './plan.ts';
import type { SchedulerRequest } from './sequence.ts';

const slots = (parallel: number, changes: object = {}): Drive =>
  new Drive(
    options({ layout: 'slots', parallel, seqsMax: parallel, cells: 1024 * parallel, ...changes }),
  );

/** Runs a request to its end; the cache operations that were done for it. */
function serve(drive: Drive, one: SchedulerRequest): CacheOp[] {
  drive.submit(one);
  const ops: CacheOp[] = [];
  while (!drive.ends.has(one.key)) ops.push(...(drive.step()?.ops ?? []));
  return ops;
}
const cachedOf = (drive: Drive, key: number): number | undefined =>
  drive.ends.get(key)?.cachedTokens;
const HEAD = tokensOf(0, 512);

describe('a split cache', () => {
  test('a conversation that goes on finds its history in its slot', () => {
    const drive = slots(4);
    serve(drive, request(1, tokensOf(1, 100)));
    serve(drive, request(2, tokensOf(2, 100)));
    const answer = drive.produced.get(1) ?? [];
    const next = [...tokensOf(1, 100), ...answer, ...tokensOf(3, 20)];
    expect(serve(drive, request(3, next))).toEqual([]);
    // The last token of the answer was never computed.
    expect(cachedOf(drive, 3)).toBe(100 + answer.length - 1);
  });

  test('eight requests with a common prefix compute it once, and copy it', () => {
    const drive = slots(8);
    for (let key = 1; key <= 8; key++) {
      drive.submit(request(key, [...HEAD, ...tokensOf(key, 24)]));
    }
    drive.drain(50);
    const { promptComputed, promptCached } = drive.scheduler.snapshot();
    expect(promptComputed + promptCached).toBe(8 * 536);
    expect(promptComputed).toBeLessThan(512 + 8 * 24 + 7 * 32);
  });

  test('a prefix of an ended request is copied, so that its own end stays cached', () => {
    const drive = slots(3);
    serve(drive, request(1, [...HEAD, ...tokensOf(1, 400)]));
    const ops = serve(drive, request(2, [...HEAD, ...tokensOf(2, 24)]));
    expect(ops).toEqual([{ op: 'share', from: 0, to: 1, count: 512 }]);
    serve(drive, request(3, [...HEAD, ...tokensOf(1, 400), ...tokensOf(3, 8)]));
    expect(cachedOf(drive, 3)).toBe(912);
  });

  test('a prefix too short to copy is kept where a newcomer’s own slot holds it', () => {
    const drive = slots(2);
    const start = tokensOf(0, 20);
    for (const key of [1, 2, 3]) {
      serve(drive, request(key, [...start, ...tokensOf(key, 100)]));
    }
    expect([1, 2, 3].map((key) => cachedOf(drive, key))).toEqual([0, 0, 20]);
  });

  test('a newcomer takes an empty slot first, then the least recently used', () => {
    const drive = slots(2);
    serve(drive, request(1, tokensOf(1, 100)));
    serve(drive, request(2, tokensOf(2, 100)));
    serve(drive, request(3, [...tokensOf(1, 100), ...tokensOf(3, 1)]));
    expect(cachedOf(drive, 3)).toBe(100);
    const ops = serve(drive, request(4, tokensOf(4, 100)));
    expect(ops).toEqual([{ op: 'truncate', seq: 1, keep: 0 }]);
    expect(serve(drive, request(5, tokensOf(1, 100)))).toHaveLength(1);
    expect(cachedOf(drive, 5)).toBe(99);
  });

  test('the only idle slot is taken over, whatever is lost', () => {
    const drive = slots(1);
    serve(drive, request(1, [...HEAD, ...tokensOf(1, 400)]));
    const ops = serve(drive, request(2, [...HEAD, ...tokensOf(2, 24)]));
    expect(ops).toEqual([{ op: 'truncate', seq: 0, keep: 512 }]);
    expect(cachedOf(drive, 2)).toBe(512);
  });

  test('a short prefix is computed again rather than copied', () => {
    const drive = slots(2);
    serve(drive, request(1, [...tokensOf(0, 31), ...tokensOf(1, 100)]));
    expect(serve(drive, request(2, [...tokensOf(0, 31), ...tokensOf(2, 100)]))).toEqual([]);
    expect(cachedOf(drive, 2)).toBe(0);
  });

  test('nothing is kept without a prefix cache', () => {
    const drive = slots(2, { prefixCache: false });
    serve(drive, request(1, tokensOf(1, 100)));
    serve(drive, request(2, tokensOf(1, 100)));
    expect(cachedOf(drive, 2)).toBe(0);
    expect(drive.scheduler.snapshot().cells.cached).toBe(0);
  });
});
