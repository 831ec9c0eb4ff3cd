/** What a measured processor's steps cost beyond the two terms: blocks, passes, rows, pages. */
import { describe, expect, it } from 'vitest';
import { defined } from '../base/assert.ts';
import { geometryOf, type ModelGeometry } from '../model/geometry.ts';
import { readGguf } from '../model/gguf.ts';
import { memorySource } from '../model/gguf-source.ts';
import { parseSynthSpec, syntheticHeader } from '../model/synth.ts';
import { modelCost } from './model-cost.ts';
import { profileSteps } from './profile.ts';
import { PROFILE } from './profile-fixture.ts';
import { type StepShape, stepTerms } from './step-cost.ts';
import { plannedStepMs } from './step-guess.ts';

async function geometry(spec: string): Promise<ModelGeometry> {
  const { header } = syntheticHeader(parseSynthSpec(spec));
  return geometryOf(await readGguf({ ...memorySource(header), size: null }, { name: spec }));
}

const MODELS = await Promise.all(
  ['smollm2-135m@q8_0', 'gemma-3-4b@q4_0', 'gpt-oss-20b', 'probe-dense@f16'].map(geometry),
);
const stepsOf = (model: ModelGeometry) => profileSteps(PROFILE, model, 'f16');

const near = (a: number, b: number): void => {
  expect(Math.abs(a - b)).toBeLessThanOrEqual(1e-9 * Math.max(Math.abs(a), Math.abs(b)));
};

