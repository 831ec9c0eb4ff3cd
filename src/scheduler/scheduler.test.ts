/** What the scheduler promises about time, order and ends, case by case. */
import { describe, expect, test } from 'vitest';
import { Drive } from './fixture-drive.ts';
import { linearMs, options, request, timeModel, tokensOf } from './fixture-requests.ts';
import { Scheduler } from './scheduler.ts';

const cancelled = { kind: 'cancelled', code: 'client_closed' } as const;
const stopped = { kind: 'finished', reason: 'stop' } as const;

describe('chunked prefill', () => {
  test('a prompt is cut so that a step beside decoding keeps to its target', () => {
    const drive = new Drive(options({ stepTargetMs: 60 }));
    drive.submit(request(1, tokensOf(1, 20), { maxTokens: 200 }));
    drive.step();
    drive.submit(request(2, tokensOf(2, 900)));
    let chunks = 0;
    while (!drive.firstToken.has(2)) {
      const plan = drive.step();
      const chunk = plan?.slices.find((slice) => slice.request === 2)?.tokens.length ?? 0;
      expect(plan?.slices.some((slice) => slice.request === 1)).toBe(true);
      expect(chunk).toBeGreaterThan(16);
      expect(plan?.predictedMs).toBeLessThanOrEqual(60);
      // The budget is spent, not merely kept.
      if (!drive.firstToken.has(2)) expect(plan?.predictedMs).toBeGreaterThan(55);
      chunks += 1;
    }
    expect(chunks).toBeGreaterThan(15);
    drive.drain(300);
  });

  test('without a target a step takes at most 1.8 times the decode-only step', () => {
    const drive = new Drive(options({ time: timeModel((s) => 20 + s.tokens / 4) }));
    for (const key of [1, 2, 3, 4]) {
      drive.submit(request(key, tokensOf(key, 10), { maxTokens: 60 }));
    }
    while (drive.firstToken.size < 4) drive.step();
    drive.submit(request(5, tokensOf(5, 400)));
    while (!drive.firstToken.has(5)) {
      const plan = drive.step();
      expect(plan?.slices.length).toBe(5);
      expect(plan?.predictedMs).toBeLessThanOrEqual(1.8 * 21);
    }
  });

  test('the oldest prompt advances by a minimum even when nothing fits the target', () => {
    const drive = new Drive(options({ stepTargetMs: 1 }));
    drive.submit(request(1, tokensOf(1, 5), { maxTokens: 100 }));
    drive.step();
    drive.submit(request(2, tokensOf(2, 160)));
    for (let step = 1; step <= 10; step++) {
      const slice = drive.step()?.slices.find((s) => s.request === 2);
      expect(slice?.tokens.length).toBe(16);
    }
    expect(drive.firstToken.has(2)).toBe(true);
  });

  test('alone, a prompt runs in steps of at most 500 ms, so that a cancel is seen', () => {
    const drive = new Drive(options({ stepTokensMax: 1024 }));
    drive.submit(request(1, tokensOf(1, 1000)));
    const plan = drive.step();
    expect(plan?.predictedMs).toBeLessThanOrEqual(500);
    expect(plan?.predictedMs).toBeGreaterThan(490);
  });
});

