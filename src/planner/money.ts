/**
 * What tokens cost on a machine that is owned or rented, and from a hosted API: dollars per
 * million input and output tokens, always at a stated speed and utilisation. Pure. A price that is
 * not known makes the answer null and is named; it is never guessed.
 *
 *   $ per busy hour = (depreciation + operations) / utilisation + energy of busy and idle time
 *   $ per Mtok      = $ per busy hour / tokens of a busy hour
 */
import { PlenumError } from '../base/errors.ts';
import {
  amount,
  type Joules,
  joules,
  share,
  type UsdPerHour,
  type UsdPerMtok,
  usdPerHour,
  usdPerMtok,
} from './units.ts';

export interface Ownership {
  readonly kind: 'own';
  /** Null when it is not known. */
  readonly priceUsd: number | null;
  /** Of the price, what it is worth at the end, from 0 to 1. */
  readonly residualShare: number;
  readonly years: number;
  /** Of the whole machine at the wall, while it computes. */
  readonly loadWatts: number | null;
  readonly idleWatts: number | null;
  readonly usdPerKwh: number;
  /** What the building takes for each watt of the machine: 1 at home, more in a hall. */
  readonly pue: number;
  /** People, space, network. */
  readonly operationsUsdPerMonth: number;
}

export interface Rental {
  readonly kind: 'rent';
  readonly usdPerHour: number;
  /** The shortest lease: 24 for a Mac, by Apple's licence. */
  readonly minimumHours: number;
  /** Hours for which it is wanted at a time. */
  readonly sessionHours: number;
}

export interface Hosted {
  readonly kind: 'hosted';
  readonly usdPerMtokIn: number;
  readonly usdPerMtokOut: number;
}

/** At which speed the machine works while it is busy. */
export interface Throughput {
  readonly decodeTps: number;
  readonly prefillTps: number | null;
}

export interface TokenCost {
  readonly usdPerMtokOut: UsdPerMtok | null;
  readonly usdPerMtokIn: UsdPerMtok | null;
  /** Of an hour in which it computes, with its share of the hours in which it does not. */
  readonly usdPerBusyHour: UsdPerHour | null;
  /** Per output token, with the idle time that goes with it; null without figures of power. */
  readonly joulesPerTokenOut: Joules | null;
  /** Parts of usdPerBusyHour. */
  readonly parts: readonly { readonly name: string; readonly usdPerBusyHour: UsdPerHour }[];
  /** Figures that are missing; with any, the sums are null. */
  readonly unknown: readonly string[];
}

/** 365 days: what prices per year are quoted in. */
export const HOURS_PER_YEAR = 8760;
export const HOURS_PER_MONTH = HOURS_PER_YEAR / 12;

/** Three years, a third of the price back, at home: what a plan assumes unless told otherwise. */
export const OWNERSHIP_DEFAULTS = {
  residualShare: 0.3,
  years: 3,
  usdPerKwh: 0.12,
  pue: 1,
  operationsUsdPerMonth: 0,
} as const;

/** Throws `usage` for impossible prices, shares or times. */
export function ownedCost(owned: Ownership, speed: Throughput, utilisation: number): TokenCost {
  checkOwnership(owned);
  const busy = checkUtilisation(utilisation);
  const { priceUsd, residualShare, years, loadWatts, pue, usdPerKwh } = owned;
  const unknown = [
    ...(priceUsd === null ? ['the price of the machine'] : []),
    ...(loadWatts === null ? ['its power under load'] : []),
  ];
  const depreciation = ((priceUsd ?? 0) * (1 - residualShare)) / (years * HOURS_PER_YEAR);
  const operations = owned.operationsUsdPerMonth / HOURS_PER_MONTH;
  // Without an idle figure the load's is not assumed: idle time counts as 0 W and is named.
  const idle = owned.idleWatts ?? 0;
  const idlePerBusy = (idle * (1 - busy)) / busy;
  const perWatt = (pue * usdPerKwh) / 1e3;
  const parts = [
    part('depreciation', depreciation / busy),
    part('operations', operations / busy),
    part('energy under load', (loadWatts ?? 0) * perWatt),
    part('energy when idle', idlePerBusy * perWatt),
  ];
  const joulesPerBusySecond = loadWatts === null ? null : pue * (loadWatts + idlePerBusy);
  const named = owned.idleWatts === null ? ['its power when idle (counted as 0 W)'] : [];
  return tokenCost({ parts, unknown, named, speed, joulesPerBusySecond });
}

