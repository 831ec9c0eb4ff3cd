/**
 * Units of the planner's answers: branded numbers, so that dollars are not added to watts. Beside
 * base/units.ts, which has bytes, milliseconds and tokens. At run time each is a plain number.
 */
import { PlenumError } from '../base/errors.ts';

declare const unit: unique symbol;
type Quantity<U extends string> = number & { readonly [unit]: U };

export type UsdPerHour = Quantity<'usd/h'>;
export type UsdPerMtok = Quantity<'usd/Mtok'>;
export type Joules = Quantity<'joules'>;
export type TokensPerSecond = Quantity<'tokens/s'>;
/** From 0 to 1. */
export type Share = Quantity<'share'>;

export const usdPerHour = (n: number): UsdPerHour => n as UsdPerHour;
export const usdPerMtok = (n: number): UsdPerMtok => n as UsdPerMtok;
export const joules = (n: number): Joules => n as Joules;
export const tokensPerSecond = (n: number): TokensPerSecond => n as TokensPerSecond;

/** Throws `usage` that names `what` unless 0 ≤ n ≤ 1. */
export function share(n: number, what: string): Share {
  if (n >= 0 && n <= 1) return n as Share;
  throw new PlenumError('usage', `${what} is ${n}; it is a share from 0 to 1`);
}

/** Throws `usage` that names `what` unless n is finite and at least 0. */
export function amount(n: number, what: string): number {
  if (n >= 0 && Number.isFinite(n)) return n;
  throw new PlenumError('usage', `${what} is ${n}; it must be a number from 0`);
}
