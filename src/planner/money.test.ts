/** Money: the sums by hand, the laws, and what is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ownership, ownedCost, type Rental, rentedCost } from './money.ts';
import { hostedPerMtok, ownAgainstHosted, ownAgainstRent, sensitivity } from './money-compare.ts';

const owned: Ownership = {
  kind: 'own',
  priceUsd: 2799,
  residualShare: 0,
  years: 3,
  loadWatts: 120,
  idleWatts: 10,
  usdPerKwh: 0.12,
  pue: 1,
  operationsUsdPerMonth: 0,
};
const speed = { decodeTps: 10.3, prefillTps: 88 };
const rental: Rental = { kind: 'rent', usdPerHour: 1.5, minimumHours: 24, sessionHours: 24 };
const mix = { promptTokens: 1000, outputTokens: 250 };

describe('the cost of tokens', () => {
  it('of an owned machine that is always busy is depreciation and energy', () => {
    // $2,799 / 26,280 h = $0.1065 and 0.12 kW × $0.12 = $0.0144 an hour; 37,080 tokens an hour.
    const cost = ownedCost(owned, speed, 1);
    expect(cost.usdPerBusyHour).toBeCloseTo(0.1209, 4);
    expect(cost.usdPerMtokOut).toBeCloseTo(3.26, 2);
    expect(cost.joulesPerTokenOut).toBeCloseTo(120 / 10.3, 6);
  });

  it('at 5 % of the time has twenty times the hardware’s part', () => {
    const part = (utilisation: number): number =>
      ownedCost(owned, speed, utilisation).parts.find(({ name }) => name === 'depreciation')
        ?.usdPerBusyHour ?? 0;
    expect(part(0.05) / part(1)).toBeCloseTo(20, 6);
  });

  it('falls with utilisation and speed, and rises with price, power and tariff', () => {
    const positive = fc.double({ min: 0.01, max: 1, noNaN: true });
    fc.assert(
      fc.property(positive, positive, fc.double({ min: 1, max: 5, noNaN: true }), (low, up, by) => {
        const high = Math.min(1, low + up * (1 - low));
        const at = (more: Partial<Ownership>, use: number, tps = 10): number =>
          ownedCost({ ...owned, ...more }, { decodeTps: tps, prefillTps: 1 }, use).usdPerMtokOut ??
          0;
        const base = at({}, low);
        expect(at({}, high)).toBeLessThanOrEqual(base);
        expect(at({}, low, 10 * by)).toBeLessThanOrEqual(base);
        expect(at({ priceUsd: 2799 * by }, low)).toBeGreaterThanOrEqual(base);
        expect(at({ loadWatts: 120 * by }, low)).toBeGreaterThanOrEqual(base);
        expect(at({ usdPerKwh: 0.12 * by }, low)).toBeGreaterThanOrEqual(base);
        expect(at({ residualShare: up }, low)).toBeLessThanOrEqual(base);
      }),
    );
  });

  it('of a leased Mac for an hour is that of a day', () => {
    const hour = rentedCost({ ...rental, sessionHours: 1 }, speed, 1);
    const day = rentedCost(rental, speed, 1);
    expect(hour.usdPerBusyHour).toBeCloseTo(24 * (day.usdPerBusyHour ?? 0), 6);
  });

  it('is null, with the figure’s name, when a figure is not known', () => {
    const cost = ownedCost({ ...owned, priceUsd: null }, speed, 1);
    expect(cost).toMatchObject({ usdPerMtokOut: null, unknown: ['the price of the machine'] });
    expect(ownedCost(owned, { ...speed, prefillTps: null }, 1).usdPerMtokIn).toBeNull();
  });

  it.each([
    [{ priceUsd: -1 }, /price of the machine is -1/],
    [{ usdPerKwh: Number.NaN }, /price of a kWh/],
    [{ residualShare: 1.5 }, /residual value is 1.5; it is a share/],
    [{ years: 0 }, /0 years/],
    [{ pue: 0.9 }, /PUE is 0.9/],
  ])('refuses %o', (wrong, message) => {
    expect(() => ownedCost({ ...owned, ...wrong }, speed, 0.5)).toThrow(message);
  });

  it('refuses a utilisation of 0 and above 1', () => {
    expect(() => ownedCost(owned, speed, 0)).toThrow(/utilisation is 0/);
    expect(() => rentedCost(rental, speed, 1.01)).toThrow(/share from 0 to 1/);
  });
});

describe('own, rent or hosted', () => {
  it('breaks even where both bills of a month are equal', () => {
    const hosted = { kind: 'hosted', usdPerMtokIn: 1, usdPerMtokOut: 8 } as const;
    const even = ownAgainstHosted(owned, hosted, { mix, speed });
    const requests = even.requestsPerMonth ?? 0;
    const api = (requests * (1000 * 1 + 250 * 8)) / 1e6;
    const busyHours = (even.utilisation ?? 0) * 730;
    const own = (2799 / 36) * (730 / 730) + (120 * busyHours + 10 * (730 - busyHours)) * 0.12e-3;
    expect(own / api).toBeCloseTo(1, 2);
  });

  it('never pays against a price below what the machine can make', () => {
    const hosted = { kind: 'hosted', usdPerMtokIn: 0.13, usdPerMtokOut: 0.38 } as const;
    expect(ownAgainstHosted(owned, hosted, { mix, speed })).toMatchObject({ utilisation: null });
    expect(hostedPerMtok(hosted, mix)).toBeCloseTo((0.13 * 1000 + 0.38 * 250) / 1250, 9);
  });

  it('pays against rent from a share of the time on', () => {
    const even = ownAgainstRent(owned, rental, { mix, speed });
    expect(even.utilisation).toBeGreaterThan(0.05);
    expect(even.utilisation).toBeLessThan(0.12);
  });
});

describe('sensitivity', () => {
  it('puts the input first that moves the answer most', () => {
    const answer = (inputs: Readonly<Record<string, number>>): number =>
      ownedCost(
        { ...owned, priceUsd: inputs.price ?? 0, usdPerKwh: inputs.tariff ?? 0 },
        { decodeTps: inputs.speed ?? 1, prefillTps: null },
        0.3,
      ).usdPerMtokOut ?? 0;
    const found = sensitivity({ tariff: 0.12, price: 2799, speed: 10.3 }, answer);
    expect(found.map(({ input }) => input)).toEqual(['speed', 'price', 'tariff']);
    expect(found[1]?.high).toBeGreaterThan(0.1);
  });
});
