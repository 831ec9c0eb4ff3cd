/**
 * A machine's profile: that a fit finds the machine that made the measurements, and that planner
 * and server are one, in milliseconds and in bytes.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defined } from '../base/assert.ts';
import { geometryOf, type ModelGeometry } from '../model/geometry.ts';
import { readGguf } from '../model/gguf.ts';
import { memorySource } from '../model/gguf-source.ts';
import { parseSynthSpec, syntheticHeader } from '../model/synth.ts';
import { hostNeed } from './host-need.ts';
import { memoryNeed } from './memory.ts';
import { modelCost } from './model-cost.ts';
import { planModels } from './plan.ts';
import { profileParams, profileSetup, profileSteps } from './profile.ts';
import { fitProfile, type MeasuredStep, measuredDevice } from './profile-fit.ts';
import { PROFILE } from './profile-fixture.ts';
import { SPEED_TABLE } from './speed-table.ts';
import { hasTiles, type StepShape, stepTerms } from './step-cost.ts';
import { plannedStepMs, plannedTerms } from './step-guess.ts';
import { OnlineStepTime } from './step-time.ts';

async function geometry(spec: string): Promise<ModelGeometry> {
  const { header } = syntheticHeader(parseSynthSpec(spec));
  return geometryOf(await readGguf({ ...memorySource(header), size: null }, { name: spec }));
}

const MODELS = await Promise.all(
  [
    'smollm2-135m@q8_0',
    'llama-3.1-8b@q4_k_m',
    'probe-moe@q4_0',
    'gpt-oss-20b',
    'gemma-3-4b@q4_0',
    'probe-dense@f16',
  ].map(geometry),
);
const MEASURED = {
  compute: PROFILE.compute,
  bandwidthBytesPerSecond: PROFILE.bandwidth.bytesPerSecond,
  kernels: PROFILE.kernels,
};
const anyModel = fc.constantFrom(...MODELS);
const anyCache = fc.constantFrom('f16' as const, 'q8_0' as const);
const stepsOf = (model: ModelGeometry) => profileSteps(PROFILE, model, 'f16');
/** A host of this machine, before its first step. */
const freshHost = (model: ModelGeometry) => new OnlineStepTime(plannedTerms(stepsOf(model)));

const anyShape = fc
  .record({
    tokens: fc.integer({ min: 1, max: 2048 }),
    sequences: fc.integer({ min: 1, max: 64 }),
    perToken: fc.integer({ min: 1, max: 32_768 }),
    outputs: fc.integer({ min: 0, max: 64 }),
  })
  .map(
    ({ tokens, sequences, perToken, outputs }): StepShape => ({
      tokens,
      sequences: Math.min(sequences, tokens),
      attended: tokens * perToken,
      outputs: Math.min(outputs, tokens),
    }),
  );

const near = (a: number, b: number): void => {
  expect(Math.abs(a - b)).toBeLessThanOrEqual(1e-9 * Math.max(Math.abs(a), Math.abs(b)));
};

