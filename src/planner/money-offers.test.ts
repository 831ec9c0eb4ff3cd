/** Offers: sums by hand, sources with every figure, laws, and where each becomes cheaper. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadCatalogue } from '../model/catalogue-data.ts';
import { findMachine } from './lookup.ts';
import { costCurves, type MoneyAsk, moneyAnswer } from './money-offers.ts';
import { ownershipOf } from './plan.ts';

const catalogue = loadCatalogue();

function ask(machine: string, more: Partial<MoneyAsk> = {}): MoneyAsk {
  const setup = { machine: findMachine(catalogue, machine) };
  return {
    setup,
    modelId: 'llama-3.3-70b',
    prices: catalogue.prices,
    ownership: ownershipOf(setup, { priceUsd: 5000, loadWatts: 400, idleWatts: 50 }),
    given: new Set(['priceUsd', 'loadWatts', 'idleWatts']),
    rentUsdPerHour: null,
    rentHours: null,
    hosted: null,
    speed: { decodeTps: 100, prefillTps: 1000, perUserTps: 25 },
    mix: { promptTokens: 1000, outputTokens: 250 },
    utilisation: 0.5,
    ...more,
  };
}

const offer = (answer: ReturnType<typeof moneyAnswer>, name: string) => {
  const found = answer.offers.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no offer ${name}`);
  return found;
};

describe('the offers', () => {
  it('of rent is the price of an hour over the tokens of an hour', () => {
    const { usdPerMtokOut } = offer(moneyAnswer(ask('h100-sxm', { rentUsdPerHour: 2 })), 'rent');
    // $2 / (360,000 tokens × half of the time) per million.
    expect(usdPerMtokOut).toBeCloseTo(2 / 0.36 / 0.5, 6);
  });

  it('of a Mac pays for a day, however short it is rented', () => {
    const at = (rentHours: number | null): number =>
      offer(moneyAnswer(ask('m4-max-40c', { rentUsdPerHour: 1, rentHours })), 'rent')
        .usdPerMtokOut ?? 0;
    expect(at(1) / at(null)).toBeCloseTo(24, 6);
    expect(at(48)).toBeCloseTo(at(24), 9);
  });

  it('of the catalogue name their source and day, for each card of several', () => {
    const one = moneyAnswer(ask('h100-sxm'));
    expect(offer(one, 'rent, low')).toMatchObject({ usdPerHour: 2.69, source: 'runpod' });
    expect(offer(one, 'rent, low').asOf).toMatch(/^20\d\d-/);
    expect(offer(one, 'hosted, deepinfra')).toMatchObject({ usdPerMtokOut: 0.38 });
    const setup = { machine: findMachine(catalogue, 'h100-sxm'), devices: 2 };
    expect(offer(moneyAnswer(ask('h100-sxm', { setup })), 'rent, low').usdPerHour).toBe(5.38);
  });

  it('are not made up where there is no price', () => {
    const { offers, breakEven } = moneyAnswer(ask('rtx-3060', { modelId: null }));
    expect(offers.map(({ kind }) => kind)).toEqual(['own']);
    expect(breakEven).toEqual([]);
  });

  it('fall or stay with utilisation, all of them', () => {
    const share = fc.double({ min: 0.01, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, share, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const at = (utilisation: number) =>
          moneyAnswer(ask('h100-sxm', { utilisation })).offers.map((one) => one.usdPerMtok ?? 0);
        const less = at(high);
        for (const [i, more] of at(low).entries()) expect(less[i]).toBeLessThanOrEqual(more);
      }),
    );
  });
});

describe('the comparison', () => {
  it('breaks even where the curves cross', () => {
    const hosted = { kind: 'hosted', usdPerMtokIn: 1, usdPerMtokOut: 2 } as const;
    const [even] = moneyAnswer(ask('rtx-3060', { hosted })).breakEven;
    const utilisation = even?.utilisation ?? Number.NaN;
    const at = moneyAnswer(ask('rtx-3060', { hosted, utilisation }));
    expect(offer(at, 'own').usdPerMtok).toBeCloseTo(offer(at, 'hosted').usdPerMtok ?? 0, 9);
    const curves = costCurves(ask('rtx-3060', { hosted }), [0.1, 1]);
    expect(curves.map(({ name, points }) => [name, points.length])).toEqual([
      ['own', 2],
      ['hosted', 2],
    ]);
  });

  it('tells rent that is paid all the time from rent for the hours of work', () => {
    // $0.133 an hour for the machine and $0.006 for idling; $0.042 more while it works.
    const evens = (rentUsdPerHour: number) => {
      const answer = moneyAnswer(ask('rtx-3060', { rentUsdPerHour, modelId: null }));
      return answer.breakEven.map(({ rented, utilisation, reason }) => {
        return [rented, utilisation === null ? null : Number(utilisation.toFixed(2)), reason];
      });
    };
    const [always, working] = evens(0.5);
    expect(always).toEqual(['always', 0, 'at any use']);
    expect(working?.slice(0, 2)).toEqual(['while it works', 0.3]);
    expect(evens(0.15)[0]?.[2]).toMatch(/^up to \d+\.\d % of the time$/);
    expect(evens(0.1)[0]).toEqual(['always', null, expect.stringContaining('costs more')]);
  });

  it('is cheaper at a utilisation exactly where the break-even says so', () => {
    const rents = fc.double({ min: 0.05, max: 1, noNaN: true });
    const uses = fc.double({ min: 0.02, max: 1, noNaN: true });
    fc.assert(
      fc.property(rents, uses, (rentUsdPerHour, utilisation) => {
        const terms = { rentUsdPerHour, utilisation, modelId: null };
        const answer = moneyAnswer(ask('rtx-3060', terms));
        const own = offer(answer, 'own').usdPerMtok ?? 0;
        const rent = offer(answer, 'rent').usdPerMtok ?? 0;
        const { utilisation: from, reason } = answer.breakEven[0] ?? {};
        const most = Number(/up to ([\d.]+) %/.exec(reason ?? '')?.[1] ?? 100) / 100;
        fc.pre(Math.abs(utilisation - most) > 0.01);
        expect(own < rent).toBe(from === 0 && utilisation < most + 0.005);
      }),
    );
  });

  it('puts what moves the owned cost most first, and says both directions', () => {
    const { sensitivity, assumptions } = moneyAnswer(ask('rtx-4090'));
    expect(sensitivity[0]).toMatchObject({ input: 'decode speed' });
    for (const { low, high } of sensitivity) expect(low * high).toBeLessThanOrEqual(0);
    expect(assumptions.find(({ name }) => name === 'price')?.source).toBe('given');
    expect(assumptions.find(({ name }) => name === 'tariff')?.source).toBe('article');
    expect(assumptions.find(({ name }) => name === 'PUE')?.source).toBe('assumed');
  });
});
