/**
 * The window against random streams, verdicts and timings: nothing unsafe leaks, nothing is lost.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GenerateEvent } from '../wire/generation.ts';
import type { GuardPolicy, GuardStage } from '../wire/guard.ts';
import { accepted, delta, endEvent, finished, fixtureVerdict, started } from './fixture-backend.ts';
import { GuardWindow, type Judged, type WindowAction } from './guard-window.ts';

const POLICY: GuardPolicy = {
  model: 'guard',
  input: true,
  output: true,
  action: 'block',
  threshold: 0.5,
  windowTokens: 2,
  timeoutMs: 1000,
};

const verdict = (score: number): Judged => ({ kind: 'verdict', verdict: fixtureVerdict(score) });
const CLEAN = verdict(0.1);
const UNSAFE = verdict(0.9);
const GONE: Judged = {
  kind: 'unavailable',
  error: { code: 'guard_unavailable', message: 'gone' },
};

/** Drives a window by hand and keeps what it does. */
class Drive {
  readonly window: GuardWindow;
  readonly sent: GenerateEvent[] = [];
  readonly heldMs: number[] = [];
  readonly asked: { stage: GuardStage; text: string; freshFrom: number }[] = [];
  cancelled = false;
  now = 0;

  constructor(policy: Partial<GuardPolicy> = {}, heldTokensMax = 1000) {
    this.window = new GuardWindow({ policy: { ...POLICY, ...policy }, heldTokensMax });
    this.take(this.window.start());
  }

  take(actions: readonly WindowAction[]): void {
    for (const action of actions) {
      if (action.kind === 'send') {
        this.sent.push(action.event);
        if (action.heldMs !== null) this.heldMs.push(action.heldMs);
      } else if (action.kind === 'cancel') this.cancelled = true;
      else if (action.kind === 'judge_input') {
        this.asked.push({ stage: 'input', text: '', freshFrom: 0 });
      } else {
        this.asked.push({ stage: 'output', text: action.text, freshFrom: action.freshFrom });
      }
    }
  }

  events(...events: readonly GenerateEvent[]): void {
    for (const event of events) this.take(this.window.onEvent(event, this.now));
  }

  judged(stage: GuardStage, judged: Judged): void {
    this.take(this.window.onJudged(stage, judged, this.now));
  }

  get text(): string {
    return this.sent.map((event) => (event.kind === 'delta' ? event.text : '')).join('');
  }

  get end(): GenerateEvent | undefined {
    return this.sent.find((event) => event.kind === 'end');
  }
}

describe('block', () => {
  test('the first delta waits for the verdict on the input, and for nothing more', () => {
    const drive = new Drive({ output: false });
    drive.events(accepted(), started(), delta('a'));
    expect(drive.sent.map(({ kind }) => kind)).toEqual(['accepted', 'started']);
    drive.now = 30;
    drive.judged('input', CLEAN);
    expect(drive.text).toBe('a');
    expect(drive.heldMs).toEqual([30]);
    drive.events(delta('b'));
    expect(drive.text).toBe('ab');
    drive.events(finished());
    expect(drive.end).toMatchObject({ outcome: { kind: 'finished', reason: 'stop' } });
    expect(drive.end).not.toHaveProperty('moderation');
  });

  test('output leaves window by window, the tail when it is judged', () => {
    const drive = new Drive({ input: false });
    drive.events(accepted(), delta('a'));
    expect(drive.asked).toEqual([]);
    drive.events(delta('b'), delta('c'));
    expect(drive.asked).toEqual([{ stage: 'output', text: 'ab', freshFrom: 0 }]);
    expect(drive.text).toBe('');
    drive.judged('output', CLEAN);
    expect(drive.text).toBe('ab');
    drive.events(finished());
    expect(drive.asked.at(-1)).toEqual({ stage: 'output', text: 'abc', freshFrom: 2 });
    expect(drive.end).toBeUndefined();
    drive.judged('output', CLEAN);
    expect(drive.text).toBe('abc');
    expect(drive.sent.at(-1)?.kind).toBe('end');
  });

  test('unsafe output ends it with content_filter and what was said about it', () => {
    const drive = new Drive({ input: false });
    drive.events(delta('good'), delta(' one'));
    drive.judged('output', CLEAN);
    drive.events(delta(' bad'), delta(' one'));
    drive.judged('output', UNSAFE);
    expect(drive.cancelled).toBe(true);
    expect(drive.end).toBeUndefined();
    drive.events(delta('more'), endEvent({ kind: 'cancelled', code: 'client_closed' }));
    expect(drive.text).toBe('good one');
    expect(drive.end).toMatchObject({
      outcome: { kind: 'finished', reason: 'content_filter' },
      error: null,
      usage: { promptTokens: 7 },
      moderation: { model: 'guard', flagged: true, input: null, output: { flagged: true } },
    });
  });

  test.each([
    [UNSAFE, { kind: 'finished', reason: 'content_filter' }],
    [GONE, { kind: 'failed', code: 'guard_unavailable' }],
  ])('an input that is not clean lets nothing out', (judged, outcome) => {
    const drive = new Drive();
    drive.events(accepted(), started(), delta('a'), delta('b'), delta('c'), finished());
    drive.judged('input', judged);
    expect(drive.text).toBe('');
    expect(drive.end).toMatchObject({ outcome });
    expect(drive.asked.length).toBe(1);
  });

  test('a failed generation says so at once and drops what was not judged', () => {
    const drive = new Drive();
    drive.events(delta('a'), endEvent({ kind: 'failed', code: 'host_crashed' }));
    expect(drive.text).toBe('');
    expect(drive.end).toMatchObject({ outcome: { kind: 'failed', code: 'host_crashed' } });
  });

  test('a client that goes away while a verdict is awaited gets its end', () => {
    const drive = new Drive();
    drive.events(delta('a'), finished());
    drive.take(drive.window.onCancel({ kind: 'cancelled', code: 'client_closed' }));
    expect(drive.end).toMatchObject({ outcome: { kind: 'cancelled' } });
    drive.judged('input', CLEAN);
    expect(drive.sent.length).toBe(1);
  });

  test('a guard that is too slow for its bound counts as unavailable', () => {
    const drive = new Drive({}, 3);
    drive.events(delta('a'), delta('b'), delta('c'), delta('d'));
    expect(drive.cancelled).toBe(true);
    drive.events(endEvent({ kind: 'cancelled', code: 'client_closed' }));
    expect(drive.end).toMatchObject({ outcome: { kind: 'failed', code: 'guard_unavailable' } });
  });
});