describe('planner and server are one', () => {
  it('in the milliseconds of a decode step: what plan says, a host predicts first', () => {
    fc.assert(
      fc.property(
        anyModel,
        anyCache,
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 4000 }),
        (model, cacheType, users, promptTokens) => {
          const plan = planModels({
            models: [{ geometry: model, cacheType, contextTokens: 8192, parallel: users }],
            setup: profileSetup(PROFILE),
            table: SPEED_TABLE,
            traffic: { users, promptTokens, outputTokens: 2 },
            utilisation: 1,
          });
          const depth = promptTokens + 1;
          const shape = {
            tokens: users,
            sequences: users,
            attended: users * (depth + 1),
            outputs: users,
          };
          const host = new OnlineStepTime(plannedTerms(profileSteps(PROFILE, model, cacheType)));
          near(host.predictMs(shape), (1e3 * users) / plan.speed.decodeTps);
        },
      ),
    );
  });

  it('in the milliseconds of any step: one function gives both', () => {
    fc.assert(
      fc.property(anyModel, anyShape, (model, shape) => {
        near(freshHost(model).predictMs(shape), plannedStepMs(shape, stepsOf(model)));
      }),
    );
  });

  it('in the time to first token of a prompt of one chunk', () => {
    fc.assert(
      fc.property(anyModel, fc.integer({ min: 1, max: 512 }), (model, promptTokens) => {
        const plan = planModels({
          models: [{ geometry: model }],
          setup: profileSetup(PROFILE),
          table: SPEED_TABLE,
          traffic: { users: 1, promptTokens, outputTokens: 1 },
          utilisation: 1,
        });
        const attended = (promptTokens * (promptTokens + 1)) / 2;
        const shape = { tokens: promptTokens, sequences: 1, attended, outputs: 1 };
        near(freshHost(model).predictMs(shape), defined(plan.speed.ttftMs, 'a known rate'));
      }),
    );
  });

  it('in bytes: plan, fit and admission count the same items', () => {
    fc.assert(
      fc.property(
        anyModel,
        anyCache,
        fc.integer({ min: 1, max: 32 }),
        fc.integer({ min: 256, max: 8192 }),
        (model, cacheType, parallel, contextTokens) => {
          const plan = planModels({
            models: [{ geometry: model, cacheType, contextTokens, parallel }],
            setup: profileSetup(PROFILE),
            table: SPEED_TABLE,
            traffic: { users: 1, promptTokens: 16, outputTokens: 16 },
            utilisation: 1,
          });
          const spec = hostSpec({ cacheType, contextTokens, parallel });
          const admitted = hostNeed(spec, model, null);
          const wish = { geometry: model, cacheType, contextTokens, parallel };
          const fit = memoryNeed({ ...wish, device: 'processor' });
          expect(plan.memory.neededBytes).toBe(admitted.neededBytes);
          expect(fit.neededBytes).toBe(admitted.neededBytes);
          const sizes = (items: readonly { name: string; bytes: number }[]) =>
            items.map(({ name, bytes }) => [name, bytes]);
          expect(sizes(plan.memory.items)).toEqual(sizes(admitted.items));
        },
      ),
    );
  });
});

function hostSpec(wish: {
  cacheType: 'f16' | 'q8_0';
  contextTokens: number;
  parallel: number;
}): Parameters<typeof hostNeed>[0] {
  const { cacheType, contextTokens, parallel } = wish;
  return {
    modelId: 'm',
    role: 'generate',
    engine: {
      kind: 'llama',
      path: 'm.gguf',
      threads: 1,
      gpuLayers: 0,
      cacheType,
      stepTokensMax: 512,
    },
    contextTokens,
    parallel,
    cells: contextTokens * parallel,
    queueMax: 1,
    waitMsMax: 1,
    stepTargetMs: null,
    prefixCache: true,
    heartbeatMs: 1000,
    encode: { batchTokensMax: 512, batchInputsMax: 64, inputsMax: 64, waitingTokensMax: 512 },
  };
}

describe('what a host with a profile learns', () => {
  it('is a machine that is slower by half than its profile says', () => {
    const [model] = MODELS;
    const steps = stepsOf(defined(model, 'a model'));
    const time = new OnlineStepTime(plannedTerms(steps));
    const shape = (n: number): StepShape => {
      return { tokens: n, sequences: n, attended: 200 * n, outputs: n };
    };
    for (let i = 0; i < 32; i++) {
      const one = shape(1 + (i % 8));
      time.observe(one, 1.5 * plannedStepMs(one, steps));
    }
    for (const n of [1, 4, 8]) {
      const ratio = time.predictMs(shape(n)) / plannedStepMs(shape(n), steps);
      expect(ratio).toBeGreaterThan(1.4);
      expect(ratio).toBeLessThan(1.6);
    }
  });

  it('does not make what it has not seen absurd: a prompt stays near its plan', () => {
    const [model] = MODELS;
    const steps = stepsOf(defined(model, 'a model'));
    const time = new OnlineStepTime(plannedTerms(steps));
    const decode: StepShape = { tokens: 1, sequences: 1, attended: 300, outputs: 1 };
    for (let i = 0; i < 64; i++) time.observe(decode, 1.2 * plannedStepMs(decode, steps));
    const prompt: StepShape = { tokens: 512, sequences: 1, attended: 131_328, outputs: 1 };
    const ratio = time.predictMs(prompt) / plannedStepMs(prompt, steps);
    expect(ratio).toBeGreaterThan(0.7);
    expect(ratio).toBeLessThan(1.5);
  });
});