describe('fairness', () => {
  test('a long prompt is not starved by an endless stream of short ones', () => {
    const drive = new Drive(options({ stepTargetMs: 60, parallel: 4 }));
    drive.submit(request(0, tokensOf(0, 1000)));
    let key = 1;
    while (!drive.firstToken.has(0)) {
      while (drive.scheduler.snapshot().waiting < 4) {
        drive.submit(request(key, tokensOf(key, 40), { maxTokens: 2 }));
        key += 1;
      }
      const slice = drive.step()?.slices.find((s) => s.request === 0);
      expect(slice?.tokens.length ?? 0).toBeGreaterThan(0);
      expect(drive.steps).toBeLessThan(100);
    }
    // Neither are the short ones starved by it.
    expect(drive.ends.size).toBeGreaterThan(3);
  });

  test('a token of the oldest that costs more than the whole target is computed all the same', () => {
    const time = timeModel((s) => 1 + s.tokens / 100 + s.attended / 10);
    const drive = new Drive(options({ stepTargetMs: 5, time }));
    drive.submit(request(1, tokensOf(1, 4), { maxTokens: 900 }));
    drive.step();
    drive.submit(request(2, tokensOf(2, 900)));
    for (let key = 3; !drive.firstToken.has(2); key++) {
      drive.submit(request(key, tokensOf(key, 2), { maxTokens: 1 }));
      const plan = drive.step();
      expect(plan?.slices.some((s) => s.request === 2)).toBe(true);
      expect(drive.steps).toBeLessThan(1000);
    }
  });

  test('of the others the shortest prompt comes first', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 900)));
    drive.submit(request(2, tokensOf(2, 700)));
    drive.submit(request(3, tokensOf(3, 30)));
    drive.step();
    expect([...drive.firstToken.keys()]).toEqual([3]);
  });

  test('a long prompt leaves half of a step to a short one, whichever of time and tokens is short', () => {
    for (const stepTokensMax of [64, 2048]) {
      const drive = new Drive(options({ stepTokensMax, time: timeModel((s) => 1 + s.tokens) }));
      drive.submit(request(1, tokensOf(1, 900)));
      drive.submit(request(2, tokensOf(2, 30)));
      drive.step();
      expect([...drive.firstToken.keys()]).toEqual([2]);
    }
  });

  test('waiting requests start in the order of arrival', () => {
    const drive = new Drive(options({ parallel: 1, seqsMax: 1 }));
    for (const key of [1, 2, 3, 4]) drive.submit(request(key, tokensOf(key, 10)));
    drive.drain(100);
    expect([...drive.started.keys()]).toEqual([1, 2, 3, 4]);
  });

  test('a request that does not fit now is not overtaken by smaller ones', () => {
    const drive = new Drive(options({ cells: 1024, prefixCache: false }));
    drive.submit(request(1, tokensOf(1, 600), { maxTokens: 20 }));
    drive.submit(request(2, tokensOf(2, 600), { maxTokens: 20 }));
    for (let key = 3; key < 12; key++) drive.submit(request(key, tokensOf(key, 20)));
    drive.drain(300);
    expect([...drive.started.keys()]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(drive.scheduler.snapshot().preemptions).toBe(0);
  });
});

describe('shortage of cells', () => {
  test('what running prompts still need is not given to another: nothing is preempted', () => {
    const drive = new Drive(options({ cells: 2048, parallel: 8 }));
    for (let key = 1; key <= 8; key++) drive.submit(request(key, tokensOf(key, 900)));
    drive.drain(300);
    expect(drive.scheduler.snapshot().preemptions).toBe(0);
    expect(drive.computedTokens).toBe(8 * (900 + 3));
  });

  test('the newest gives way, is computed again and yields the same tokens', () => {
    const drive = new Drive(options({ cells: 1100, parallel: 3 }));
    for (const key of [1, 2, 3]) {
      drive.submit(request(key, tokensOf(key, 300), { maxTokens: 300 }));
    }
    drive.drain(3000);
    const end = (key: number) => drive.ends.get(key);
    expect(end(1)?.preemptions).toBe(0);
    expect(end(3)?.preemptions).toBeGreaterThan(0);
    for (const key of [1, 2, 3]) {
      expect(end(key)?.outcome).toEqual({ kind: 'finished', reason: 'length' });
      expect(drive.produced.get(key)?.length).toBe(300);
    }
    const ended = [...drive.ends.keys()];
    expect(ended).toEqual([1, 2, 3]);
  });

  test('a prompt is counted once, however often it is computed', () => {
    const drive = new Drive(options({ cells: 1100, parallel: 3, prefixCache: false }));
    for (const key of [1, 2, 3]) {
      drive.submit(request(key, tokensOf(key, 300), { maxTokens: 300 }));
    }
    drive.drain(3000);
    const { preemptions, promptCached, promptComputed, generated } = drive.scheduler.snapshot();
    expect(preemptions).toBeGreaterThan(0);
    expect({ promptCached, promptComputed, generated }).toEqual({
      promptCached: 0,
      promptComputed: 900,
      generated: 900,
    });
    expect(drive.computedTokens).toBeGreaterThan(900 + 897);
  });

  test('a preempted prompt with scores is scored once', () => {
    const drive = new Drive(options({ cells: 1100, parallel: 3 }));
    for (const key of [1, 2, 3]) {
      drive.submit(request(key, tokensOf(key, 300), { maxTokens: 300, scorePrompt: true }));
    }
    drive.drain(3000);
    expect(drive.scheduler.snapshot().preemptions).toBeGreaterThan(0);
    expect(drive.scheduler.snapshot().promptComputed).toBe(900);
  });

  test('cells that the engine cannot give reduce what runs; everything still ends', () => {
    const drive = new Drive(options({ cells: 2048, lostCells: 800, prefixCache: false }));
    for (let key = 1; key <= 6; key++) {
      drive.submit(request(key, tokensOf(key, 300), { maxTokens: 100 }));
    }
    drive.drain(3000);
    for (const end of drive.ends.values()) {
      expect(end.outcome).toEqual({ kind: 'finished', reason: 'length' });
    }
  });

  test('after one false alarm as many run as before, once a sequence has ended', () => {
    const drive = new Drive(options({ parallel: 2, seqsMax: 2 }));
    for (const key of [1, 2, 3, 4]) {
      drive.submit(request(key, tokensOf(key, 20), { maxTokens: key === 2 ? 50 : 10 }));
    }
    drive.step();
    drive.step({ noCells: true });
    expect(drive.scheduler.snapshot().running).toBe(1);
    while (!drive.ends.has(1)) drive.step();
    drive.step();
    expect(drive.scheduler.snapshot().running).toBe(2);
    drive.drain(200);
  });

  test('a request that finds no cells alone fails and says so', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 20)));
    drive.step({ noCells: true });
    expect(drive.ends.get(1)?.outcome).toEqual({ kind: 'failed', code: 'cells_exhausted' });
    drive.drain(2);
  });
});