/** A lease shorter than the minimum is paid in full. */
export function rentedCost(rental: Rental, speed: Throughput, utilisation: number): TokenCost {
  const busy = checkUtilisation(utilisation);
  amount(rental.usdPerHour, 'the rent per hour');
  const session = amount(rental.sessionHours, 'hours at a time');
  if (session === 0) throw new PlenumError('usage', 'hours at a time is 0; it must be above');
  const billed = Math.max(amount(rental.minimumHours, 'the shortest lease'), session);
  const perHour = (rental.usdPerHour * billed) / session;
  const parts = [part('rent', perHour / busy)];
  return tokenCost({ parts, unknown: [], named: [], speed, joulesPerBusySecond: null });
}

const part = (name: string, value: number) => ({ name, usdPerBusyHour: usdPerHour(value) });

interface CostInput {
  readonly parts: TokenCost['parts'];
  readonly unknown: readonly string[];
  /** Missing figures that do not void the sum. */
  readonly named: readonly string[];
  readonly speed: Throughput;
  readonly joulesPerBusySecond: number | null;
}

function tokenCost(input: CostInput): TokenCost {
  const { parts, unknown, named, speed, joulesPerBusySecond } = input;
  if (!(speed.decodeTps > 0)) {
    throw new PlenumError('usage', `${speed.decodeTps} tokens per second is no speed`);
  }
  const isKnown = unknown.length === 0;
  const perHour = parts.reduce((sum, { usdPerBusyHour }) => sum + usdPerBusyHour, 0);
  const perMtok = (tps: number): UsdPerMtok => usdPerMtok((perHour * 1e6) / (3600 * tps));
  return {
    usdPerMtokOut: isKnown ? perMtok(speed.decodeTps) : null,
    usdPerMtokIn: isKnown && speed.prefillTps !== null ? perMtok(speed.prefillTps) : null,
    usdPerBusyHour: isKnown ? usdPerHour(perHour) : null,
    joulesPerTokenOut:
      joulesPerBusySecond === null ? null : joules(joulesPerBusySecond / speed.decodeTps),
    parts,
    unknown: [...unknown, ...named],
  };
}

function checkUtilisation(utilisation: number): number {
  const busy = share(utilisation, 'utilisation');
  if (busy === 0) throw new PlenumError('usage', 'utilisation is 0: then no token is ever made');
  return busy;
}

function checkOwnership(owned: Ownership): void {
  if (owned.priceUsd !== null) amount(owned.priceUsd, 'the price of the machine');
  if (owned.loadWatts !== null) amount(owned.loadWatts, 'the power under load');
  if (owned.idleWatts !== null) amount(owned.idleWatts, 'the power when idle');
  share(owned.residualShare, 'the residual value');
  amount(owned.usdPerKwh, 'the price of a kWh');
  amount(owned.operationsUsdPerMonth, 'operations per month');
  if (!(owned.years > 0)) throw new PlenumError('usage', `${owned.years} years is no time to use`);
  if (!(owned.pue >= 1)) {
    throw new PlenumError('usage', `PUE is ${owned.pue}; no building takes less than its machines`);
  }
}

/** Dollars per hour that the machine costs whether it works or not, and per hour that it works. */
export function hourlyCost(owned: Ownership): {
  readonly fixed: UsdPerHour | null;
  readonly busyExtra: UsdPerHour | null;
} {
  checkOwnership(owned);
  const { priceUsd, residualShare, years, loadWatts, usdPerKwh, pue } = owned;
  const perWatt = (pue * usdPerKwh) / 1e3;
  const idle = owned.idleWatts ?? 0;
  const fixed =
    priceUsd === null
      ? null
      : usdPerHour(
          (priceUsd * (1 - residualShare)) / (years * HOURS_PER_YEAR) +
            owned.operationsUsdPerMonth / HOURS_PER_MONTH +
            idle * perWatt,
        );
  const busyExtra = loadWatts === null ? null : usdPerHour(Math.max(0, loadWatts - idle) * perWatt);
  return { fixed, busyExtra };
}
