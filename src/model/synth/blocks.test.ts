/** Decodes pools by the definitions of the formats and looks at the statistics. */
import { describe, expect, it } from 'vitest';
import { type GgmlType, ggmlTypeByName } from '../gguf-types.ts';
import { makePool, toF16 } from './blocks.ts';

/** Half-precision bits to a number, by the definition of IEEE 754. */
function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

type Decoder = (block: DataView) => number[];

const nibbles = (view: DataView, at: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => (view.getUint8(at + (i >> 1)) >> (4 * (i & 1))) & 15);
const half = (view: DataView, at: number): number => fromF16(view.getUint16(at, true));
const FP4 = [0, 1, 2, 3, 4, 6, 8, 12, -0, -1, -2, -3, -4, -6, -8, -12];

/** Scale and minimum `i` of a K block, as the format packs them. */
function scaleAndMin(view: DataView, at: number, i: number): readonly [number, number] {
  const byte = (n: number): number => view.getUint8(at + n);
  if (i < 4) return [byte(i) & 63, byte(i + 4) & 63];
  return [
    (byte(i + 4) & 15) | ((byte(i - 4) >> 6) << 4),
    (byte(i + 4) >> 4) | ((byte(i) >> 6) << 4),
  ];
}

function kValues(view: DataView, quants: readonly number[]): number[] {
  const [d, min] = [half(view, 0), half(view, 2)];
  return quants.map((q, i) => {
    const [scale, minScale] = scaleAndMin(view, 4, Math.floor(i / 32));
    return d * scale * q - min * minScale;
  });
}

/** A fifth bit per element. The order of elements in a block does not matter to the statistics. */
const fives = (view: DataView, high: number, low: number, count: number): number[] =>
  nibbles(view, low, count).map(
    (q, i) => q | (((view.getUint8(high + (i >> 3)) >> (i & 7)) & 1) << 4),
  );

const DECODERS: Readonly<Record<string, Decoder>> = {
  F32: (view) => Array.from({ length: 32 }, (_, i) => view.getFloat32(i * 4, true)),
  F16: (view) => Array.from({ length: 32 }, (_, i) => half(view, i * 2)),
  BF16: (view) => {
    const wide = new DataView(new ArrayBuffer(4));
    return Array.from({ length: 32 }, (_, i) => {
      wide.setUint32(0, view.getUint16(i * 2, true) * 65536);
      return wide.getFloat32(0);
    });
  },
  Q4_0: (view) => nibbles(view, 2, 32).map((q) => half(view, 0) * (q - 8)),
  Q4_1: (view) => nibbles(view, 4, 32).map((q) => half(view, 0) * q + half(view, 2)),
  Q5_0: (view) => fives(view, 2, 6, 32).map((q) => half(view, 0) * (q - 16)),
  Q5_1: (view) => fives(view, 4, 8, 32).map((q) => half(view, 0) * q + half(view, 2)),
  Q8_0: (view) => Array.from({ length: 32 }, (_, i) => half(view, 0) * view.getInt8(2 + i)),
  Q4_K: (view) => kValues(view, nibbles(view, 16, 256)),
  Q5_K: (view) => kValues(view, fives(view, 16, 48, 256)),
  Q6_K: (view) =>
    nibbles(view, 0, 256).map((low, i) => {
      const high = (view.getUint8(128 + (i >> 2)) >> (2 * (i & 3))) & 3;
      return half(view, 208) * view.getInt8(192 + (i >> 4)) * ((low | (high << 4)) - 32);
    }),
  MXFP4: (view) =>
    nibbles(view, 1, 32).map((q) => (FP4[q] ?? Number.NaN) * 2 ** (view.getUint8(0) - 128)),
};

function typeCalled(name: string): GgmlType {
  const type = ggmlTypeByName(name);
  if (type === undefined) throw new Error(name);
  return type;
}

describe('a pool', () => {
  it.each(Object.entries(DECODERS))(
    'of %s has the mean and deviation it was asked for',
    (name, decode) => {
      for (const std of [0.375, 1 / Math.sqrt(28672), 0.0015]) {
        const { bytes, cellBytes, cells } = makePool({
          type: typeCalled(name),
          std,
          rows: 1,
          seed: 7,
        });
        let [count, sum, squares, largest] = [0, 0, 0, 0];
        for (let cell = 0; cell < cells; cell += 3) {
          const view = new DataView(bytes.buffer, bytes.byteOffset + cell * cellBytes, cellBytes);
          for (const value of decode(view)) {
            count += 1;
            sum += value;
            squares += value * value;
            largest = Math.max(largest, Math.abs(value));
          }
        }
        expect(Math.abs(sum / count)).toBeLessThan(0.03 * std);
        expect(Math.sqrt(squares / count) / std).toBeCloseTo(1, 1);
        expect(largest).toBeLessThan(5 * std);
      }
    },
  );

  it('has a prime number of cells above the rows it serves', () => {
    const { cells, bytes, cellBytes } = makePool({
      type: typeCalled('Q4_0'),
      std: 1,
      rows: 6000,
      seed: 1,
    });
    expect(cells).toBeGreaterThan(6000);
    expect(bytes).toHaveLength(cells * cellBytes);
    const divisors = Array.from({ length: 100 }, (_, i) => i + 2).filter((n) => cells % n === 0);
    expect(divisors).toEqual([]);
  });
});

describe('toF16', () => {
  it('rounds to the nearest half, also below the normal ones', () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < 0x7bff; bits++) {
      const [low, high] = [fromF16(bits), fromF16(bits + 1)];
      const isRight =
        toF16(low) === bits &&
        toF16(-(low + (high - low) * 0.25)) === (bits | 0x8000) &&
        toF16(low + (high - low) * 0.75) === bits + 1;
      if (!isRight) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
  });
});
