/**
 * What the same tokens cost when the machine is owned, when it is rented, and from a hosted API:
 * every offer with its source and day, where the one becomes cheaper than the other, and which
 * input moves the answer most. Pure: catalogue and prices are handed in, and none is guessed.
 */
import type { CataloguePrice, Figure } from '../model/catalogue-types.ts';
import {
  type Hosted,
  type Ownership,
  ownedCost,
  type Rental,
  rentedCost,
  type Throughput,
  type TokenCost,
} from './money.ts';
import {
  type BreakEven,
  busySeconds,
  hostedPerMtok,
  type Influence,
  type Mix,
  ownAgainstHosted,
  ownAgainstLease,
  ownAgainstRent,
  sensitivity,
} from './money-compare.ts';
import type { MachineSetup } from './setup.ts';

/** Where a figure comes from: a source of the catalogue, or `given` on the command line. */
export interface Provenance {
  readonly source: string;
  readonly asOf: string | null;
}

export interface Offer extends Provenance {
  readonly kind: 'own' | 'rent' | 'hosted';
  /** `rent, low`, for a person. */
  readonly name: string;
  readonly usdPerMtokOut: number | null;
  readonly usdPerMtokIn: number | null;
  /** Per million tokens of the request's mix of input and output. */
  readonly usdPerMtok: number | null;
  /** Of rent; null otherwise. */
  readonly usdPerHour: number | null;
}