describe('annotate', () => {
  test('nothing is held; the end waits and carries what the guard says', () => {
    const drive = new Drive({ action: 'annotate' });
    drive.events(accepted(), delta('a'), delta('b'));
    expect(drive.text).toBe('ab');
    drive.events(finished());
    expect(drive.asked.map(({ stage }) => stage)).toEqual(['input', 'output']);
    drive.judged('output', UNSAFE);
    expect(drive.end).toBeUndefined();
    drive.judged('input', CLEAN);
    expect(drive.end).toMatchObject({
      outcome: { kind: 'finished', reason: 'stop' },
      moderation: {
        flagged: true,
        input: { flagged: false, score: 0.1, categories: { violence: 0.1 } },
        output: { flagged: true },
      },
    });
  });

  test.each(['input', 'output'] as const)('a guard that cannot judge the %s is null', (stage) => {
    const only = { input: stage === 'input', output: stage === 'output' };
    const drive = new Drive({ action: 'annotate', ...only });
    drive.events(delta('a'), finished());
    drive.judged(stage, GONE);
    expect(drive.asked.length).toBe(1);
    expect(drive.end).toMatchObject({ moderation: null, outcome: { reason: 'stop' } });
  });
});

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('delta'), tokens: fc.nat({ max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('verdict'), tokens: fc.constant(0) }) },
);

describe('whatever the timing', () => {
  /** Each delta is a letter; `badAt` is the first unsafe one. A verdict flags text that has it. */
  function play(
    steps: readonly { kind: string; tokens: number }[],
    options: {
      badAt: number;
      policy: Partial<GuardPolicy>;
      inputClean: boolean;
      heldTokensMax: number;
    },
  ) {
    const { badAt, policy, inputClean, heldTokensMax } = options;
    const drive = new Drive(policy, heldTokensMax);
    const pending = [...drive.asked];
    let written = 0;
    let heldMost = 0;
    const answer = (): void => {
      const next = pending.shift();
      if (next === undefined) return;
      const bad = next.stage === 'input' ? !inputClean : next.text.length > badAt;
      const asked = drive.asked.length;
      drive.judged(next.stage, bad ? UNSAFE : CLEAN);
      pending.push(...drive.asked.slice(asked));
    };
    const feed = (event: GenerateEvent): void => {
      const asked = drive.asked.length;
      drive.events(event);
      pending.push(...drive.asked.slice(asked));
      heldMost = Math.max(heldMost, drive.window.heldTokens);
    };
    for (const { kind, tokens } of steps) {
      if (kind === 'verdict') answer();
      else {
        feed({ ...delta(letter(written)), tokens } as GenerateEvent);
        written += 1;
      }
    }
    feed(drive.cancelled ? endEvent({ kind: 'cancelled', code: 'client_closed' }) : finished());
    while (pending.length > 0) answer();
    return { drive, written, heldMost };
  }
  const letter = (index: number): string => String.fromCharCode(97 + (index % 26));
  const whole = (count: number): string =>
    Array.from({ length: count }, (_, i) => letter(i)).join('');

  test('nothing unsafe leaves, what is clean leaves in order, and there is one end', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.nat({ max: 60 }),
        fc.record({
          windowTokens: fc.integer({ min: 1, max: 8 }),
          input: fc.boolean(),
          output: fc.boolean(),
        }),
        fc.boolean(),
        (steps, badAt, policy, inputClean) => {
          const options = { badAt, policy, inputClean, heldTokensMax: 10_000 };
          const { drive, written } = play(steps, options);
          const { text } = drive;
          expect(drive.sent.filter(({ kind }) => kind === 'end').length).toBe(1);
          expect(drive.sent.at(-1)?.kind).toBe('end');
          expect(whole(written).startsWith(text)).toBe(true);
          const inputBad = policy.input && !inputClean;
          const outputBad = policy.output && written > badAt;
          if (inputBad) expect(text).toBe('');
          if (policy.output) expect(text.length).toBeLessThanOrEqual(badAt);
          const reason = inputBad || outputBad ? 'content_filter' : 'stop';
          expect(drive.end).toMatchObject({ outcome: { kind: 'finished', reason } });
          if (reason === 'stop') expect(text).toBe(whole(written));
          expect(drive.window.heldTokens).toBe(0);
        },
      ),
    );
  });

  test('what is held is bounded, and with prompt verdicts by one window', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 40 }),
        (steps, windowTokens, heldTokensMax) => {
          const policy = { windowTokens, input: false };
          const base = { badAt: 1000, policy, inputClean: true };
          const { heldMost } = play(steps, { ...base, heldTokensMax });
          expect(heldMost).toBeLessThanOrEqual(heldTokensMax);
          const prompt = steps.flatMap((one) => [one, { kind: 'verdict', tokens: 0 }]);
          const quick = play(prompt, { ...base, heldTokensMax: 10_000 });
          expect(quick.heldMost).toBeLessThan(windowTokens + 4);
        },
      ),
    );
  });
});
