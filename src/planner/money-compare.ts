/**
 * Own against rent against a hosted API: at which volume and utilisation the one becomes cheaper
 * than the other, and which input moves an answer most. Pure.
 */
import { PlenumError } from '../base/errors.ts';
import {
  HOURS_PER_MONTH,
  type Hosted,
  hourlyCost,
  type Ownership,
  type Rental,
  type Throughput,
} from './money.ts';
import { amount, type UsdPerMtok, usdPerMtok } from './units.ts';

/** Tokens of a typical request. */
export interface Mix {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

export interface BreakEven {
  /** Share of the time that the machine must work; null when it never pays. */
  readonly utilisation: number | null;
  /** Requests and tokens of a month at that utilisation; null when it never pays. */
  readonly requestsPerMonth: number | null;
  readonly mtokPerMonth: number | null;
  /** Why, in a sentence. */
  readonly reason: string;
}

/** Seconds of machine time of a request; null without a speed for prompts. */
export function busySeconds(mix: Mix, speed: Throughput): number | null {
  checkMix(mix);
  if (speed.prefillTps === null) return null;
  return mix.promptTokens / speed.prefillTps + mix.outputTokens / speed.decodeTps;
}

/** From which volume on owning costs less than a hosted API. */
export function ownAgainstHosted(
  owned: Ownership,
  hosted: Hosted,
  { mix, speed }: { readonly mix: Mix; readonly speed: Throughput },
): BreakEven {
  const hostedPerRequest =
    (mix.promptTokens * amount(hosted.usdPerMtokIn, 'the hosted price of input') +
      mix.outputTokens * amount(hosted.usdPerMtokOut, 'the hosted price of output')) /
    1e6;
  return breakEven(owned, hostedPerRequest, { mix, speed });
}

/**
 * From which volume on owning costs less than renting a machine of the same speed, where it is
 * rented for the hours in which it works and no others.
 */
export function ownAgainstRent(
  owned: Ownership,
  rental: Rental,
  { mix, speed }: { readonly mix: Mix; readonly speed: Throughput },
): BreakEven {
  const seconds = busySeconds(mix, speed);
  if (seconds === null) return unknownSpeed();
  if (!(rental.sessionHours > 0)) {
    throw new PlenumError('usage', `hours at a time is ${rental.sessionHours}; it must be above 0`);
  }
  const billed = Math.max(rental.minimumHours, rental.sessionHours) / rental.sessionHours;
  const perHour = amount(rental.usdPerHour, 'the rent per hour') * billed;
  return breakEven(owned, (perHour * seconds) / 3600, { mix, speed });
}

/**
 * Whether owning costs less than renting the same machine all the time. A rented one's electricity
 * is in its price, so that owning may pay at little use and not at much.
 */
export function ownAgainstLease(owned: Ownership, rental: Rental): BreakEven {
  const { fixed, busyExtra } = hourlyCost(owned);
  if (fixed === null || busyExtra === null) return unknownMachine();
  const rent = amount(rental.usdPerHour, 'the rent per hour');
  if (fixed >= rent) return never('the machine itself costs more by the hour than the rent');
  const most = busyExtra === 0 ? 1 : (rent - fixed) / busyExtra;
  const reason = most >= 1 ? 'at any use' : `up to ${(100 * most).toPrecision(3)} % of the time`;
  return { utilisation: 0, requestsPerMonth: 0, mtokPerMonth: 0, reason };
}

const never = (reason: string): BreakEven => ({
  utilisation: null,
  requestsPerMonth: null,
  mtokPerMonth: null,
  reason,
});
const unknownMachine = (): BreakEven => never('the machine’s price or power is unknown');
const unknownSpeed = (): BreakEven => never('the speed of prompts on this machine is not known');

/** Fixed cost of a month = what each request saves × requests. */
function breakEven(
  owned: Ownership,
  otherPerRequest: number,
  { mix, speed }: { readonly mix: Mix; readonly speed: Throughput },
): BreakEven {
  const seconds = busySeconds(mix, speed);
  if (seconds === null) return unknownSpeed();
  const { fixed, busyExtra } = hourlyCost(owned);
  if (fixed === null || busyExtra === null) return unknownMachine();
  const saved = otherPerRequest - (busyExtra * seconds) / 3600;
  if (saved <= 0) return never('its electricity alone costs more than the other offer');
  const requests = (fixed * HOURS_PER_MONTH) / saved;
  const utilisation = (requests * seconds) / (HOURS_PER_MONTH * 3600);
  if (utilisation > 1) {
    const times = utilisation.toPrecision(3);
    return never(`it would have to work ${times} times as fast, every hour of the month`);
  }
  const mtok = (requests * (mix.promptTokens + mix.outputTokens)) / 1e6;
  return {
    utilisation,
    requestsPerMonth: requests,
    mtokPerMonth: mtok,
    reason: `from ${(100 * utilisation).toPrecision(3)} % of the time on`,
  };
}

/** Of a hosted API, per million tokens of the mix. */
export function hostedPerMtok(hosted: Hosted, mix: Mix): UsdPerMtok {
  checkMix(mix);
  const { promptTokens, outputTokens } = mix;
  const sum = promptTokens * hosted.usdPerMtokIn + outputTokens * hosted.usdPerMtokOut;
  return usdPerMtok(sum / (promptTokens + outputTokens));
}

function checkMix({ promptTokens, outputTokens }: Mix): void {
  amount(promptTokens, 'prompt tokens');
  amount(outputTokens, 'output tokens');
  if (promptTokens + outputTokens === 0) {
    throw new PlenumError('usage', 'a request of no tokens has no cost per token');
  }
}

export interface Influence {
  readonly input: string;
  /** Answer with the input lowered and raised, over the answer, minus 1. */
  readonly low: number;
  readonly high: number;
}

/**
 * How much `answer` moves when each input is lowered and raised by `by` (0.2 for 20 %), the
 * strongest first. An input at which the answer is not defined is left out.
 */
export function sensitivity(
  inputs: Readonly<Record<string, number>>,
  answer: (inputs: Readonly<Record<string, number>>) => number | null,
  by = 0.2,
): readonly Influence[] {
  const base = answer(inputs);
  if (base === null || base === 0) return [];
  const influences = Object.entries(inputs).flatMap(([input, value]): Influence[] => {
    const low = answer({ ...inputs, [input]: value * (1 - by) });
    const high = answer({ ...inputs, [input]: value * (1 + by) });
    return low === null || high === null
      ? []
      : [{ input, low: low / base - 1, high: high / base - 1 }];
  });
  const swing = ({ low, high }: Influence): number => Math.abs(high - low);
  return influences.sort((a, b) => swing(b) - swing(a));
}