export interface Assumption extends Provenance {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

export interface NamedBreakEven extends BreakEven {
  /** Name of the offer. */
  readonly against: string;
  /** Of rent: all the time, as the offers have it, or only for the hours in which it works. */
  readonly rented: 'always' | 'while it works' | null;
}

export interface MoneyAnswer {
  readonly offers: readonly Offer[];
  /** Of owning, against each other offer. */
  readonly breakEven: readonly NamedBreakEven[];
  /** Of the owned machine's $ per million output tokens, the strongest input first. */
  readonly sensitivity: readonly Influence[];
  readonly assumptions: readonly Assumption[];
  /** At which speed and use all of it holds. */
  readonly at: { readonly perUserTps: number; readonly utilisation: number };
}

export interface MoneyAsk {
  readonly setup: MachineSetup;
  /** Id of the catalogue, for hosted prices; null for a model that is not of it. */
  readonly modelId: string | null;
  readonly prices: readonly CataloguePrice[];
  readonly ownership: Ownership;
  /** Names of inputs of ownership that the user gave. */
  readonly given: ReadonlySet<string>;
  /** Instead of those of the catalogue. */
  readonly rentUsdPerHour: number | null;
  /** Hours for which a machine is rented at a time; null for as long as the shortest lease. */
  readonly rentHours: number | null;
  readonly hosted: Hosted | null;
  readonly speed: Throughput & { readonly perUserTps: number };
  readonly mix: Mix;
  readonly utilisation: number;
}

const GIVEN: Provenance = { source: 'given', asOf: null };
const ASSUMED: Provenance = { source: 'assumed', asOf: null };

export function moneyAnswer(ask: MoneyAsk): MoneyAnswer {
  const { ownership, speed, utilisation, mix } = ask;
  const owned = ownedCost(ownership, speed, utilisation);
  const rents = rentalsOf(ask);
  const hosted = hostedOf(ask);
  return {
    offers: [
      ownOffer(ask, owned),
      ...rents.map((rent) => rentOffer(ask, rent)),
      ...hosted.map((one) => hostedOffer(ask, one)),
    ],
    breakEven: [
      ...rents.flatMap(({ name, rental }) => [
        { against: name, rented: 'always', ...ownAgainstLease(ownership, rental) } as const,
        {
          against: name,
          rented: 'while it works',
          ...ownAgainstRent(ownership, rental, { mix, speed }),
        } as const,
      ]),
      ...hosted.map(({ name, hosted: price }) => {
        const even = ownAgainstHosted(ownership, price, { mix, speed });
        return { against: name, rented: null, ...even };
      }),
    ],
    sensitivity: influences(ask),
    assumptions: assumptions(ask),
    at: { perUserTps: speed.perUserTps, utilisation },
  };
}

/** $ per million tokens of the mix on a machine that costs so much per busy hour. */
function perMixedMtok({ mix, speed }: MoneyAsk, cost: TokenCost): number | null {
  const seconds = busySeconds(mix, speed);
  if (seconds === null || cost.usdPerBusyHour === null) return null;
  const tokens = mix.promptTokens + mix.outputTokens;
  return ((cost.usdPerBusyHour * seconds) / 3600 / tokens) * 1e6;
}

function ownOffer(ask: MoneyAsk, cost: TokenCost): Offer {
  const price = ask.setup.machine.priceUsd;
  return {
    kind: 'own',
    name: 'own',
    usdPerMtokOut: cost.usdPerMtokOut,
    usdPerMtokIn: cost.usdPerMtokIn,
    usdPerMtok: perMixedMtok(ask, cost),
    usdPerHour: null,
    ...(ask.given.has('priceUsd') ? GIVEN : provenance(price)),
  };
}

interface NamedRental extends Provenance {
  readonly name: string;
  readonly rental: Rental;
}

function rentOffer(ask: MoneyAsk, { name, rental, source, asOf }: NamedRental): Offer {
  const cost = rentedCost(rental, ask.speed, ask.utilisation);
  return {
    kind: 'rent',
    name,
    usdPerMtokOut: cost.usdPerMtokOut,
    usdPerMtokIn: cost.usdPerMtokIn,
    usdPerMtok: perMixedMtok(ask, cost),
    usdPerHour: rental.usdPerHour,
    source,
    asOf,
  };
}

interface NamedHosted extends Provenance {
  readonly name: string;
  readonly hosted: Hosted;
}

function hostedOffer({ mix }: MoneyAsk, { name, hosted, source, asOf }: NamedHosted): Offer {
  return {
    kind: 'hosted',
    name,
    usdPerMtokOut: hosted.usdPerMtokOut,
    usdPerMtokIn: hosted.usdPerMtokIn,
    usdPerMtok: hostedPerMtok(hosted, mix),
    usdPerHour: null,
    source,
    asOf,
  };
}

/** What is given, or else the low and the high price of the catalogue. */
function rentalsOf(ask: MoneyAsk): readonly NamedRental[] {
  const { setup, prices, rentUsdPerHour, rentHours } = ask;
  const minimumHours = shortestLease(ask);
  const terms = { kind: 'rent', minimumHours, sessionHours: rentHours ?? minimumHours } as const;
  if (rentUsdPerHour !== null) {
    return [{ name: 'rent', rental: { ...terms, usdPerHour: rentUsdPerHour }, ...GIVEN }];
  }
  return prices
    .filter(({ item, unit }) => item === setup.machine.id && unit === 'USD/h')
    .map((price) => ({
      name: `rent, ${price.figure.endsWith('Low') ? 'low' : 'high'}`,
      rental: { ...terms, usdPerHour: price.value * (setup.devices ?? 1) },
      ...provenance(price),
    }));
}

/** In hours: a day of a Mac, an hour elsewhere. */
function shortestLease({ setup, prices }: MoneyAsk): number {
  if (setup.machine.vendor !== 'apple') return 1;
  return prices.find(({ item, figure }) => item === 'mac' && figure === 'minimumHours')?.value ?? 1;
}

function hostedOf({ modelId, prices, hosted }: MoneyAsk): readonly NamedHosted[] {
  if (hosted !== null) return [{ name: 'hosted', hosted, ...GIVEN }];
  const own = prices.filter(({ item, kind }) => item === modelId && kind === 'hosted');
  return [...new Set(own.map(({ source }) => source))].flatMap((source): NamedHosted[] => {
    const of = (figure: string): CataloguePrice | undefined =>
      own.find((price) => price.source === source && price.figure === figure);
    const [input, output] = [of('usdPerMtokIn'), of('usdPerMtokOut')];
    if (input === undefined || output === undefined) return [];
    const price = { usdPerMtokIn: input.value, usdPerMtokOut: output.value };
    const where = provenance(output);
    return [{ name: `hosted, ${source}`, hosted: { kind: 'hosted', ...price }, ...where }];
  });
}

const provenance = (figure: Figure | null): Provenance =>
  figure === null
    ? { source: 'unknown', asOf: null }
    : { source: figure.source, asOf: figure.asOf };

/** Inputs of ownership in words, with their units. */
const INPUTS = [
  ['priceUsd', 'price', 'USD'],
  ['residualShare', 'residual value', 'of the price'],
  ['years', 'years of use', 'years'],
  ['loadWatts', 'power under load', 'W'],
  ['idleWatts', 'power when idle', 'W'],
  ['usdPerKwh', 'tariff', 'USD/kWh'],
  ['pue', 'PUE', ''],
  ['operationsUsdPerMonth', 'operations', 'USD/month'],
] as const;

function assumptions(ask: MoneyAsk): Assumption[] {
  const { machine } = ask.setup;
  const tariff = ask.prices.find(({ item }) => item === 'electricity') ?? null;
  const sources: Readonly<Record<string, Provenance>> = {
    priceUsd: provenance(machine.priceUsd),
    loadWatts: provenance(machine.loadWatts),
    idleWatts: provenance(machine.idleWatts),
    usdPerKwh: provenance(tariff),
  };
  return INPUTS.flatMap(([key, name, unit]): Assumption[] => {
    const value = ask.ownership[key];
    if (value === null) return [];
    const from = ask.given.has(key) ? GIVEN : (sources[key] ?? ASSUMED);
    return [{ name, value, unit, ...from }];
  });
}

/** Beside what ownership has: how much it is used, and how fast it is. */
function influences({ ownership, speed, utilisation }: MoneyAsk): readonly Influence[] {
  const known = INPUTS.flatMap(([key, name]): [string, number][] => {
    const value = ownership[key];
    return value === null || value === 0 ? [] : [[name, value]];
  });
  const inputs = { ...Object.fromEntries(known), utilisation, 'decode speed': speed.decodeTps };
  return sensitivity(inputs, (changed) => {
    const value = (name: string, fallback: number | null): number | null =>
      changed[name] ?? fallback;
    const own = Object.fromEntries(INPUTS.map(([key, name]) => [key, value(name, ownership[key])]));
    // Where a fifth more or less is impossible, as far as it goes.
    const possible = {
      residualShare: Math.min(1, own.residualShare ?? 0),
      pue: Math.max(1, own.pue ?? 1),
    };
    const owned: Ownership = { ...ownership, ...own, ...possible };
    const decodeTps = changed['decode speed'] ?? speed.decodeTps;
    const busy = Math.min(1, changed.utilisation ?? utilisation);
    return ownedCost(owned, { ...speed, decodeTps }, busy).usdPerMtokOut;
  }).filter(({ low, high }) => low !== 0 || high !== 0);
}

export interface CostPoint {
  readonly utilisation: number;
  readonly usdPerMtok: number;
}

/** $ per million tokens of the mix against utilisation, for each offer that is known. */
export function costCurves(
  ask: MoneyAsk,
  utilisations: readonly number[],
): readonly { readonly name: string; readonly points: readonly CostPoint[] }[] {
  const curves = new Map<string, CostPoint[]>();
  for (const utilisation of utilisations) {
    for (const { name, usdPerMtok } of moneyAnswer({ ...ask, utilisation }).offers) {
      if (usdPerMtok === null) continue;
      curves.set(name, [...(curves.get(name) ?? []), { utilisation, usdPerMtok }]);
    }
  }
  return [...curves].map(([name, points]) => ({ name, points }));
}