describe('ends from outside', () => {
  test('a cancel between chunks frees the cells before the next step computes', () => {
    const drive = new Drive(options({ stepTokensMax: 100 }));
    drive.submit(request(1, tokensOf(1, 900)));
    drive.step();
    drive.step({ inFlight: () => drive.scheduler.end(1, cancelled) });
    expect(drive.ends.get(1)?.outcome).toEqual(cancelled);
    expect(drive.scheduler.snapshot().cells.held).toBe(0);
    expect(drive.computedTokens).toBe(200);
    drive.drain(2);
  });

  test('a cancelled prompt without a prefix cache leaves every cell free', () => {
    const drive = new Drive(options({ prefixCache: false, stepTokensMax: 100 }));
    drive.submit(request(1, tokensOf(1, 900)));
    drive.step();
    drive.scheduler.end(1, cancelled);
    expect(drive.step()?.slices).toEqual([]);
    expect(drive.engine.distinctCells).toBe(0);
    expect(drive.scheduler.idle).toBe(true);
  });

  test('a waiting request can be ended; it never starts', () => {
    const drive = new Drive(options({ parallel: 1 }));
    drive.submit(request(1, tokensOf(1, 10)));
    drive.submit(request(2, tokensOf(2, 10)));
    drive.step();
    drive.scheduler.end(2, cancelled);
    drive.drain(100);
    expect(drive.ends.get(2)).toMatchObject({ outcome: cancelled, startedAt: null, generated: 0 });
  });

  test('of two ends the first counts; an end of an unknown or ended request is ignored', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 10)));
    drive.scheduler.end(1, cancelled);
    drive.scheduler.end(1, stopped);
    drive.scheduler.end(99, stopped);
    drive.drain(10);
    drive.scheduler.end(1, stopped);
    expect(drive.ends.get(1)?.outcome).toEqual(cancelled);
    expect(drive.step()).toBeNull();
  });

  test('a stop while a step computes drops the token of that step', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 10), { maxTokens: 50 }));
    drive.step();
    drive.stopping.add(1);
    drive.step({ inFlight: () => drive.scheduler.end(1, stopped) });
    expect(drive.ends.get(1)).toMatchObject({ outcome: stopped, generated: 1 });
    expect(drive.produced.get(1)?.length).toBe(1);
  });
});

