/** The time arbiter in simulated time, on hosts with real turn gates. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';
import { TimeArbiter } from './arbiter.ts';
import { type ArbiterPolicy, defaultPolicy, policyProblem } from './arbiter-policy.ts';
import { type SimHostShape, SimMachine } from './fixture-turns.ts';

const MESSAGE_MS = 0.2;
const ENDLESS = 1e9;

const stepper = (name: string, c: ModelClass, stepMs: number): SimHostShape => ({
  name,
  class: c,
  fixedMs: stepMs,
  itemMs: 0,
  itemsMax: 1,
});
const batcher = (name: string, c: ModelClass, itemMs: number): SimHostShape => ({
  name,
  class: c,
  fixedMs: 1,
  itemMs,
  itemsMax: 32,
});

/** Targets so far away that weights decide. */
function patient(policy: ArbiterPolicy): ArbiterPolicy {
  const { classes } = policy;
  const far = { delayMsMax: 1e9, delayFraction: null, floor: 0 };
  return {
    ...policy,
    classes: {
      chat: { ...classes.chat, ...far },
      embed: { ...classes.embed, ...far },
      rerank: { ...classes.rerank, ...far },
      guard: { ...classes.guard, ...far },
    },
  };
}

const percentile = (values: readonly number[], p: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * p)] ?? Number.NaN;

function gaps(machine: SimMachine, host: string): number[] {
  const ends = machine.steps.filter((s) => s.host === host).map((s) => s.endedAt);
  return ends.slice(1).map((at, i) => at - (ends[i] ?? at));
}

describe('without contention', () => {
  it('one busy host sends nothing per step, over sleep and waking too', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    const chat = machine.add(stepper('chat', 'chat', 10));
    machine.add(batcher('embed', 'embed', 2));
    for (let i = 0; i < 5; i++) {
      chat.give(20);
      machine.run(machine.now + 1000);
    }
    expect(machine.steps).toHaveLength(100);
    // It asked once, was let go once, and kept its licence.
    expect(machine.messages).toBe(2);
  });

  it('as many busy hosts as may compute run free; one more makes all of them ask', () => {
    const machine = new SimMachine(defaultPolicy(2), MESSAGE_MS);
    for (const name of ['a', 'b']) machine.add(stepper(name, 'chat', 10)).give(100);
    machine.run(500);
    expect(machine.messages).toBe(4);
    machine.add(batcher('embed', 'embed', 2)).give(50);
    machine.run(4000);
    const steps = machine.steps.filter(({ host }) => host !== 'embed');
    expect(steps).toHaveLength(200);
    const { messages } = machine;
    machine.host('a').give(50);
    machine.host('b').give(50);
    machine.run(6000);
    expect(machine.messages - messages).toBeLessThan(10);
  });

  it('an idle host that holds the unlimited licence gives it back at once', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    machine.add(stepper('chat', 'chat', 10)).give(1);
    machine.run(100);
    machine.add(stepper('guard', 'guard', 10)).give(1);
    machine.run(200);
    // woke, hold, spent, go.
    expect(machine.steps[1]?.startedAt).toBeCloseTo(100 + 4 * MESSAGE_MS);
  });
});

