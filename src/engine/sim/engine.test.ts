/** The simulated engine: the contract, its clock, its faults and what it notices in a plan. */
import { describe, expect, it } from 'vitest';
import { PlenumError } from '../../base/errors.ts';
import type { SimFaults, SimSpec } from '../../wire/host.ts';
import { CONTRACT_OPTIONS, describeEngineContract } from '../contract.ts';
import { Driver } from '../contract-driver.ts';
import { openSimEngine, type SimEffects } from './engine.ts';

const NO_FAULTS: SimFaults = {
  crashAtStep: null,
  failAtStep: null,
  hangAtStep: null,
  failLoad: null,
};
const SPEC: SimSpec = {
  seed: 11,
  vocabSize: 512,
  fixedMs: 0,
  perTokenMs: 0,
  perAttendedMs: 0,
  noise: 0,
  stepTokensMax: 512,
  faults: NO_FAULTS,
};

describeEngineContract('sim', (options) => openSimEngine(SPEC, options));

/** Records what would have been slept and aborted. */
function fakeEffects(): SimEffects & { slept: number[]; aborts: number } {
  const effects = {
    slept: [] as number[],
    aborts: 0,
    sleep: async (ms: number): Promise<void> => {
      effects.slept.push(ms);
    },
    abort: (): void => {
      effects.aborts += 1;
    },
  };
  return effects;
}

async function openDriver(spec: Partial<SimSpec>, effects: SimEffects): Promise<Driver> {
  return new Driver(await openSimEngine({ ...SPEC, ...spec }, CONTRACT_OPTIONS, effects));
}

const PROMPT = Int32Array.from([70, 71, 72, 73]);

describe('sim', () => {
  it('takes the time of its two-term model', async () => {
    const effects = fakeEffects();
    const times = { fixedMs: 10, perTokenMs: 2, perAttendedMs: 0.5 };
    const driver = await openDriver(times, effects);
    await driver.alone({ prompt: PROMPT, seq: 0, count: 2 });
    // Four tokens attend to 1 + 2 + 3 + 4 cells; then one attends to 5.
    expect(effects.slept.filter((ms) => ms > 0)).toEqual([10 + 8 + 5, 10 + 2 + 2.5, 10]);
  });

  it('gives the same noise to the same seed', async () => {
    const sleptWith = async (seed: number): Promise<number[]> => {
      const effects = fakeEffects();
      const driver = await openDriver({ seed, fixedMs: 5, noise: 0.2 }, effects);
      await driver.alone({ prompt: PROMPT, seq: 0, count: 5 });
      return effects.slept;
    };
    expect(await sleptWith(1)).toEqual(await sleptWith(1));
    expect(await sleptWith(1)).not.toEqual(await sleptWith(2));
  });

  it('ends generations after about two hundred tokens', async () => {
    const driver = await openDriver({}, fakeEffects());
    const lengths: number[] = [];
    for (let i = 0; i < 60; i++) {
      const prompt = Int32Array.of(65 + (i % 26), 97 + Math.floor(i / 26));
      const sampling = { ignoreEos: false, logprobs: null };
      const run = { prompt, seq: 0, count: 250, sampling };
      const { samples } = await driver.alone(run);
      const end = samples.findIndex((sample) => sample.endOfGeneration);
      lengths.push(end < 0 ? 250 : end);
    }
    const ended = lengths.filter((length) => length < 250).length;
    // 1 − (1 − 1/200)^250 = 71 % end within 250 tokens.
    expect(ended).toBeGreaterThan(30);
    expect(ended).toBeLessThan(55);
  });

  it('writes valid UTF-8 with characters that are split across tokens', async () => {
    const driver = await openDriver({ vocabSize: 4096 }, fakeEffects());
    const { tokens } = await driver.alone({ prompt: PROMPT, seq: 0, count: 240 });
    const bytes = Buffer.concat(tokens.map((token) => driver.engine.tokenBytes(token)));
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, -4), {
      stream: true,
    });
    expect(text.length).toBeLessThan(bytes.length - 4);
    expect(tokens.some((token) => token >= 0xc2 && token <= 0xf4)).toBe(true);
  });

  it('fails, aborts and hangs at the steps that it is told to', async () => {
    const effects = fakeEffects();
    const failing = await openDriver({ faults: { ...NO_FAULTS, failAtStep: 3 } }, effects);
    await expect(failing.alone({ prompt: PROMPT, seq: 0, count: 9 })).rejects.toMatchObject({
      code: 'engine_failed',
    });
    const crashing = await openDriver({ faults: { ...NO_FAULTS, crashAtStep: 2 } }, effects);
    await crashing.alone({ prompt: PROMPT, seq: 0, count: 1 });
    expect(effects.aborts).toBe(1);
    const hanging = await openDriver({ faults: { ...NO_FAULTS, hangAtStep: 1 } }, effects);
    const stuck = hanging.alone({ prompt: PROMPT, seq: 0, count: 1 });
    const first = await Promise.race([stuck, new Promise((done) => setImmediate(done, 'stuck'))]);
    expect(first).toBe('stuck');
    await hanging.engine.shutdown();
  });

  it('refuses to load when told to, and with a vocabulary without words', async () => {
    const faults = { ...NO_FAULTS, failLoad: 'no memory left' };
    const failed = openSimEngine({ ...SPEC, faults }, CONTRACT_OPTIONS, fakeEffects());
    await expect(failed).rejects.toThrow(new PlenumError('load_failed', 'no memory left'));
    const small = openSimEngine({ ...SPEC, vocabSize: 256 }, CONTRACT_OPTIONS, fakeEffects());
    await expect(small).rejects.toThrow(/vocabSize is 256/);
  });

  it('notices a wrong share, another prefix and a lost cell', async () => {
    const engine = await openSimEngine(SPEC, CONTRACT_OPTIONS, fakeEffects());
    const driver = new Driver(engine);
    await driver.keep({ prompt: PROMPT, seq: 1, count: 1 });
    const used = engine.cells.usedCells;
    const share = (count: number) => ({ op: 'share', from: 1, to: 2, count }) as const;
    await expect(driver.step([], [share(99)])).rejects.toThrow(/share of 99/);
    await driver.step([], [share(2)]);
    expect(engine.cells.usedCells).toBe(used);
    expect(engine.cells.tokensOf(2)).toEqual([70, 71]);
    await expect(driver.step([], [share(2)])).rejects.toThrow(/onto sequence 2/);
    await driver.release([1, 2]);
    expect(engine.cells.usedCells).toBe(0);
    const right = await driver.alone({ prompt: PROMPT, seq: 0, count: 8 });
    const other = await driver.alone({ prompt: Int32Array.of(70, 71, 73, 72), seq: 0, count: 8 });
    expect(other.tokens).not.toEqual(right.tokens);
  });
});
