/**
 * What every encoder must do, as tests; both implementations pass it. On floating point: the last
 * bits of a sum change with the shape of a batch, so two computations of one input are compared by
 * the cosine of their rows, or by their difference where a row is one number.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defined } from '../base/assert.ts';
import type { EncodeTask } from '../wire/encode.ts';
import type { Encoder, EncoderOptions } from './encoder.ts';

export const ENCODER_OPTIONS: EncoderOptions = {
  contextTokens: 128,
  batchTokensMax: 256,
  batchInputsMax: 8,
  onProgress: () => undefined,
};

const COSINE_MIN = 0.99999;
/**
 * Of one logit. Seen: up to 2.5e-3 in 1,500 comparisons on models of 2 layers, where attention adds
 * in 16 bits; another input moves a logit by some tenths.
 */
const LOGIT_DIFFERENCE_MAX = 8e-3;

/** `open` makes a fresh encoder with ENCODER_OPTIONS. */
export function describeEncoderContract(
  name: string,
  task: EncodeTask,
  open: (options: EncoderOptions) => Promise<Encoder>,
): void {
  describe(`encoder contract: ${name}, ${task}`, () => {
    let encoder: Encoder;
    beforeAll(async () => {
      encoder = await open(ENCODER_OPTIONS);
    });
    afterAll(() => encoder.shutdown());

    const rows: Rows = async (batch) => {
      const { values, width } = await encoder.encode(task, batch);
      expect(values).toHaveLength(batch.length * width);
      return batch.map((_, i) => values.slice(i * width, (i + 1) * width));
    };
    const alone: Alone = async (tokens) => defined((await rows([tokens]))[0], 'row');
    describeRows(rows, alone);

    it('says what it computes', () => {
      const { facts } = encoder;
      expect(facts.tasks).toContain(task);
      expect(facts.contextTokens).toBe(ENCODER_OPTIONS.contextTokens);
      expect(facts.vocabSize).toBeGreaterThan(256);
      expect(facts.matryoshkaDimensions.every((n) => n < facts.dimensions)).toBe(true);
      expect(facts.labels.length > 1).toBe(facts.tasks.includes('classify'));
    });

    it('gives a row of the width that its facts say, of finite numbers', async () => {
      const row = await alone(input(12, 1));
      const { dimensions, labels } = encoder.facts;
      const width = { embed: dimensions, rank: 1, classify: labels.length }[task];
      expect(row).toHaveLength(width);
      expect(row.every(Number.isFinite)).toBe(true);
    });

    it('tokenises while it computes, and gives tokens as they are', async () => {
      const computing = rows([input(100, 1)]);
      const tokens = await encoder.tokenize({ kind: 'text', text: 'two words' });
      expect(tokens.length).toBeGreaterThan(1);
      const own = Int32Array.of(30, 31);
      expect(await encoder.tokenize({ kind: 'tokens', tokens: own })).toEqual(own);
      const pair = { kind: 'pair', query: 'two words', document: 'two words' } as const;
      expect((await encoder.tokenize(pair)).length).toBeGreaterThan(tokens.length);
      await computing;
    });

    it('counts its bytes', () => {
      const { weightsBytes, kvBytes, computeBytes } = encoder.stats();
      expect(weightsBytes).toBeGreaterThanOrEqual(0);
      expect(kvBytes).toBeGreaterThanOrEqual(0);
      expect(computeBytes).toBeGreaterThan(0);
    });

    it('closes after the batch under way, and twice without harm', async () => {
      const other = await open(ENCODER_OPTIONS);
      const computing = other.encode(task, [input(64, 1)]);
      await Promise.all([other.shutdown(), other.shutdown()]);
      expect((await computing).values.length).toBeGreaterThan(0);
      await expect(other.encode(task, [input(4, 0)])).rejects.toThrow(/after shutdown/);
    });
  });
}

type Rows = (batch: readonly Int32Array[]) => Promise<Float32Array[]>;
type Alone = (tokens: Int32Array) => Promise<Float32Array>;

const input = (length: number, seed: number): Int32Array =>
  Int32Array.from({ length }, (_, i) => 20 + ((i * 31 + seed * 17) % 200));

function describeRows(rows: Rows, alone: Alone): void {
  it('gives different inputs different rows', async () => {
    const [a, b] = await rows([input(12, 1), input(12, 5)]);
    expect(nearness(defined(a, 'row'), defined(b, 'row')).same).toBe(false);
  });

  it('gives in a batch, of long and short inputs in any order, what each gives alone', async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.nat(1000), async (wanted, seed) => {
        const batch = [...wanted.map((length, i) => input(length, seed + i))];
        const together = await rows(batch);
        for (const [i, tokens] of batch.entries()) {
          expectNear(defined(together[i], 'row'), await alone(tokens));
        }
        const backwards = (await rows(batch.toReversed())).toReversed();
        for (const [i, row] of backwards.entries()) {
          expectNear(row, defined(together[i], 'row'));
        }
      }),
      { numRuns: 12 },
    );
  });

  it('computes the longest input and the fullest batch', async () => {
    const { contextTokens, batchInputsMax, batchTokensMax } = ENCODER_OPTIONS;
    const longest = input(contextTokens, 3);
    const row = await alone(longest);
    const each = Math.floor((batchTokensMax - contextTokens) / (batchInputsMax - 1));
    const rest = Array.from({ length: batchInputsMax - 1 }, (_, i) => input(each, i));
    expectNear(defined((await rows([longest, ...rest]))[0], 'row'), row);
  });

  it('asserts a batch that its facts do not allow', async () => {
    const { contextTokens, batchInputsMax } = ENCODER_OPTIONS;
    await expect(rows([])).rejects.toThrow(/batch of 0/);
    await expect(rows([new Int32Array(0)])).rejects.toThrow(/0 tokens/);
    await expect(alone(input(contextTokens + 1, 0))).rejects.toThrow(/129 tokens/);
    const many = Array.from({ length: batchInputsMax + 1 }, () => input(1, 0));
    await expect(rows(many)).rejects.toThrow(/batch of 9/);
    await expect(rows([input(128, 0), input(128, 1), input(1, 2)])).rejects.toThrow(/257/);
    await expect(alone(Int32Array.of(-1))).rejects.toThrow(/token -1/);
    expect(await alone(input(4, 0))).toBeDefined();
  });
}

export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] ?? 0, b[i] ?? 0];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

/** Short rows are logits, whose size matters; the direction of long ones is what they say. */
function nearness(a: Float32Array, b: Float32Array): { same: boolean; text: string } {
  if (a.length > 8) {
    const value = cosine(a, b);
    return { same: value > COSINE_MIN, text: `cosine ${value}` };
  }
  const difference = Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? 0))));
  return { same: difference < LOGIT_DIFFERENCE_MAX, text: `difference ${difference}` };
}

function expectNear(a: Float32Array, b: Float32Array): void {
  const { same, text } = nearness(a, b);
  expect(same, text).toBe(true);
}
