/** What a calibration teaches and what it leaves behind. */
import { expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { openSimEngine } from '../engine/sim/engine.ts';
import { OnlineStepTime } from '../planner/step-time.ts';
import { calibrate } from './calibrate.ts';

const spec = {
  seed: 1,
  vocabSize: 2000,
  fixedMs: 4,
  perTokenMs: 0.5,
  perAttendedMs: 0,
  noise: 0,
  stepTokensMax: 256,
  faults: { crashAtStep: null, failAtStep: null, hangAtStep: null, failLoad: null },
};

async function open(sleepMs: (ms: number) => void) {
  const options = { contextTokens: 256, cells: 512, parallel: 2, prefixCache: true };
  const effects = {
    sleep: async (ms: number) => sleepMs(ms),
    abort: () => undefined,
  };
  return openSimEngine(spec, { ...options, onProgress: () => undefined }, effects);
}

it('turns a guess that is ten times too slow into measured times, and frees its cells', async () => {
  const clock = new ManualClock();
  const engine = await open((ms) => clock.advance(ms));
  const time = new OnlineStepTime({ fixedMs: 40, perTokenMs: 5, perAttendedMs: 0 });
  await calibrate(engine, { time, clock, msMax: 400 });
  const measured = 4 + 0.5 * 64;
  expect(time.predictMs({ tokens: 64, attended: 2080 })).toBeLessThan(measured * 1.5);
  expect(engine.cells.freeCells).toBe(512);
});

it('begins no step that might end after 400 ms', async () => {
  const clock = new ManualClock();
  const engine = await open((ms) => clock.advance(4 * ms));
  const time = new OnlineStepTime({ fixedMs: 1, perTokenMs: 1, perAttendedMs: 0 });
  // 3 steps of one token in 54 ms, 2 of eight in 64, 2 of 32 in 160; one of 128 may take 320.
  expect(await calibrate(engine, { time, clock, msMax: 400 })).toBe(7);
  expect(clock.now()).toBeLessThan(400);
  const slow = await open(() => clock.advance(600));
  expect(await calibrate(slow, { time, clock, msMax: 400 })).toBe(1);
});
