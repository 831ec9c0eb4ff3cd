/**
 * Times steps of one model through the engine port, in a process of its own: a crash of native
 * code ends the measurement and not the command. It times what it is told to and judges nothing.
 * Started by session.ts; it ends when its parent is gone.
 */
import { assert } from '../../base/assert.ts';
import { toErrorRecord } from '../../base/errors.ts';
import { kernelsOf } from '../../engine/llama/kernels.ts';
import type { Engine } from '../../engine/port.ts';
import { EMPTY_SHAPE } from '../../scheduler/budget.ts';
import type { CacheOp, Slice } from '../../scheduler/plan.ts';
import { NEUTRAL_SAMPLING } from '../../wire/generation.ts';
import {
  type FromMeasure,
  isCpu,
  type MeasureModel,
  type StepPoint,
  type Timing,
  type ToMeasure,
} from './messages.ts';

/** A step of as many tokens needs no step before it to be warm. */
const WARM_TOKENS = 64;
/** And is repeated so many times less often: it averages over what disturbs it by itself. */
const SHORT_REPEATS = 3;

let engine: Engine | null = null;
let sequences = 0;

async function load(model: MeasureModel): Promise<FromMeasure> {
  const { openLlamaEngine } = await import('../../engine/llama/engine.ts');
  const { contextTokens, cells, parallel } = model;
  const options = { contextTokens, cells, parallel, prefixCache: false };
  engine = await openLlamaEngine(model.engine, { ...options, onProgress: () => undefined });
  sequences = parallel;
  const sampling = { ...NEUTRAL_SAMPLING, temperature: 0 };
  for (let seq = 0; seq < parallel; seq++) engine.open(seq, { sampling, prompt: new Int32Array() });
  const { engine: name, device } = engine.facts;
  const kernels = kernelsOf({ spec: model.engine, options, gpu: !isCpu(device) });
  return { type: 'loaded', facts: { engine: name, device, kernels } };
}

/** Points of one depth after one another, so that its cells are computed once. */
async function round(points: readonly StepPoint[], repeats: number): Promise<FromMeasure> {
  const timings: Timing[][] = [];
  let cells: number[] = new Array<number>(sequences).fill(0);
  await clear();
  for (const point of points) {
    const wanted = cells.map((_, seq) => (seq < point.sequences ? point.depth : 0));
    // Cells of others than those that compute would be passed over by every token.
    if (wanted.some((count, seq) => count !== cells[seq])) {
      await clear();
      await fill(point);
      cells = wanted;
    }
    const own: Timing[] = [];
    const isShort = point.sequences * point.tokensEach < WARM_TOKENS;
    // The first finds cold caches and code; of a long step that is nothing.
    if (isShort) await timed(point);
    const times = isShort ? SHORT_REPEATS * repeats : repeats;
    for (let i = 0; i < times; i++) own.push(await timed(point));
    timings.push(own);
  }
  await clear();
  return { type: 'measured', timings };
}

async function timed(point: StepPoint): Promise<Timing> {
  const slices = slicesOf(point, point.depth, point.tokensEach);
  const before = process.cpuUsage();
  const wallMs = await compute([], slices);
  const { user, system } = process.cpuUsage(before);
  await compute(
    slices.map(({ seq }) => ({ op: 'truncate', seq, keep: point.depth })),
    [],
  );
  return { wallMs, cpuMs: (user + system) / 1e3 };
}

async function clear(): Promise<void> {
  const ops = Array.from({ length: sequences }, (_, seq): CacheOp => {
    return { op: 'truncate', seq, keep: 0 };
  });
  await compute(ops, []);
}

/** Computes the cells before the step, in steps of as many tokens as the engine takes. */
async function fill(point: StepPoint): Promise<void> {
  assert(engine !== null, 'a round before a model is loaded');
  const most = engine.facts.stepTokensMax;
  for (let seq = 0; seq < point.sequences; seq++) {
    for (let start = 0; start < point.depth; start += most) {
      const tokens = tokensOf(seq, start, Math.min(most, point.depth - start));
      await compute([], [{ request: seq, seq, start, tokens, output: 'none' }]);
    }
  }
}

function slicesOf(point: StepPoint, start: number, length: number): Slice[] {
  return Array.from({ length: point.sequences }, (_, seq) => {
    const output = seq < point.outputs ? 'last' : 'none';
    return { request: seq, seq, start, tokens: tokensOf(seq, start, length), output };
  });
}

async function compute(ops: readonly CacheOp[], slices: readonly Slice[]): Promise<number> {
  assert(engine !== null, 'a round before a model is loaded');
  const result = await engine.step({ step: 0, ops, slices, shape: EMPTY_SHAPE, predictedMs: 0 });
  assert(result.kind === 'done', 'a measured step finds its cells');
  return result.computeMs;
}

/** Different in every sequence and place, so that experts are chosen as they would be. */
function tokensOf(seq: number, start: number, length: number): Int32Array {
  const vocabSize = engine?.facts.vocabSize ?? 1;
  return Int32Array.from({ length }, (_, i) => ((seq * 977 + start + i) * 7919 + 300) % vocabSize);
}

async function handle(message: ToMeasure): Promise<FromMeasure> {
  switch (message.type) {
    case 'load':
      return load(message.model);
    case 'round':
      return round(message.points, message.repeats);
  }
}

process.on('message', (message: ToMeasure) => {
  handle(message)
    .catch((thrown: unknown): FromMeasure => ({ type: 'failed', error: toErrorRecord(thrown) }))
    .then((reply) => process.send?.(reply))
    .catch(() => process.exit(1));
});
process.on('disconnect', () => process.exit(0));