describe('predictions from a profile', () => {
  it('never fall with more tokens, cells, rows or sequences', () => {
    fc.assert(
      fc.property(anyModel, anyShape, anyShape, (model, base, more) => {
        const larger = {
          tokens: base.tokens + more.tokens,
          sequences: base.sequences + more.sequences,
          // As many cells for each token, or more.
          attended: (base.attended * (base.tokens + more.tokens)) / base.tokens + more.attended,
          outputs: base.outputs + more.outputs,
        };
        // Attention changes to cheaper tiles there.
        const steps = stepsOf(model);
        const { blockCells } = profileParams(PROFILE).attention.plain;
        const tiled = (shape: StepShape) => hasTiles(shape, { blockCells });
        fc.pre(tiled(base) === tiled(larger));
        const [less, greater] = [plannedStepMs(base, steps), plannedStepMs(larger, steps)];
        expect(greater).toBeGreaterThanOrEqual(less * (1 - 1e-12));
      }),
    );
  });

  it('never rise with a faster memory or processor', () => {
    fc.assert(
      fc.property(
        anyModel,
        anyShape,
        fc.double({ min: 1, max: 50, noNaN: true }),
        fc.double({ min: 1, max: 50, noNaN: true }),
        (model, shape, memory, processor) => {
          const faster = {
            ...PROFILE,
            bandwidth: {
              ...PROFILE.bandwidth,
              bytesPerSecond: PROFILE.bandwidth.bytesPerSecond * memory,
            },
            opsPerSecond: PROFILE.opsPerSecond * processor,
          };
          const before = plannedStepMs(shape, stepsOf(model));
          const after = plannedStepMs(shape, profileSteps(faster, model, 'f16'));
          expect(after).toBeLessThanOrEqual(before * (1 + 1e-12));
        },
      ),
    );
  });
});

describe('a fit', () => {
  const shapes = [1, 2, 4, 8, 16, 48, 128].flatMap((tokens): StepShape[] =>
    [1, 512].map((cells) => {
      const sequences = tokens <= 8 ? tokens : 1;
      return { tokens, sequences, attended: tokens * cells, outputs: sequences };
    }),
  );
  const names = [
    'probe-dense@f16',
    'probe-dense@q8_0',
    'probe-dense@q4_0',
    'probe-narrow@q8_0',
    'probe-moe@q8_0',
  ];

  async function measuredOn(spec: string, noise: (i: number) => number): Promise<MeasuredStep[]> {
    const model = await geometry(spec);
    return shapes.map((shape, i) => ({
      cost: modelCost(model),
      shape,
      measuredMs: plannedStepMs(shape, stepsOf(model)) * noise(i),
    }));
  }

  it('of exact measurements finds the machine, and predicts a model that was not measured', async () => {
    const steps = (await Promise.all(names.map((name) => measuredOn(name, () => 1)))).flat();
    const fit = fitProfile(steps, MEASURED);
    expect(fit.kinds).toEqual(['float', 'q8', 'q4']);
    expect(fit.expertKinds).toEqual(['q8']);
    for (const [i, { measuredMs }] of steps.entries()) {
      expect(Math.abs((fit.predictedMs[i] ?? 0) / measuredMs - 1)).toBeLessThan(0.06);
    }
    const device = measuredDevice({ ...fit, bandwidthBytesPerSecond: 12e9 });
    for (const { cost, shape, measuredMs } of await measuredOn('smollm2-360m@q8_0', () => 1)) {
      const { totalMs } = stepTerms(shape, cost, device);
      expect(Math.abs(totalMs / measuredMs - 1)).toBeLessThan(0.06);
    }
  });

  it('bears a tenth of noise and a step that was disturbed', async () => {
    const noise = (i: number): number => (i === 3 ? 3 : 1 + 0.1 * Math.sin(7 * i));
    const steps = (await Promise.all(names.map((name) => measuredOn(name, noise)))).flat();
    const fit = fitProfile(steps, MEASURED);
    const errors = steps.map(({ measuredMs }, i) => {
      const exact = measuredMs / noise(i % shapes.length);
      return Math.abs((fit.predictedMs[i] ?? 0) / exact - 1);
    });
    expect(errors.reduce((sum, error) => sum + error, 0) / errors.length).toBeLessThan(0.12);
  });

  it('takes what was not measured from the nearest kind', async () => {
    const steps = await measuredOn('probe-dense@q8_0', () => 1);
    const { params } = fitProfile(steps, MEASURED);
    expect(params.matrixShare.q4).toBe(params.matrixShare.q8);
    expect(params.expertShare).toBeUndefined();
  });

  it('of a few steps is refused', () => {
    expect(() => fitProfile([], MEASURED)).toThrow(/too few/);
  });
});
