/**
 * Student's t distribution for whole degrees of freedom, by its finite series (Abramowitz and
 * Stegun 1964, 26.7.3 and 26.7.4). Pure. Fractional degrees of freedom are rounded down by the
 * caller, which widens an interval and never narrows it.
 */
import { assert } from '../../base/assert.ts';

/** From here on the normal distribution is within 0.2 % of the quantile; the series ends here. */
const DEGREES_MAX = 1000;

/** P(|T| ≥ |t|). */
export function twoSidedP(t: number, degrees: number): number {
  assert(Number.isInteger(degrees) && degrees >= 1, `degrees of freedom: ${degrees}`);
  if (Number.isNaN(t)) return 1;
  return Math.max(0, 1 - central(Math.abs(t), Math.min(degrees, DEGREES_MAX)));
}

/** P(|T| < t) for t ≥ 0. */
function central(t: number, degrees: number): number {
  const angle = Math.atan(t / Math.sqrt(degrees));
  const sine = Math.sin(angle);
  const cosine = Math.cos(angle);
  const isOdd = degrees % 2 === 1;
  let term = isOdd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let k = isOdd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= (cosine * cosine * (k - 1)) / k;
    sum += term;
  }
  return isOdd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
}

/** The t for which P(|T| < t) is `confidence`: 2.262 for 0.95 and 9 degrees. */
export function tQuantile(confidence: number, degrees: number): number {
  assert(confidence > 0 && confidence < 1, `confidence: ${confidence}`);
  let low = 0;
  let high = 1;
  while (twoSidedP(high, degrees) > 1 - confidence) high *= 2;
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (twoSidedP(middle, degrees) > 1 - confidence) low = middle;
    else high = middle;
  }
  return high;
}
