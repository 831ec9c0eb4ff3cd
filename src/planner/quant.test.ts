/** Bytes of quantised models against published file sizes and the synthesiser's own tables. */
import { describe, expect, it } from 'vitest';
import { defined } from '../base/assert.ts';
import { loadCatalogue } from '../model/catalogue-data.ts';
import { ggmlBytes } from '../model/gguf-types.ts';
import { SYNTH_QUANTS } from '../model/synth/quant.ts';
import { shapeByName } from '../model/synth/shapes.ts';
import { synthTensors } from '../model/synth/tensors.ts';
import { geometryOfModel } from './architecture.ts';
import { findModel } from './lookup.ts';
import { QUANT_NAMES, quantNamed } from './quant.ts';

const catalogue = loadCatalogue();
const bytesOf = (model: string, quant: string): number =>
  geometryOfModel(findModel(catalogue, model), quant).weights.bytes;

describe('quantised sizes', () => {
  it.each([
    ['llama-2-7b', 'Q4_0', 3.56],
    ['llama-2-7b', 'Q8_0', 6.67],
    ['llama-2-7b', 'F16', 12.55],
    ['llama-3.1-8b', 'Q4_K_M', 4.58],
    ['llama-3.3-70b', 'Q4_K_M', 39.59],
    ['gpt-oss-20b', 'MXFP4', 11.27],
    ['gpt-oss-120b', 'MXFP4', 59.02],
  ])('%s %s is the %s GiB that its published file has', (model, quant, gib) => {
    expect(bytesOf(model, quant) / 2 ** 30).toBeCloseTo(gib, 2);
  });

  it('are those of the synthesiser for every model and quantisation that both know', () => {
    const both = catalogue.models.filter(({ id }) => shapeByName(id) !== undefined);
    expect(both.length).toBeGreaterThan(25);
    for (const model of both) {
      const shape = defined(shapeByName(model.id), model.id);
      for (const quant of SYNTH_QUANTS) {
        if (quant.name === 'f32' || quant.name === 'bf16') continue;
        const tensors = synthTensors({ shape, quant, firstTextToken: 0 });
        const bytes = tensors.reduce(
          (sum, { type, dims }) =>
            sum +
            ggmlBytes(
              type,
              dims.reduce((n, d) => n * d, 1),
            ),
          0,
        );
        // Small vectors (rotary factors, biases of normalisation) are named by few files.
        const difference = Math.abs(bytesOf(model.id, quant.name) / bytes - 1);
        expect(difference, `${model.id} ${quant.name}`).toBeLessThan(2e-4);
      }
    }
  });

  it('never shrink with more bits', () => {
    const ladder = [
      'Q2_K',
      'Q3_K_S',
      'Q3_K_M',
      'Q4_K_S',
      'Q4_K_M',
      'Q5_K_M',
      'Q6_K',
      'Q8_0',
      'F16',
    ];
    // Rows that are no whole number of blocks of 256 take other types, which is not a ladder.
    for (const { id, width, ff } of catalogue.models) {
      if (width % 256 !== 0 || ff % 256 !== 0) continue;
      const sizes = ladder.map((quant) => bytesOf(id, quant));
      expect(sizes, id).toEqual([...sizes].sort((a, b) => a - b));
    }
  });

  it('exist for every quantisation by name, in any case', () => {
    for (const quant of QUANT_NAMES) expect(bytesOf('llama-3.2-1b', quant)).toBeGreaterThan(1e8);
    expect(quantNamed('q4_k_m')).toBe('Q4_K_M');
  });

  it('name the nearest quantisation when there is none', () => {
    expect(() => quantNamed('Q4_KM')).toThrow(/did you mean Q4_K_M/);
  });
});

describe('the catalogue', () => {
  it('has geometries that reproduce the published parameter counts', () => {
    for (const model of catalogue.models) {
      const { parameters } = geometryOfModel(model, 'F16').weights;
      expect(Math.abs(parameters / model.parameters - 1), model.id).toBeLessThan(5e-4);
    }
  });

  it('lists what a model lacks', () => {
    const model = { ...findModel(catalogue, 'qwen3-30b-a3b'), headDim: 0, expertsUsed: 0 };
    expect(() => geometryOfModel(model, 'Q8_0')).toThrow(/lacks headDim, expertsUsed/);
  });
});