describe('a processor with a cache for each sequence', () => {
  const decode = (sequences: number, depth: number): StepShape => {
    return { tokens: sequences, sequences, attended: sequences * depth, outputs: sequences };
  };

  it('passes over whole blocks of cells of its own sequence alone, beyond a window too', () => {
    for (const model of MODELS) {
      const ms = (shape: StepShape): number => plannedStepMs(shape, stepsOf(model));
      expect(ms(decode(4, 1))).toBe(ms(decode(4, 256)));
      expect(ms(decode(4, 257))).toBeGreaterThan(ms(decode(4, 256)));
      const extra = (sequences: number): number =>
        ms(decode(sequences, 1024)) - ms(decode(sequences, 512));
      expect(extra(8) / extra(1)).toBeCloseTo(8, 6);
    }
  });

  it('reads weights of each kind at a share of the bandwidth of its own', () => {
    const model = defined(MODELS[0], 'a model');
    const { params } = PROFILE;
    const at = (factor: number): number => {
      const of = Object.entries(params.readShare).map(([kind, share]) => [kind, share * factor]);
      const readShare = { ...params.readShare, ...Object.fromEntries(of) };
      const changed = { ...PROFILE, params: { ...params, readShare } };
      return plannedStepMs(decode(1, 1), profileSteps(changed, model, 'f16'));
    };
    expect(at(0.5)).toBeGreaterThan(1.3 * at(1));
    const unused = { ...params, readShare: { ...params.readShare, mx: 1e-3 } };
    const same = profileSteps({ ...PROFILE, params: unused }, model, 'f16');
    expect(plannedStepMs(decode(1, 1), same)).toBe(at(1));
  });

  it('computes rows of one sequence in tiles, which one row of each of several is not', () => {
    const steps = stepsOf(defined(MODELS[0], 'a model'));
    const of = (sequences: number, cells: number): number =>
      plannedStepMs({ tokens: 8, sequences, attended: 8 * cells, outputs: sequences }, steps);
    expect(of(1, 900) - of(1, 100)).toBeLessThan(0.6 * (of(8, 900) - of(8, 100)));
  });

  it('takes longer for a narrow model than for a wide one of as many weights', async () => {
    const wide = modelCost(await geometry('probe-dense@q8_0'));
    const shape: StepShape = { tokens: 128, sequences: 1, attended: 0, outputs: 128 };
    const { placement, options } = stepsOf(defined(MODELS[0], 'a model'));
    const ms = (width: number): number =>
      plannedStepMs(shape, { cost: { ...wide, width }, placement, options });
    const numbers = (128 * wide.dense.parameters) / 1024;
    near(ms(512) - ms(1024), 1e-6 * PROFILE.params.elementNanos * numbers);
  });

  it('computes the last feed-forward block for rows with logits alone', async () => {
    const model = await geometry('probe-dense@q8_0');
    const [layer] = model.layers;
    const blockBytes = (model.width * defined(layer, 'a layer').ff * 3 * 34) / 32;
    const steps = profileSteps(PROFILE, model, 'f16');
    const cost = modelCost(model);
    const device = defined(steps.placement.stages[0], 'a stage').device;
    const bytesMs = (outputs: number): number =>
      stepTerms({ tokens: 64, sequences: 1, attended: 0, outputs }, cost, device).bandwidthMs;
    const read = PROFILE.params.readShare.q8 * device.bandwidthBytesPerSecond;
    const all = (1e3 * (cost.dense.bytes + cost.head.bytes)) / read;
    const without = (1e3 * (cost.dense.bytes - blockBytes)) / read;
    // Norms are F32 and counted as the rest.
    expect(bytesMs(0) / without).toBeCloseTo(1, 3);
    near(bytesMs(1), all);
    const ms = (outputs: number): number =>
      plannedStepMs({ tokens: 64, sequences: 1, attended: 0, outputs }, { ...steps, cost });
    expect(ms(64)).toBeGreaterThan(1.04 * ms(1));
  });

  it('computes all rows to the end where vectors are wanted of all, or the library does so', async () => {
    for (const spec of ['all-minilm-l6-v2', 'gpt-oss-20b']) {
      expect(modelCost(await geometry(spec)).last).toEqual({ dense: 0, experts: 0 });
    }
    const { last } = modelCost(await geometry('probe-moe@q4_0'));
    expect(last.experts).toBe(1 / 8);
  });

  it('computes more than one row of quantised weights by tiles alone', () => {
    const { params } = PROFILE;
    const steps = (oneRowKernels: boolean, model: ModelGeometry) => {
      const slow = { ...params.matrixShare, q8: 0.02, float: 0.02 };
      const changed = { ...PROFILE, params: { ...params, oneRowKernels, matrixShare: slow } };
      return profileSteps(changed, model, 'f16');
    };
    const two: StepShape = { tokens: 2, sequences: 1, attended: 0, outputs: 2 };
    const ratio = (model: ModelGeometry): number =>
      plannedStepMs(two, steps(true, model)) / plannedStepMs(two, steps(false, model));
    expect(ratio(defined(MODELS[0], 'one of Q8_0'))).toBeGreaterThan(2);
    near(ratio(defined(MODELS[3], 'one of F16')), 1);
  });

  it('takes longer where rows of results are whole pages, from more rows on than a set holds', async () => {
    const pages = modelCost(await geometry('probe-wide@q8_0'));
    const offset = modelCost(await geometry('probe-offset@q8_0'));
    expect(pages.dense.paged).toBeGreaterThan(0.99);
    expect(offset.dense.paged).toBeLessThan(0.05);
    const steps = stepsOf(defined(MODELS[0], 'a model'));
    const ms = (tokens: number, paged: number): number => {
      const cost = { ...pages, dense: { ...pages.dense, paged }, head: { ...pages.head, paged } };
      const shape: StepShape = { tokens, sequences: tokens, attended: 0, outputs: tokens };
      return plannedStepMs(shape, { ...steps, cost });
    };
    near(ms(12, 1), ms(12, 0));
    const { pagedFactor } = PROFILE.params;
    expect(ms(128, 1) / ms(128, 0)).toBeGreaterThan(1 + 0.8 * (pagedFactor - 1));
    expect(ms(128, 1) / ms(128, 0)).toBeLessThanOrEqual(pagedFactor);
  });

  it('takes a time to route in each layer with experts, and in no other', async () => {
    const more = { ...PROFILE.params, routingMicros: PROFILE.params.routingMicros + 100 };
    const slower = { ...PROFILE, params: more };
    const addedMs = async (spec: string): Promise<number> => {
      const model = await geometry(spec);
      const after = plannedStepMs(decode(4, 16), profileSteps(slower, model, 'f16'));
      return after - plannedStepMs(decode(4, 16), stepsOf(model));
    };
    expect(await addedMs('probe-moe@q4_0')).toBeCloseTo(8 * 0.1, 6);
    expect(await addedMs('probe-dense@q4_0')).toBe(0);
  });

  it('reads its weights again for each 128 tokens, which its limit does not count', () => {
    const [model] = MODELS;
    const { cost, placement } = stepsOf(defined(model, 'a model'));
    const device = defined(placement.stages[0], 'a stage').device;
    // Without a head; every token passes through all layers.
    const bare = { ...cost, head: { ...cost.head, bytes: 0, parameters: 0 } };
    const terms = (tokens: number) =>
      stepTerms({ tokens, sequences: 1, attended: 0, outputs: tokens }, bare, device);
    near(terms(256).bandwidthMs, 2 * terms(128).bandwidthMs);
    near(terms(256).totalMs, 2 * terms(128).totalMs);
    expect(terms(129).totalMs).toBeGreaterThan(terms(128).totalMs);
    expect(terms(1).limitMs).toBeLessThan(terms(1).bandwidthMs);
    const bytesMs = (1e3 * cost.dense.bytes) / device.peakBytesPerSecond;
    expect(terms(512).limitMs).toBeGreaterThanOrEqual(bytesMs);
    const opsMs = (2e3 * cost.dense.parameters * 512) / PROFILE.opsPerSecond;
    near(terms(512).limitMs, Math.max(bytesMs, opsMs));
  });
});