describe('limits', () => {
  test('a deadline ends a running request, a waiting one too', () => {
    const drive = new Drive(options({ parallel: 1, computeMs: () => 10 }));
    drive.submit(request(1, tokensOf(1, 10), { maxTokens: 500, deadlineMs: 100 }));
    drive.submit(request(2, tokensOf(2, 10), { deadlineMs: 50 }));
    drive.drain(100);
    const expired = { kind: 'expired', code: 'deadline_exceeded' };
    expect(drive.ends.get(1)).toMatchObject({ outcome: expired, generated: 10 });
    expect(drive.ends.get(2)).toMatchObject({ outcome: expired, startedAt: null });
    expect(drive.now).toBe(100);
  });

  test('the wait limit ends what has not started, never what has', () => {
    const drive = new Drive(options({ parallel: 1, waitMsMax: 100, computeMs: () => 10 }));
    drive.submit(request(1, tokensOf(1, 10), { maxTokens: 50 }));
    drive.submit(request(2, tokensOf(2, 10)));
    while (!drive.ends.has(2)) drive.step();
    expect(drive.ends.get(2)?.outcome).toEqual({ kind: 'expired', code: 'wait_expired' });
    expect(drive.now).toBe(100);
    drive.drain(100);
    expect(drive.ends.get(1)?.outcome).toEqual({ kind: 'finished', reason: 'length' });
  });

  test.each([
    [1024, 0, true],
    [1025, 0, false],
    [1023, 1, true],
    [1024, 1, false],
    [1000, 24, true],
    [1000, 25, false],
    [1023, null, true],
    [1024, null, false],
  ])(
    'a prompt of %i with %s tokens of output in a context of 1024 fits: %s',
    (length, maxTokens, fits) => {
      const drive = new Drive(options());
      const admission = drive.submit(
        request(1, tokensOf(1, length), { maxTokens, scorePrompt: maxTokens === 0 }),
      );
      expect(admission.kind).toBe(fits ? 'accepted' : 'too_long');
      drive.drain(500);
      expect(drive.ends.size).toBe(fits ? 1 : 0);
    },
  );

  test('without a maximum the output ends where the context does', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 1000), { maxTokens: null }));
    drive.drain(100);
    expect(drive.ends.get(1)).toMatchObject({
      outcome: { kind: 'finished', reason: 'length' },
      generated: 24,
    });
  });

  test('an end of generation ends with reason stop', () => {
    const drive = new Drive(options({ endOneIn: 10 }));
    for (let key = 0; key < 20; key++) {
      drive.submit(request(key, tokensOf(key, 10), { maxTokens: 900 }));
    }
    drive.drain(5000);
    const reasons = [...drive.ends.values()].map((end) => end.outcome);
    expect(reasons).toContainEqual(stopped);
  });

  test('a full queue refuses, with a predicted wait that grows with the queue', () => {
    const scheduler = new Scheduler(options({ parallel: 2, queueMax: 3 }));
    const waits: number[] = [];
    for (let key = 0; key < 5; key++) {
      const admission = scheduler.submit(request(key, tokensOf(key, 100)), 0);
      expect(admission.kind).toBe('accepted');
      if (admission.kind === 'accepted') waits.push(admission.predictedWaitMs);
    }
    expect(waits.slice(0, 2)).toEqual([0, 0]);
    expect(waits[2]).toBeGreaterThan(0);
    expect(waits[4]).toBeGreaterThan(waits[2] ?? Infinity);
    const refused = scheduler.submit(request(9, tokensOf(9, 100)), 0);
    expect(refused).toMatchObject({ kind: 'queue_full', waiting: 5 });
    if (refused.kind !== 'queue_full') throw new Error('not refused');
    expect(refused.predictedWaitMs).toBeGreaterThanOrEqual(waits[4] ?? Infinity);
    expect(scheduler.snapshot().waiting).toBe(5);
  });

  test('scored prompts take few rows of logits in a step and nothing from the cache', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 300)));
    drive.drain(20);
    drive.submit(request(2, tokensOf(1, 300), { maxTokens: 0, scorePrompt: true }));
    const plan = drive.step();
    expect(plan?.ops.some((op) => op.op === 'share')).toBe(false);
    expect(plan?.slices[0]).toMatchObject({ start: 0, output: 'all' });
    expect(plan?.slices[0]?.tokens.length).toBe(64);
    drive.drain(20);
    expect(drive.ends.get(2)).toMatchObject({ cachedTokens: 0, generated: 0 });
  });

  test('the prediction is of the planned shape', () => {
    const drive = new Drive(options());
    drive.submit(request(1, tokensOf(1, 300)));
    const plan = drive.step();
    if (plan === null) throw new Error('no plan');
    expect(plan.predictedMs).toBe(linearMs(plan.shape));
  });
});

describe('misuse', () => {
  test('is an assertion, not a wrong answer', () => {
    expect(() => new Scheduler(options({ cells: 1000 }))).toThrow(/one context/);
    expect(() => new Scheduler(options({ seqsMax: 7 }))).toThrow(/sequence ids/);
    expect(() => new Scheduler(options({ stepTokensMax: 7 }))).toThrow(/streams/);
    const scheduler = new Scheduler(options());
    scheduler.submit(request(1, [1, 2]), 0);
    expect(() => scheduler.submit(request(1, [1, 2]), 0)).toThrow(/twice/);
    expect(() => scheduler.submit(request(2, []), 0)).toThrow(/empty/);
    const { step } = scheduler.plan(0);
    expect(() => scheduler.plan(0)).toThrow(/in flight/);
    if (step === null) throw new Error('no plan');
    expect(() => scheduler.settle({ ...step }, { kind: 'no_cells' }, 0)).toThrow(/in flight/);
  });
});
