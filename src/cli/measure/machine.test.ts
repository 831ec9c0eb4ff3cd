/** From faked measurements to a profile: turns, medians, what is left of a busy machine. */
import { describe, expect, it } from 'vitest';
import { geometryOf } from '../../model/geometry.ts';
import { readGguf } from '../../model/gguf.ts';
import { memorySource } from '../../model/gguf-source.ts';
import { parseSynthSpec, syntheticHeader } from '../../model/synth.ts';
import { type ModelCost, modelCost } from '../../planner/model-cost.ts';
import { profileSteps } from '../../planner/profile.ts';
import { PROFILE } from '../../planner/profile-fixture.ts';
import { plannedStepMs } from '../../planner/step-guess.ts';
import { machineProfileSchema } from '../../wire/profile.ts';
import { type MeasuredModel, measureSteps, profileOf, shapeOf } from './machine.ts';
import type { StepPoint, Timing } from './messages.ts';
import { QUICK_MIX, STANDARD_MIX } from './mix.ts';
import { reportProfile } from './report.ts';
import { median, middleMean, spreadPct, stepMs } from './samples.ts';

async function geometry(spec: string) {
  const { header } = syntheticHeader(parseSynthSpec(spec));
  return geometryOf(await readGguf({ ...memorySource(header), size: null }, { name: spec }));
}

interface Fake {
  readonly spec: string;
  readonly points: readonly StepPoint[];
  /** Of the n-th step of this model, given its true time. */
  readonly timing: (ms: number, n: number) => Timing;
  readonly log?: string[];
  readonly device?: string;
}

const { library: _, ...kernels } = PROFILE.kernels;
const facts = { engine: PROFILE.engine, device: PROFILE.device, kernels };

/** A meter whose machine is the one of the fixture. */
async function fake({ spec, points, timing, log = [], device }: Fake): Promise<MeasuredModel> {
  const model = await geometry(spec);
  const cost: ModelCost = modelCost(model);
  const steps = profileSteps(PROFILE, model, 'f16');
  let n = 0;
  return {
    name: spec,
    cost,
    points,
    meter: {
      facts: { ...facts, device: device ?? PROFILE.device },
      close: () => Promise.resolve(),
      round: (asked, repeats) => {
        log.push(spec);
        const repeated = (point: StepPoint): Timing[] =>
          Array.from({ length: repeats }, () => timing(plannedStepMs(shapeOf(point), steps), n++));
        return Promise.resolve(asked.map(repeated));
      },
    },
  };
}

const exact = (ms: number): Timing => ({ wallMs: ms, cpuMs: ms });
const nothing = (): void => undefined;
const parts = {
  machine: PROFILE.machine,
  threads: 1,
  measuredAt: new Date('2026-11-27T12:00:00Z'),
  bandwidth: PROFILE.bandwidth,
  facts,
};

describe('measuring', () => {
  it('lets the models take turns, so that all see the same machine', async () => {
    const log: string[] = [];
    const [a, b] = await Promise.all(
      ['probe-dense@q8_0', 'probe-moe@q4_0'].map((spec) =>
        fake({ spec, points: QUICK_MIX[1]?.points ?? [], timing: exact, log }),
      ),
    );
    const models = [a, b].filter((model) => model !== undefined);
    const series = await measureSteps(models, { rounds: 3, repeats: 2 }, nothing);
    expect(log.join(' ')).toBe(Array(3).fill('probe-dense@q8_0 probe-moe@q4_0').join(' '));
    expect(series.every(({ ms }) => ms.length === 6)).toBe(true);
  });

  it('takes the processor time of one thread that was set aside, the clock of several', async () => {
    const stolen = (ms: number): Timing => ({ wallMs: 3 * ms, cpuMs: ms });
    const points = QUICK_MIX[1]?.points ?? [];
    const measured = async (device: string): Promise<number> => {
      const model = await fake({ spec: 'probe-dense@q8_0', points, timing: stolen, device });
      const [first] = await measureSteps([model], { rounds: 1, repeats: 1 }, nothing);
      return first?.ms[0] ?? 0;
    };
    const one = await measured('cpu (haswell), 1 thread');
    expect(await measured('cpu (haswell), 2 threads')).toBeCloseTo(3 * one);
    expect(await measured('Metal: Apple M4 Max, 33 of 33 layers')).toBeCloseTo(3 * one);
    expect(stepMs({ wallMs: 2, cpuMs: 3 }, 'one-thread')).toBe(2);
  });

  it('makes a profile that can be stored, near the machine that was measured', async () => {
    // One in 17 steps is disturbed.
    const timing = (ms: number, n: number): Timing => exact(n % 17 === 3 ? 4 * ms : ms);
    const models = await Promise.all(STANDARD_MIX.map((entry) => fake({ ...entry, timing })));
    const series = await measureSteps(models, { rounds: 3, repeats: 2 }, nothing);
    const profile = profileOf({ ...parts, series });
    expect(machineProfileSchema.parse(profile)).toEqual(profile);
    expect(profile.errorPct.decode).toBeLessThan(6);
    expect(profile.errorPct.prefill).toBeLessThan(6);
    const other = await geometry('llama-3.2-1b@q4_k_m');
    for (const sequences of [1, 4, 8]) {
      const shape = shapeOf({ sequences, tokensEach: 1, depth: 64, outputs: sequences });
      const found = plannedStepMs(shape, profileSteps(profile, other, 'f16'));
      const truth = plannedStepMs(shape, profileSteps(PROFILE, other, 'f16'));
      expect(Math.abs(found / truth - 1)).toBeLessThan(0.12);
    }
  });

  it('says of a step that took no time that this cannot be', async () => {
    const points = STANDARD_MIX[1]?.points ?? [];
    const model = await fake({ spec: 'probe-dense@q8_0', points, timing: () => exact(0) });
    const series = await measureSteps([model], { rounds: 1, repeats: 1 }, nothing);
    expect(() => profileOf({ ...parts, series })).toThrow(/took 0 ms/);
  });
});

describe('what is said of repeated measurements', () => {
  it('is the mean of the middle half, and how far the quartiles are apart', () => {
    expect(middleMean([90, 1, 5, 3])).toBe(4);
    expect(middleMean([7])).toBe(7);
    expect(median([5, 1, 9])).toBe(5);
    expect(median([1, 2, 3, 10])).toBe(2.5);
    expect(spreadPct([10, 10, 10])).toBe(0);
    expect(spreadPct([8, 9, 10, 11, 12])).toBe(20);
  });

  it('and a person is told which steps were noisy and what was not measured', () => {
    const [step] = PROFILE.steps;
    const noisy = { ...PROFILE, steps: step === undefined ? [] : [{ ...step, spreadPct: 45 }] };
    const output = { write: nothing, isTTY: false, columns: 100, color: false };
    const text = reportProfile(noisy, null, output).replace(/\s+/g, ' ');
    expect(text).toContain('12.0 GB/s');
    expect(text).toContain('1 of 1 steps spread by more than 20 %');
    expect(text).toContain('MXFP4, experts of F16, experts of Q6_K, experts of MXFP4');
    expect(text).toContain('Not stored.');
  });
});
