/** What requests share, wait for and leave behind for others. */
import { describe, expect, test } from 'vitest';
import { Drive } from './fixture-drive.ts';
import { options, request, tokensOf } from './fixture-requests.ts';

const cancelled = { kind: 'cancelled', code: 'client_closed' } as const;
const HEAD = tokensOf(0, 512);

describe('followers', () => {
  test('eight requests with a common prefix compute it once', () => {
    const drive = new Drive(options());
    for (let key = 1; key <= 8; key++) {
      drive.submit(request(key, [...HEAD, ...tokensOf(key, 24)]));
    }
    drive.drain(50);
    const { promptComputed, promptCached } = drive.scheduler.snapshot();
    expect(promptComputed + promptCached).toBe(8 * 536);
    // A follower joins when less than 32 tokens of the common prefix are missing.
    expect(promptComputed).toBeGreaterThanOrEqual(512 + 8 * 24);
    expect(promptComputed).toBeLessThan(512 + 8 * 24 + 7 * 32);
    expect(drive.scheduler.snapshot().preemptions).toBe(0);
  });

  test('join as soon as the common prefix exists, not when the leader is done', () => {
    const drive = new Drive(options({ stepTokensMax: 128 }));
    drive.submit(request(1, [...tokensOf(0, 128), ...tokensOf(1, 800)]));
    drive.submit(request(2, [...tokensOf(0, 128), ...tokensOf(2, 10)]));
    drive.step();
    expect(drive.started.has(2)).toBe(false);
    drive.step();
    expect(drive.started.has(2)).toBe(true);
    expect(drive.firstToken.has(2)).toBe(true);
    drive.drain(50);
    expect(drive.ends.get(2)?.cachedTokens).toBe(128);
  });

  test('do not wait for a short common prefix', () => {
    const drive = new Drive(options());
    for (const key of [1, 2]) {
      drive.submit(request(key, [...tokensOf(0, 31), ...tokensOf(key, 100)]));
    }
    drive.step();
    expect(drive.started.size).toBe(2);
  });

  test('are not held up by a leader that is cancelled, preempted or done', () => {
    const drive = new Drive(options({ stepTokensMax: 64 }));
    for (const key of [1, 2, 3]) drive.submit(request(key, [...HEAD, ...tokensOf(key, 24)]));
    drive.step();
    drive.scheduler.end(1, cancelled);
    drive.step();
    expect(drive.started.has(2)).toBe(true);
    expect(drive.started.has(3)).toBe(false);
    drive.drain(100);
    // What the first had computed was not lost.
    expect(drive.ends.get(2)?.cachedTokens).toBe(64);
    expect(drive.ends.get(3)?.cachedTokens).toBeGreaterThan(480);
  });

  test('let requests that share nothing pass', () => {
    const drive = new Drive(options({ stepTokensMax: 128 }));
    for (const key of [1, 2]) drive.submit(request(key, [...HEAD, ...tokensOf(key, 24)]));
    drive.submit(request(3, tokensOf(3, 20)));
    drive.step();
    expect([...drive.started.keys()]).toEqual([1, 3]);
    drive.drain(100);
  });

  test('a chain of prefixes, each longer than the last, resolves in order', () => {
    const drive = new Drive(options({ stepTokensMax: 64 }));
    for (let key = 1; key <= 6; key++) {
      drive.submit(request(key, [...tokensOf(0, 100 * key), ...tokensOf(key, 10)]));
    }
    drive.drain(100);
    expect(drive.ends.size).toBe(6);
    expect(drive.scheduler.snapshot().promptComputed).toBeLessThan(600 + 6 * 10 + 5 * 32);
  });

  test('share with the one of two twins that they follow', () => {
    const drive = new Drive(options({ stepTokensMax: 64 }));
    // Both compute the same 20 tokens, side by side.
    drive.submit(request(1, [...tokensOf(0, 20), ...tokensOf(1, 600)]));
    drive.submit(request(2, [...tokensOf(0, 20), ...tokensOf(2, 600)]));
    drive.step();
    expect(drive.started.size).toBe(2);
    drive.submit(request(3, [...tokensOf(0, 20), ...tokensOf(2, 300), 7]));
    drive.drain(100);
    expect(drive.ends.get(3)?.cachedTokens).toBeGreaterThan(320 - 32);
  });

  test('count prompt tokens once, as cached or as computed', () => {
    const drive = new Drive(options());
    drive.submit(request(1, HEAD));
    drive.drain(20);
    drive.submit(request(2, [...HEAD, ...tokensOf(2, 40)]));
    drive.drain(20);
    const { promptCached, promptComputed, generated } = drive.scheduler.snapshot();
    expect({ promptCached, promptComputed, generated }).toEqual({
      promptCached: 512,
      promptComputed: 552,
      generated: 8,
    });
    expect(drive.ends.get(1)?.cachedTokens).toBe(0);
    expect(drive.ends.get(2)?.cachedTokens).toBe(512);
  });
});

