/** The contract of encoders on the simulated one, and what only that one promises. */
import { expect, it } from 'vitest';
import type { SimSpec } from '../../wire/host.ts';
import type { Encoder, EncoderOptions } from '../encoder.ts';
import { cosine, describeEncoderContract, ENCODER_OPTIONS } from '../encoder-contract.ts';
import { openSimEncoder } from './encoder.ts';

const SPEC: SimSpec = {
  seed: 7,
  vocabSize: 1000,
  fixedMs: 0,
  perTokenMs: 0,
  perAttendedMs: 0,
  noise: 0,
  stepTokensMax: 256,
  faults: { crashAtStep: null, failAtStep: null, hangAtStep: null, failLoad: null },
};

const open = (options: EncoderOptions): Promise<Encoder> => openSimEncoder(SPEC, options);
const withFaults = (faults: Partial<SimSpec['faults']>): Promise<Encoder> =>
  openSimEncoder({ ...SPEC, faults: { ...SPEC.faults, ...faults } }, ENCODER_OPTIONS);

describeEncoderContract('sim', 'embed', open);
describeEncoderContract('sim', 'rank', open);
describeEncoderContract('sim', 'classify', open);

it('gives texts that share words near vectors', async () => {
  const encoder = await open(ENCODER_OPTIONS);
  const batch = [];
  for (const text of [' the time of people', ' the time of my people', ' zzz qqq xxx']) {
    batch.push(await encoder.tokenize({ kind: 'text', text }));
  }
  const { values, width } = await encoder.encode('embed', batch);
  const row = (i: number): Float32Array => values.subarray(i * width, (i + 1) * width);
  expect(cosine(row(0), row(1))).toBeGreaterThan(cosine(row(0), row(2)) + 0.2);
  await encoder.shutdown();
});

it('scores a document by what it shares with the query', async () => {
  const encoder = await open(ENCODER_OPTIONS);
  const batch = [];
  for (const document of [' water and time', ' water', ' people']) {
    batch.push(await encoder.tokenize({ kind: 'pair', query: ' time water', document }));
  }
  const [all = 0, half = 0, none = 0] = (await encoder.encode('rank', batch)).values;
  expect(all).toBeGreaterThan(half);
  expect(half).toBeGreaterThan(none);
  await encoder.shutdown();
});

it('takes the time of its model', async () => {
  const slept: number[] = [];
  const effects = {
    sleep: async (ms: number): Promise<void> => void slept.push(ms),
    abort: (): void => undefined,
  };
  const spec = { ...SPEC, fixedMs: 3, perTokenMs: 0.5, perAttendedMs: 0.01 };
  const encoder = await openSimEncoder(spec, ENCODER_OPTIONS, effects);
  const { computeMs } = await encoder.encode('embed', [new Int32Array(10), new Int32Array(20)]);
  expect(computeMs).toBeCloseTo(3 + 15 + 0.01 * (100 + 400));
  expect(slept.at(-1)).toBe(computeMs);
});

it('fails where it is told to', async () => {
  await expect(withFaults({ failLoad: 'no luck' })).rejects.toMatchObject({
    code: 'load_failed',
    message: 'no luck',
  });
  await expect(openSimEncoder({ ...SPEC, vocabSize: 3 }, ENCODER_OPTIONS)).rejects.toThrow(/is 3/);
  const encoder = await withFaults({ failAtStep: 2 });
  const batch = [Int32Array.of(1)];
  await encoder.encode('embed', batch);
  await expect(encoder.encode('embed', batch)).rejects.toMatchObject({ code: 'engine_failed' });
});
