/** The catalogue's files: complete, sourced, dated, and consistent with themselves. */
import { describe, expect, it } from 'vitest';
import { loadCatalogue, loadMeasurements } from './catalogue-data.ts';
import { csvNumber, parseCsv } from './csv.ts';

const catalogue = loadCatalogue();

describe('the catalogue', () => {
  const figures = catalogue.machines.flatMap((machine) =>
    [
      machine.bandwidth,
      machine.gpuCores,
      machine.matrixTflops,
      machine.vectorTflops,
      machine.pcie,
      machine.boardWatts,
      machine.loadWatts,
      machine.idleWatts,
      machine.priceUsd,
      ...machine.memory,
    ].filter((figure) => figure !== null),
  );

  it('gives every figure a known source, a day and a status', () => {
    const sources = new Set(catalogue.sources.map(({ id }) => id));
    expect(figures.length).toBeGreaterThan(400);
    for (const figure of [...figures, ...catalogue.prices]) {
      expect(sources).toContain(figure.source);
      expect(figure.asOf).toMatch(/^20\d\d-\d\d-\d\d$/);
      expect(figure.value).toBeGreaterThan(0);
    }
  });

  it('has nothing that is only recalled, and nothing that nobody checked', () => {
    for (const { source, status } of [...figures, ...catalogue.prices]) {
      expect(source).not.toBe('recalled');
      expect(status).not.toBe('unverified');
    }
    for (const { source } of catalogue.models) expect(source).not.toMatch(/from memory|unverified/);
  });

  it('uses every source and has no name twice', () => {
    const used = new Set([...figures, ...catalogue.prices].map(({ source }) => source));
    const idle = catalogue.sources.filter(({ id }) => !used.has(id)).map(({ id }) => id);
    expect(idle).toEqual([]);
    for (const list of [catalogue.machines, catalogue.models, catalogue.sources]) {
      const ids = list.map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  it('has machines of both kinds and models with and without experts and windows', () => {
    expect(new Set(catalogue.machines.map(({ kind }) => kind)).size).toBe(2);
    expect(catalogue.models.some(({ experts }) => experts > 0)).toBe(true);
    expect(catalogue.models.some(({ windowTokens }) => windowTokens !== null)).toBe(true);
  });

  it('reads every file of measurements', () => {
    for (const name of ['llama2-7b-apple', 'llama3-gpus', 'batched-decode', 'depth-decay']) {
      expect(loadMeasurements(name).length).toBeGreaterThan(9);
    }
  });
});

describe('CSV', () => {
  it('has quoted fields with commas, quotes and line ends', () => {
    expect(parseCsv('a,b\n"1,2","say ""x""\nand y"\r\n', 'text')).toEqual([
      { a: '1,2', b: 'say "x"\nand y' },
    ]);
  });

  it('refuses rows that are not as long as the header, and words for numbers', () => {
    expect(() => parseCsv('a,b\n1\n', 'text')).toThrow(/record 2: 1 fields, the header has 2/);
    expect(() => parseCsv('', 'text')).toThrow(/text is empty/);
    expect(() => csvNumber({ a: 'x' }, 'a', 'text')).toThrow(/a is 'x', which is no number/);
    expect(csvNumber({ a: '' }, 'a', 'text')).toBeNull();
  });
});