describe('under contention', () => {
  it('a flood of embeddings stretches the steps of a stream by its target and no more', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    machine.add(stepper('chat', 'chat', 20)).give(ENDLESS);
    machine.run(1000);
    machine.add(batcher('embed', 'embed', 1)).give(ENDLESS);
    machine.run(21_000);
    const disturbed = gaps(machine, 'chat').slice(60);
    expect(percentile(disturbed, 0.95)).toBeLessThanOrEqual(20 * 1.3);
    expect(Math.max(...disturbed)).toBeLessThanOrEqual(20 * 1.3);
    // And the flood is not starved: the target leaves it 0.2 of each 1.2 and handovers.
    expect(machine.computedMs('embed', 1000, 21_000)).toBeGreaterThan(20_000 * 0.13);
  });

  it('64 requests per second beside a stream are served as fast as they come', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    machine.add(stepper('chat', 'chat', 20)).give(ENDLESS);
    const embed = machine.add(batcher('embed', 'embed', 1.5));
    for (let i = 0; i < 64 * 20; i++) machine.after((i * 1000) / 64, () => embed.give(1));
    machine.run(20_000);
    const served = machine.steps
      .filter(({ host }) => host === 'embed')
      .reduce((sum, { items }) => sum + items, 0);
    expect(served).toBeGreaterThan(0.95 * 64 * 20);
    expect(percentile(gaps(machine, 'chat'), 0.95)).toBeLessThanOrEqual(20 * 1.3);
  });

  it('steps too long for the target of another come in turns paid by their floor', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    machine.add(stepper('chat', 'chat', 8)).give(ENDLESS);
    machine.add(stepper('embed', 'embed', 5)).give(ENDLESS);
    machine.run(20_000);
    const share = machine.computedMs('embed', 0, 20_000) / 20_000;
    expect(share).toBeGreaterThan(0.09);
    // Rarely enough that nineteen of twenty gaps are undisturbed.
    expect(percentile(gaps(machine, 'chat'), 0.95)).toBeLessThan(8 * 1.3);
  });

  it('shares follow the weights when all are busy and nothing presses', () => {
    fc.assert(
      fc.property(
        fc.record({
          steps: fc.tuple(...MODEL_CLASSES.map(() => fc.double({ min: 1, max: 60, noNaN: true }))),
          weights: fc.tuple(...MODEL_CLASSES.map(() => fc.integer({ min: 1, max: 10 }))),
        }),
        ({ steps, weights }) => {
          const base = patient(defaultPolicy(1));
          const weight = (c: ModelClass): number => weights[MODEL_CLASSES.indexOf(c)] ?? 1;
          const weigh = (c: ModelClass) => ({ ...base.classes[c], weight: weight(c) });
          const machine = new SimMachine(
            {
              ...base,
              lagMsMax: 1e6,
              classes: {
                chat: weigh('chat'),
                embed: weigh('embed'),
                rerank: weigh('rerank'),
                guard: weigh('guard'),
              },
            },
            0,
          );
          for (const [i, c] of MODEL_CLASSES.entries()) {
            machine.add(stepper(c, c, steps[i] ?? 1)).give(ENDLESS);
          }
          const total = 20_000;
          machine.run(total);
          const sum = weights.reduce((a, b) => a + b, 0);
          for (const c of MODEL_CLASSES) {
            const share = machine.computedMs(c, 0, total) / total;
            expect(Math.abs(share - weight(c) / sum)).toBeLessThan(0.06);
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('what a class computed alone is not held against its floor', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    machine.add(stepper('embed', 'embed', 5)).give(2000);
    machine.run(9000);
    machine.add(stepper('chat', 'chat', 8)).give(ENDLESS);
    machine.run(9990);
    machine.host('embed').give(ENDLESS);
    machine.run(13_000);
    expect(machine.computedMs('embed', 10_000, 13_000)).toBeGreaterThan(3000 * 0.07);
  });

  it('two hosts of one class take turns', () => {
    const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
    machine.add(stepper('a', 'chat', 10)).give(ENDLESS);
    machine.add(stepper('b', 'chat', 10)).give(ENDLESS);
    machine.run(5000);
    const order = machine.steps.slice(10).map(({ host }) => host);
    const changes = order.filter((host, i) => i > 0 && host !== order[i - 1]).length;
    expect(changes).toBeGreaterThan(order.length * 0.9);
  });

  it('nobody saves up time by sleeping, nor owes for time that nobody wanted', () => {
    const machine = new SimMachine(patient(defaultPolicy(1)), MESSAGE_MS);
    machine.add(stepper('chat', 'chat', 20)).give(ENDLESS);
    machine.run(60_000);
    machine.add(batcher('embed', 'embed', 1)).give(ENDLESS);
    machine.run(61_000);
    expect(machine.computedMs('embed', 60_000, 61_000)).toBeLessThan(300);
    expect(machine.computedMs('embed', 60_000, 61_000)).toBeGreaterThan(100);
  });
});

describe('whatever happens', () => {
  const hosts = fc.array(
    fc.record({
      class: fc.constantFrom(...MODEL_CLASSES),
      fixedMs: fc.double({ min: 0.5, max: 80, noNaN: true }),
      itemMs: fc.constantFrom(0, 0, 1, 5),
    }),
    { minLength: 2, maxLength: 6 },
  );
  const happenings = fc.array(
    fc.record({
      afterMs: fc.double({ min: 0, max: 120, noNaN: true }),
      host: fc.nat(5),
      what: fc.constantFrom('work', 'work', 'work', 'work', 'crash', 'return'),
      amount: fc.integer({ min: 1, max: 40 }),
    }),
    { maxLength: 60 },
  );

  it('no two compute at once, all work is done, a crash releases its turn', () => {
    fc.assert(
      fc.property(
        hosts,
        happenings,
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(0, 0.3, 7),
        (shapes, events, concurrency, messageMs) => {
          const machine = new SimMachine(defaultPolicy(concurrency), messageMs);
          const shapeOf = (i: number, life: number): SimHostShape => {
            const shape = shapes[i % shapes.length] ?? { class: 'chat', fixedMs: 1, itemMs: 0 };
            return { ...shape, name: `${i % shapes.length}.${life}`, itemsMax: 16 };
          };
          const lives = shapes.map((_, i) => {
            machine.add(shapeOf(i, 0));
            return 0;
          });
          for (const { afterMs, host, what, amount } of events) {
            machine.run(machine.now + afterMs);
            const i = host % shapes.length;
            const name = `${i}.${lives[i] ?? 0}`;
            const living = machine.hosts.get(name);
            if (what === 'work') living?.give(amount);
            else if (what === 'crash') machine.crash(name);
            else if (living === undefined) {
              lives[i] = (lives[i] ?? 0) + 1;
              machine.add(shapeOf(i, lives[i] ?? 0));
            }
          }
          // All that is left is at most 60 × 40 steps of 160 ms, plus messages.
          machine.run(machine.now + 600_000);
          for (const living of machine.hosts.values()) expect(living.work).toBe(0);
          expect(machine.arbiter.view().strays).toBe(0);
          expect(machine.arbiter.view().classes.every(({ waiting }) => waiting === 0)).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('floors hold over every window, and nobody waits longer than a bound', () => {
    fc.assert(
      fc.property(hosts, fc.integer({ min: 1, max: 2 }), (shapes, concurrency) => {
        const policy = defaultPolicy(concurrency);
        const machine = new SimMachine(policy, MESSAGE_MS);
        shapes.forEach((shape, i) => {
          machine.add({ ...shape, name: `${i}`, itemsMax: 16 }).give(ENDLESS);
        });
        const total = 12_000;
        machine.run(total);
        if (shapes.length <= concurrency) return;
        const longest = Math.max(...shapes.map((s) => s.fixedMs + s.itemMs), policy.floorTurnMs);
        const turn = Math.max(longest, ...MODEL_CLASSES.map((c) => policy.classes[c].turnMs));
        for (const c of new Set(shapes.map((shape) => shape.class))) {
          const count = shapes.filter((shape) => shape.class === c).length;
          const rate = Math.min(policy.classes[c].floor * concurrency, count);
          for (let from = 0; from + 2000 <= total; from += 250) {
            const floorMs = rate * 2000;
            // A turn that is owed, and what it grows by while every other class is paid one.
            const slackMs = turn * (2 + 4 * rate) + 0.05 * floorMs;
            expect(machine.computedMs(c, from, from + 2000)).toBeGreaterThan(floorMs - slackMs);
          }
        }
        const delay = Math.max(...MODEL_CLASSES.map((c) => policy.classes[c].delayMsMax));
        // Everybody else once before it, and the floors of others (0.75 of the time) meanwhile.
        const boundMs = (delay + 2 * shapes.length * policy.turnMsMax) / 0.25;
        const waits = machine.steps.map(({ startedAt, readyAt }) => startedAt - readyAt);
        expect(waits.filter((ms) => ms >= boundMs)).toEqual([]);
        for (const [name] of machine.hosts) {
          expect(machine.steps.some(({ host }) => host === name)).toBe(true);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('a host that hangs with the turn is written off', () => {
    for (const kind of ['limited', 'unlimited'] as const) {
      const machine = new SimMachine(defaultPolicy(1), MESSAGE_MS);
      const chat = machine.add(stepper('chat', 'chat', 10));
      const embed = machine.add(batcher('embed', 'embed', 1));
      chat.give(ENDLESS);
      if (kind === 'limited') embed.give(ENDLESS);
      machine.run(500);
      chat.hangs = true;
      machine.run(600);
      if (kind === 'unlimited') embed.give(ENDLESS);
      machine.run(4000);
      const before = machine.steps.length;
      machine.tick();
      machine.run(5000);
      expect(machine.steps.length).toBeGreaterThan(before + 10);
      expect(machine.arbiter.view().classes.find((c) => c.class === 'chat')?.overdue).toBe(1);
    }
  });

  it('what nobody holds is a stray message and changes nothing', () => {
    const arbiter = new TimeArbiter(defaultPolicy(1));
    arbiter.register('a', 'chat');
    const need = { stepMs: 1, leastMs: 1 };
    expect(arbiter.woke('b', 0, need)).toEqual([]);
    expect(arbiter.asks('a', 0, need)).toEqual([]);
    expect(arbiter.spent('a', 0, { turn: 9, ms: 1, more: null })).toEqual([]);
    expect(arbiter.gone('b', 0)).toEqual([]);
    expect(arbiter.view().strays).toBe(4);
  });
});

describe('a policy', () => {
  it('is refused with the sum when its floors are more than the machine', () => {
    const policy = defaultPolicy(1);
    const { classes } = policy;
    expect(policyProblem(policy)).toBeNull();
    const floors = { ...policy, classes: { ...classes, embed: { ...classes.embed, floor: 0.5 } } };
    expect(policyProblem(floors)).toMatch(/chat 0.5 .*embed 0.5.* = 1.15 are more than 0.9/);
    expect(() => new TimeArbiter(floors)).toThrow(/floors/);
    expect(policyProblem({ ...policy, concurrency: 0 })).toMatch(/must be 1 or more/);
    const weightless = { ...policy, classes: { ...classes, chat: { ...classes.chat, weight: 0 } } };
    expect(policyProblem(weightless)).toMatch(/weight of chat is 0/);
    const nice = { ...policy, classes: { ...classes, embed: { ...classes.embed, niceness: 20 } } };
    expect(policyProblem(nice)).toMatch(/niceness of embed is 20; it must be from 0 to 19/);
  });
});
