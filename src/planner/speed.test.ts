/** The speed model: its laws, its fit to the published rows, and what its answers say. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorsBySet, predictAll, RowPredictor } from '../../tools/speed-model.ts';
import { speedRows } from '../../tools/speed-rows.ts';
import { loadCatalogue } from '../model/catalogue-data.ts';
import type { CatalogueMachine } from '../model/catalogue-types.ts';
import { geometryOfModel } from './architecture.ts';
import { deviceOf } from './device.ts';
import { findMachine, findModel } from './lookup.ts';
import { expectedExperts, type ModelCost, modelCost } from './model-cost.ts';
import { layerSplit, placedPrompt, placedStep, singleDevice } from './placement.ts';
import { predictSpeed, type SpeedAsk } from './speed.ts';
import { familyParams } from './speed-params.ts';
import { SPEED_TABLE } from './speed-table.ts';
import type { Device } from './step-cost.ts';
import { plannedStepMs, stepTimeGuess } from './step-guess.ts';
import { OnlineStepTime } from './step-time.ts';

const catalogue = loadCatalogue();
const cost = (id: string, quant = 'Q4_K_M'): ModelCost =>
  modelCost(geometryOfModel(findModel(catalogue, id), quant));
const device = (machine: CatalogueMachine): Device => {
  const params = familyParams(SPEED_TABLE, machine.family);
  return deviceOf({ machine, params, attention: 'flash' });
};
const machine = (id: string): CatalogueMachine => findMachine(catalogue, id);
const ask = (id: string, model: string, more: Partial<SpeedAsk> = {}): SpeedAsk => ({
  cost: cost(model),
  placement: singleDevice(device(machine(id))),
  params: familyParams(SPEED_TABLE, machine(id).family),
  users: 1,
  promptTokens: 512,
  outputTokens: 128,
  ...more,
});

describe('the fit', () => {
  const predictor = new RowPredictor(catalogue);
  const used = speedRows().filter(({ excluded }) => excluded === null);
  const predicted = predictAll(predictor, used, (family) => familyParams(SPEED_TABLE, family));
  const errors = new Map(errorsBySet(predicted).map((set) => [set.name, set]));

  it.each([
    ['llama-2-7b-apple decode', 6, 54],
    ['llama-2-7b-apple prefill', 8, 54],
    ['llama-3-all decode', 12, 240],
    ['batched decode', 15, 30],
    ['depth decode', 8, 10],
    ['others decode', 10, 30],
    ['llama-3-all prefill', 18, 200],
  ])('predicts %s within %s %% on average', (name, target, rows) => {
    expect(errors.get(name)?.count).toBeGreaterThanOrEqual(rows);
    expect(errors.get(name)?.mape).toBeLessThan(target);
  });

  it('leaves few rows out, each with a reason', () => {
    const excluded = speedRows().filter(({ excluded: why }) => why !== null);
    expect(excluded.length).toBeLessThan(0.08 * used.length);
    for (const { excluded: why } of excluded) expect((why ?? '').length).toBeGreaterThan(20);
  });

  it('has no parameter beyond what is physical', () => {
    for (const [family, params] of Object.entries(SPEED_TABLE)) {
      expect(params.bandwidthShare, family).toBeLessThanOrEqual(1);
      expect(params.softness, family).toBeGreaterThanOrEqual(1);
      expect(params.errorPct.decode, family).toBeGreaterThan(0);
    }
  });
});

describe('laws', () => {
  const models = ['llama-3.1-8b', 'qwen3-30b-a3b', 'gemma-3-4b', 'gpt-oss-20b'].map((id) =>
    cost(id),
  );
  const machines = catalogue.machines.filter(({ bandwidth }) => bandwidth !== null);
  const shape = fc.record({
    tokens: fc.integer({ min: 1, max: 600 }),
    attended: fc.integer({ min: 1, max: 4_000_000 }),
  });
  const step = (model: ModelCost, on: Device, { tokens = 1, attended = 1 }): number =>
    placedStep({
      shape: { tokens, sequences: Math.min(tokens, 8), attended, outputs: 1 },
      cost: model,
      placement: singleDevice(on),
    }).totalMs;

  it('more bandwidth is never slower, more compute is never slower', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...machines),
        fc.constantFrom(...models),
        shape,
        fc.double({ min: 1, max: 8, noNaN: true }),
        (entry, model, what, factor) => {
          const base = device(entry);
          const faster: Device = {
            ...base,
            bandwidthBytesPerSecond: base.bandwidthBytesPerSecond * factor,
          };
          const stronger: Device = {
            ...base,
            matrixOpsPerSecond: (base.matrixOpsPerSecond ?? 1e12) * factor,
            vectorOpsPerSecond: (base.vectorOpsPerSecond ?? 1e12) * factor,
          };
          const known: Device = {
            ...base,
            matrixOpsPerSecond: base.matrixOpsPerSecond ?? 1e12,
            vectorOpsPerSecond: base.vectorOpsPerSecond ?? 1e12,
          };
          expect(step(model, faster, what)).toBeLessThanOrEqual(step(model, base, what) + 1e-9);
          expect(step(model, stronger, what)).toBeLessThanOrEqual(step(model, known, what) + 1e-9);
        },
      ),
    );
  });

  it('more tokens and more context never take less time', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...machines),
        fc.constantFrom(...models),
        shape,
        (entry, model, what) => {
          const on = device(entry);
          const now = step(model, on, what);
          const { tokens, attended } = what;
          const each = attended / tokens;
          const more = { tokens: tokens + 1, attended: each * (tokens + 1) };
          expect(step(model, on, more)).toBeGreaterThanOrEqual(now - 1e-9);
          expect(step(model, on, { tokens, attended: attended + 1000 })).toBeGreaterThanOrEqual(
            now,
          );
        },
      ),
    );
  });

  it('no prediction beats the physical limit', () => {
    for (const entry of machines) {
      for (const model of models) {
        for (const users of [1, 8, 64]) {
          const params = familyParams(SPEED_TABLE, entry.family);
          const placement = singleDevice(device(entry));
          const speed = predictSpeed({
            ...{ cost: model, placement, params, users, promptTokens: 512, outputTokens: 128 },
          });
          expect(speed.ofLimit, entry.id).toBeLessThanOrEqual(1);
          expect(speed.ofLimit, entry.id).toBeGreaterThan(0);
        }
      }
    }
  });

  it('experts touched are k for one token and all of them in the end', () => {
    expect(expectedExperts(128, 4, 1)).toBeCloseTo(4, 10);
    expect(expectedExperts(128, 4, 2)).toBeCloseTo(128 * (1 - (31 / 32) ** 2), 10);
    expect(expectedExperts(32, 4, 512)).toBeCloseTo(32, 6);
  });
});

describe('answers', () => {
  it('a cached prefix shortens the time to the first token', () => {
    const speed = predictSpeed(ask('m4-max-40c', 'llama-3.3-70b', { cachedTokens: 448 }));
    expect(speed.warmTtftMs ?? 0).toBeLessThan((speed.ttftMs ?? 0) / 3);
  });

  it('speculation helps when proposals are accepted and costs when they are not', () => {
    const draft = cost('llama-3.2-1b', 'Q8_0');
    const with_ = (acceptance: number): number =>
      predictSpeed(
        ask('m3-ultra-80c', 'llama-3.3-70b', {
          speculation: { draft, draftTokens: 4, acceptance },
        }),
      ).decodeTps;
    const plain = predictSpeed(ask('m3-ultra-80c', 'llama-3.3-70b')).decodeTps;
    expect(with_(0.8)).toBeGreaterThan(1.3 * plain);
    expect(with_(0)).toBeLessThan(plain);
    expect(with_(1)).toBeGreaterThan(with_(0.9));
  });

  it('say what binds: bandwidth alone, compute with many', () => {
    expect(predictSpeed(ask('m4-max-40c', 'llama-3.3-70b')).binding).toBe('bandwidth');
    const many = predictSpeed(ask('m4-max-40c', 'llama-3.3-70b', { users: 64 }));
    expect(many.binding).toBe('compute');
    const tiny = predictSpeed(ask('rtx-5090', 'gemma-3-270m'));
    expect(tiny.binding).toBe('overhead');
  });

  it('leave prompts unpredicted where no compute rate is known', () => {
    const unknown = { ...device(machine('rx-9070')), matrixOpsPerSecond: null };
    const speed = predictSpeed(
      ask('rx-9070', 'llama-3.1-8b', { placement: singleDevice(unknown) }),
    );
    expect(speed.prefillTps).toBeNull();
    expect(speed.decodeTps).toBeGreaterThan(10);
  });

  it('several cards decode no faster than one and read long prompts faster', () => {
    const card = device(machine('rtx-3090'));
    const model = cost('llama-3.1-8b');
    const many = layerSplit(card, 4, 32e9);
    const shape = { tokens: 1, sequences: 1, attended: 512, outputs: 1 };
    const one = singleDevice(card);
    expect(placedStep({ shape, cost: model, placement: many }).totalMs).toBeGreaterThan(
      placedStep({ shape, cost: model, placement: one }).totalMs,
    );
    const prompt = (placement: typeof one): number =>
      placedPrompt({ cost: model, placement, tokens: 4096, cached: 0 }).totalMs;
    expect(prompt(many)).toBeLessThan(0.6 * prompt(one));
  });

  it('refuse impossible numbers', () => {
    expect(() => predictSpeed(ask('m4-10c', 'llama-3.2-1b', { users: 0 }))).toThrow(/users is 0/);
    const speculation = { draft: cost('llama-3.2-1b'), draftTokens: 4, acceptance: 1.2 };
    expect(() => predictSpeed(ask('m4-10c', 'llama-3.1-8b', { speculation }))).toThrow(
      /acceptance is 1.2/,
    );
    expect(() => familyParams(SPEED_TABLE, 'metal-m9')).toThrow(/known: metal-m1/);
  });
});

describe('the scheduler’s guess', () => {
  it('is the planner’s own time at one token and at a full batch', () => {
    const steps = {
      cost: cost('llama-3.1-8b'),
      placement: singleDevice(device(machine('m4-10c'))),
    };
    const online = new OnlineStepTime(stepTimeGuess(steps));
    for (const tokens of [1, 512]) {
      const shape = { tokens, sequences: 1, attended: tokens, outputs: 1 };
      const planned = plannedStepMs(shape, steps);
      expect(online.predictMs(shape) / planned).toBeCloseTo(1, 1);
    }
  });
});