describe('cached prefixes', () => {
  test('a second turn finds the first one’s prompt and output', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 100), { maxTokens: 20 }));
    drive.drain(30);
    const output = drive.produced.get(1) ?? [];
    drive.submit(request(2, [...tokensOf(1, 100), ...output, ...tokensOf(2, 30)]));
    drive.drain(30);
    // The last token of an output is never computed: nothing came after it.
    expect(drive.ends.get(2)?.cachedTokens).toBe(100 + 19);
  });

  test('the very same prompt computes its last token only', () => {
    const drive = new Drive(options());
    for (const key of [1, 2]) {
      drive.submit(request(key, HEAD, { maxTokens: 1 }));
      drive.drain(30);
    }
    expect(drive.ends.get(2)?.cachedTokens).toBe(511);
  });

  test('a cancelled prompt leaves what it had computed', () => {
    const drive = new Drive(options({ stepTokensMax: 100 }));
    drive.submit(request(1, HEAD));
    drive.step();
    drive.step();
    drive.scheduler.end(1, cancelled);
    drive.drain(5);
    drive.submit(request(2, HEAD));
    drive.drain(50);
    expect(drive.ends.get(2)?.cachedTokens).toBe(200);
  });

  test('the least recently used goes first, from its end', () => {
    const drive = new Drive(options({ cells: 1024, parallel: 1 }));
    const conversation = (key: number): number[] => tokensOf(key, 300);
    let key = 0;
    const ask = (prompt: number[]): number => {
      key += 1;
      drive.submit(request(key, prompt, { maxTokens: 1 }));
      drive.drain(50);
      return drive.ends.get(key)?.cachedTokens ?? -1;
    };
    expect([ask(conversation(1)), ask(conversation(2)), ask(conversation(3))]).toEqual([0, 0, 0]);
    expect(ask(conversation(1))).toBe(299);
    // 900 cells are cached, 124 free: 200 new ones evict the end of the oldest, which is the
    // second.
    expect(ask(tokensOf(9, 200))).toBe(0);
    const { cells } = drive.scheduler.snapshot();
    expect(cells).toMatchObject({ free: 0, cached: 1024, held: 0 });
    expect(ask(conversation(3))).toBe(299);
    expect(ask(conversation(1))).toBe(299);
    const left = ask(conversation(2));
    expect(left).toBeGreaterThan(100);
    expect(left).toBeLessThan(300 - 64);
  });

  test('a shared beginning outlives the ends that grew from it', () => {
    const drive = new Drive(options({ cells: 1024, parallel: 1 }));
    for (const key of [1, 2]) {
      drive.submit(request(key, [...tokensOf(0, 200), ...tokensOf(key, 200)], { maxTokens: 1 }));
      drive.drain(20);
    }
    drive.submit(request(3, tokensOf(3, 800), { maxTokens: 1 }));
    drive.drain(20);
    drive.submit(request(4, [...tokensOf(0, 200), 7], { maxTokens: 1 }));
    drive.drain(20);
    expect(drive.ends.get(4)?.cachedTokens).toBe(200);
  });

  test('are kept by as many sequences as there are ids, the newest ones', () => {
    const drive = new Drive(options({ parallel: 1, seqsMax: 3 }));
    for (let key = 1; key <= 5; key++) {
      drive.submit(request(key, tokensOf(key, 50), { maxTokens: 1 }));
      drive.drain(20);
    }
    expect(drive.scheduler.snapshot().cells.cached).toBe(150);
    drive.submit(request(6, tokensOf(5, 50), { maxTokens: 1 }));
    drive.submit(request(7, tokensOf(1, 50), { maxTokens: 1 }));
    drive.drain(20);
    expect(drive.ends.get(6)?.cachedTokens).toBe(49);
    expect(drive.ends.get(7)?.cachedTokens).toBe(0);
  });

  test('nothing is kept or shared without the prefix cache', () => {
    const drive = new Drive(options({ prefixCache: false }));
    for (const key of [1, 2, 3]) drive.submit(request(key, HEAD));
    drive.step();
    expect(drive.started.size).toBe(3);
    drive.drain(50);
    const { cells, promptCached } = drive.scheduler.snapshot();
    expect(cells.free).toBe(cells.total);
    expect(promptCached).toBe(0);
  });

  test('a prefix held by running sequences is not counted as cells that admission must find', () => {
    const drive = new Drive(options({ cells: 1024, parallel: 4 }));
    drive.submit(request(1, tokensOf(0, 600), { maxTokens: 50 }));
    while (!drive.firstToken.has(1)) drive.step();
    // 600 held, 424 free: three more that add 60 each fit beside it.
    for (const key of [2, 3, 4]) {
      drive.submit(request(key, [...tokensOf(0, 600), ...tokensOf(key, 60)]));
    }
    drive.step();
    expect(drive.scheduler.snapshot()).toMatchObject({ running: 4, waiting: 0, preemptions: 0 });
    drive.drain(100);
  });
});

