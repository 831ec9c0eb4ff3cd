/** The claims on power and dollars (d, e, f, o). */
import type { CataloguePrice } from '../model/catalogue-types.ts';
import type { Claim, ClaimsInput } from './claim.ts';
import { ARTICLE, onMac, onPc } from './claims-speed.ts';
import { findMachine } from './lookup.ts';
import { type Ownership, ownedCost, rentedCost } from './money.ts';

const TARIFF = 0.12;
const PC_WATTS = 600;
const MAC_WATTS = 50;

/** The article's terms: three years, worth nothing after them, always busy. */
const articleTerms = (priceUsd: number, loadWatts: number): Ownership => ({
  kind: 'own',
  priceUsd,
  loadWatts,
  idleWatts: 0,
  residualShare: 0,
  years: 3,
  usdPerKwh: TARIFF,
  pue: 1,
  operationsUsdPerMonth: 0,
});

const perMtok = (owned: Ownership, decodeTps: number): number =>
  ownedCost(owned, { decodeTps, prefillTps: null }, 1).usdPerMtokOut ?? Number.NaN;

export function costClaims(input: ClaimsInput): readonly Claim[] {
  return [powerClaim(input), tokenClaim(input), ratioClaim(), rentClaim(input)];
}

function powerClaim({ catalogue }: ClaimsInput): Claim {
  const yearly = (power: number): string => `$${Math.round(power * 8.76 * TARIFF)}`;
  const pc = findMachine(catalogue, 'rtx-4090').loadWatts;
  const mac = findMachine(catalogue, 'm4-max-40c').loadWatts;
  return {
    id: 'd',
    claim: '600 W cost $630 a year and 50 W $52, at $0.12 per kWh',
    verdict: 'partly',
    because: [
      `8.76 kh × $${TARIFF}: ${PC_WATTS} W ${yearly(PC_WATTS)}, ` +
        `${MAC_WATTS} W ${yearly(MAC_WATTS)}.`,
      `But a PC with a 4090 measures ${pc?.value} W at the wall, and the nearest figure of an M4 ` +
        `Max is ${mac?.value} W (${mac?.note}); no source measures ${MAC_WATTS} W.`,
    ],
  };
}

function tokenClaim(input: ClaimsInput): Claim {
  const pcWatts = findMachine(input.catalogue, 'rtx-4090').loadWatts?.value ?? PC_WATTS;
  const macWatts = findMachine(input.catalogue, 'm4-max-40c').loadWatts?.value ?? MAC_WATTS;
  const own = [
    perMtok(articleTerms(ARTICLE.pcPriceUsd, PC_WATTS), ARTICLE.pcTps),
    perMtok(articleTerms(ARTICLE.macPriceUsd, MAC_WATTS), ARTICLE.macTps),
  ];
  const real = [
    perMtok(articleTerms(ARTICLE.pcPriceUsd, pcWatts), onPc(input).speed.decodeTps),
    perMtok(articleTerms(ARTICLE.macPriceUsd, macWatts), onMac(input).speed.decodeTps),
  ];
  const both = (costs: readonly number[]): string =>
    costs.map((cost) => `$${cost.toFixed(2)}`).join(' and ');
  return {
    id: 'e',
    claim: '$0.68 and $0.13 per million tokens over three years',
    verdict: Math.abs((own[1] ?? 0) - 0.13) < 0.05 ? 'true' : 'false',
    because: [
      `The article’s own inputs, always busy, give ${both(own)}.`,
      `With the predicted speeds and measured power: ${both(real)}. At 30 % use the hardware’s ` +
        'part is 3.3 times as much.',
    ],
  };
}

function ratioClaim(): Claim {
  const cost = ARTICLE.macPriceUsd / ARTICLE.pcPriceUsd;
  return {
    id: 'f',
    claim: '2.8 times the throughput at 46 % of the cost of the hardware',
    verdict: 'false',
    because: [
      `${ARTICLE.macTps}/${ARTICLE.pcTps} = ${(ARTICLE.macTps / ARTICLE.pcTps).toFixed(1)} ` +
        'follows from b and c, which are wrong.',
      `${ARTICLE.macPriceUsd}/${ARTICLE.pcPriceUsd} = ${(100 * cost).toFixed(0)} %; ` +
        `${(100 * (1 - cost)).toFixed(0)} % is the saving.`,
    ],
  };
}

function rentClaim({ catalogue }: ClaimsInput): Claim {
  const price = (item: string, figure: string): CataloguePrice | undefined =>
    catalogue.prices.find((row) => row.item === item && row.figure === figure);
  const minimumHours = price('mac', 'minimumHours')?.value ?? 0;
  const rent = (hours: number): number =>
    rentedCost(
      { kind: 'rent', usdPerHour: 1, minimumHours, sessionHours: hours },
      { decodeTps: 10, prefillTps: null },
      1,
    ).usdPerBusyHour ?? 0;
  return {
    id: 'o',
    claim: 'Rent a Mac by the hour and release it when done',
    verdict: 'partly',
    because: [
      `A Mac is leased whole for at least ${minimumHours} consecutive hours, by Apple’s licence: ` +
        `one hour costs ${rent(1).toFixed(0)} times the hourly rate, a day ${rent(24).toFixed(0)}.`,
      'An hourly product is a dedicated endpoint on a machine whose lease somebody else holds.',
    ],
  };
}
