/** The gate's side of the protocol, order by order. */
import { describe, expect, it } from 'vitest';
import type { TurnReport } from '../wire/turn.ts';
import { TurnGate } from './turn-gate.ts';

const need = (stepMs: number) => ({ stepMs, leastMs: stepMs });
const HOLD = { type: 'turn', order: 'hold' } as const;
const go = (turn: number, ms: number) => ({ type: 'turn', order: 'go', turn, ms }) as const;

function gateOf(): { gate: TurnGate; said: string[] } {
  const said: string[] = [];
  const inWords = (report: TurnReport): string => {
    if (report.say !== 'spent') return `${report.say} ${report.need.stepMs}`;
    const more = report.more === null ? 'done' : `more ${report.more.stepMs}`;
    return `spent ${report.turn}: ${report.ms}, ${more}`;
  };
  return { gate: new TurnGate((report) => said.push(inWords(report))), said };
}

/** A gate that has been let go on turn 1 for `ms`, in its first step. */
async function computing(ms: number, stepMs: number) {
  const { gate, said } = gateOf();
  gate.order(HOLD);
  const entered = gate.enter(need(stepMs));
  gate.order(go(1, ms));
  await entered;
  said.splice(0);
  return { gate, said };
}

describe('TurnGate', () => {
  it('lets every step in and says nothing where there is no arbiter', () => {
    const { gate, said } = gateOf();
    for (let i = 0; i < 10; i++) {
      expect(gate.enter(need(5))).toBeUndefined();
      gate.leave(5);
    }
    gate.idle();
    expect(gate.roomMs).toBe(Infinity);
    expect(said).toEqual([]);
  });

  it('asks once, waits, and says nothing per step on an unlimited licence', async () => {
    const { gate, said } = gateOf();
    gate.order(HOLD);
    let entered = false;
    const waiting = gate.enter(need(5))?.then(() => {
      entered = true;
    });
    await Promise.resolve();
    expect(entered).toBe(false);
    gate.order(go(1, Infinity));
    await waiting;
    expect(entered).toBe(true);
    gate.leave(5);
    for (let i = 0; i < 10; i++) {
      expect(gate.enter(need(5))).toBeUndefined();
      gate.leave(5);
    }
    gate.idle();
    expect(gate.enter(need(5))).toBeUndefined();
    expect(said).toEqual(['woke 5']);
  });

  it('covers several steps by one licence, and gives it back before it would overrun', async () => {
    const { gate, said } = await computing(25, 10);
    expect(gate.roomMs).toBe(25);
    gate.leave(9);
    expect(gate.enter(need(10))).toBeUndefined();
    expect(said).toEqual(['asks 10']);
    gate.leave(11);
    expect(gate.enter(need(10))).toBeInstanceOf(Promise);
    expect(said).toEqual(['asks 10', 'spent 1: 20, more 10']);
  });

  it('goes on without waiting on an extension that came in time', async () => {
    const { gate, said } = await computing(10, 10);
    gate.order(go(2, 12));
    gate.leave(10);
    expect(gate.enter(need(10))).toBeUndefined();
    expect(said).toEqual(['spent 1: 10, more 10', 'asks 10']);
    gate.leave(10);
    gate.idle();
    expect(said.at(-1)).toBe('spent 2: 10, done');
  });

  it('lets a step in that is longer than its licence, once', async () => {
    const { gate } = await computing(2, 50);
    gate.leave(50);
    expect(gate.enter(need(1))).toBeInstanceOf(Promise);
  });

  it('gives an unlimited licence back after the step in flight', async () => {
    const { gate, said } = await computing(Infinity, 10);
    gate.order(HOLD);
    expect(said).toEqual([]);
    gate.leave(10);
    expect(gate.enter(need(7))).toBeInstanceOf(Promise);
    expect(said).toEqual(['spent 1: 10, more 7']);
  });

  it('gives an unlimited licence back at once when it has no work', async () => {
    const { gate, said } = await computing(Infinity, 10);
    gate.leave(10);
    gate.idle();
    gate.order(HOLD);
    expect(said).toEqual(['spent 1: 10, done']);
    gate.order(HOLD);
    expect(said).toHaveLength(1);
  });

  it('gives back what it holds and what it was promised when work ends', async () => {
    const { gate, said } = await computing(10, 10);
    gate.order(go(2, 10));
    gate.leave(6);
    gate.idle();
    expect(said).toEqual(['spent 1: 6, done', 'spent 2: 0, done']);
  });

  it('keeps an unlimited extension, and gives both back when they are called', async () => {
    const { gate, said } = await computing(10, 10);
    gate.order(go(2, Infinity));
    gate.order(HOLD);
    gate.leave(10);
    expect(gate.enter(need(3))).toBeInstanceOf(Promise);
    expect(said).toEqual(['spent 2: 0, more 3', 'spent 1: 10, more 3']);
  });

  it('lets whoever waits go when it closes', async () => {
    const { gate } = gateOf();
    gate.order(HOLD);
    const waiting = gate.enter(need(5));
    gate.close();
    await expect(waiting).resolves.toBeUndefined();
  });

  it('refuses to be entered twice', () => {
    const { gate } = gateOf();
    gate.order(HOLD);
    expect(gate.enter(need(1))).toBeInstanceOf(Promise);
    expect(() => gate.enter(need(1))).toThrow(/twice/);
  });
});