test('two sequences that compute the same tokens side by side both give their own', () => {
  const drive = new Drive(options());
  const head = tokensOf(0, 20);
  drive.submit(request(1, [...head, ...tokensOf(1, 50)], { maxTokens: 30 }));
  drive.submit(request(2, [...head, ...tokensOf(2, 50)], { maxTokens: 30 }));
  drive.step();
  expect(drive.engine.distinctCells).toBe(140);
  drive.drain(100);
  // Each keeps 70 + 29, with its own copy of the head.
  expect(drive.scheduler.snapshot().cells.cached).toBe(2 * 99);
});

test('conversations that began at once, alike, each find their own turns again', () => {
  const drive = new Drive(options());
  const conversations = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => [
    ...tokensOf(0, 10),
    ...tokensOf(n, 60),
  ]);
  for (const [n, prompt] of conversations.entries()) drive.submit(request(n, prompt));
  drive.drain(50);
  for (const [n, prompt] of conversations.entries()) {
    const output = drive.produced.get(n) ?? [];
    drive.submit(request(100 + n, [...prompt, ...output, ...tokensOf(50 + n, 20)]));
  }
  drive.drain(50);
  for (const n of conversations.keys()) {
    expect(drive.ends.get(100 + n)?.cachedTokens).toBe(70 + 3);
  }
});

test('what a waiting request remembers of leaders ends with them', () => {
  // Each check of the drive looks for memories of requests that are gone.
  const drive = new Drive(options({ parallel: 2, seqsMax: 4 }));
  drive.submit(request(0, tokensOf(0, 10), { maxTokens: 900 }));
  for (let key = 1; key < 60; key++) drive.submit(request(key, tokensOf(key, 40)));
  drive.drain(2000);
  expect(drive.ends.size).toBe(60);
});
