/** The flags of `plenum plan` as text, and what they mean. Refuses what is impossible. */
import { PlenumError } from '../../base/errors.ts';
import type { Hosted, Ownership } from '../../planner/money.ts';
import type { Target } from '../../simulate/statistics.ts';
import { numberFlag, wholeFlag } from './numbers.ts';

export interface PlanOptions {
  readonly machine?: string;
  readonly compare?: string;
  readonly threads?: string;
  readonly systemMemory?: string;
  readonly users?: string;
  readonly promptTokens?: string;
  readonly outputTokens?: string;
  readonly cachedTokens?: string;
  readonly spread?: string;
  readonly trace?: string;
  readonly rate?: string;
  readonly slo?: string;
  readonly seed?: string;
  readonly speculation?: string;
  readonly utilization?: string;
  readonly quant?: string;
  readonly context?: string;
  readonly targetTps?: string;
  readonly tariff?: string;
  readonly pue?: string;
  readonly price?: string;
  readonly power?: string;
  readonly idlePower?: string;
  readonly years?: string;
  readonly residual?: string;
  readonly operations?: string;
  readonly rent?: string;
  readonly rentHours?: string;
  readonly hosted?: string;
  readonly html?: string;
  readonly json?: true;
}

const positive = { least: 0, most: 1e9, isAbove: true } as const;
const share = { least: 0, most: 1, isAbove: true } as const;

export interface MoneyWish {
  /** What is given instead of the catalogue's figures and the usual assumptions. */
  readonly ownership: Partial<Omit<Ownership, 'kind'>>;
  readonly rentUsdPerHour: number | null;
  readonly rentHours: number | null;
  readonly hosted: Hosted | null;
}

/** @throws PlenumError `usage` for impossible prices. */
export function moneyWish(options: PlanOptions): MoneyWish {
  const from0 = (most: number) => ({ least: 0, most });
  const money = { least: 0, most: 1e9 };
  const given: Readonly<Record<string, number | undefined>> = {
    priceUsd: numberFlag('--price', options.price, money),
    loadWatts: numberFlag('--power', options.power, from0(1e6)),
    idleWatts: numberFlag('--idle-power', options.idlePower, from0(1e6)),
    usdPerKwh: numberFlag('--tariff', options.tariff, from0(100)),
    pue: numberFlag('--pue', options.pue, { least: 1, most: 10 }),
    years: numberFlag('--years', options.years, { least: 0, most: 50, isAbove: true }),
    residualShare: numberFlag('--residual', options.residual, from0(1)),
    operationsUsdPerMonth: numberFlag('--operations', options.operations, money),
  };
  return {
    ownership: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    rentUsdPerHour: numberFlag('--rent', options.rent, money) ?? null,
    rentHours: numberFlag('--rent-hours', options.rentHours, { ...positive, most: 1e5 }) ?? null,
    hosted: hostedFlag(options.hosted),
  };
}

/** `0.2,0.6`: dollars per million tokens in and out. */
function hostedFlag(text: string | undefined): Hosted | null {
  if (text === undefined) return null;
  const parts = text.split(',');
  const [input, output] = parts.map((part) => (/^\d+(\.\d+)?$/.test(part) ? Number(part) : null));
  if (parts.length === 2 && typeof input === 'number' && typeof output === 'number') {
    return { kind: 'hosted', usdPerMtokIn: input, usdPerMtokOut: output };
  }
  const form = 'two prices in dollars per million tokens, IN,OUT such as 0.2,0.6';
  throw new PlenumError('usage', `--hosted takes ${form}, not '${text}'`);
}

/** DistServe and others count a system as good enough when nine in ten requests meet the target. */
const SHARE_DEFAULT = 0.9;
const SLO_FORM = "such as ttft=500ms,itl=60ms or ttft=2s,share=0.95, not '";

/** @throws PlenumError `usage` that shows the form. */
export function sloFlag(text: string | undefined): Target | null {
  if (text === undefined) return null;
  const bad = (): PlenumError =>
    new PlenumError('usage', `--slo takes a target ${SLO_FORM}${text}'`);
  const found = new Map<string, number>();
  for (const part of text.split(',')) {
    const [, name = '', value, unit] = /^(ttft|itl|share)=(\d+(?:\.\d+)?)(ms|s)?$/.exec(part) ?? [];
    if (value === undefined || found.has(name)) throw bad();
    if ((name === 'share') !== (unit === undefined)) throw bad();
    found.set(name, Number(value) * (unit === 's' ? 1000 : 1));
  }
  const target = {
    ttftMs: found.get('ttft') ?? null,
    itlMs: found.get('itl') ?? null,
    share: found.get('share') ?? SHARE_DEFAULT,
  };
  if (target.ttftMs === null && target.itlMs === null) throw bad();
  if (target.ttftMs === 0 || target.itlMs === 0 || !(target.share > 0 && target.share <= 1)) {
    throw bad();
  }
  return target;
}

export interface SpeculationWish {
  readonly acceptance: number;
  /** Null for the smallest model of the catalogue with the same vocabulary. */
  readonly draft: string | null;
}

/** `0.7` or `0.7,llama-3.2-1b@q8_0`. */
export function speculationFlag(text: string | undefined): SpeculationWish | null {
  if (text === undefined) return null;
  const [, acceptance, draft] = /^(\d+(?:\.\d+)?)(?:,(.+))?$/.exec(text) ?? [];
  const value = Number(acceptance);
  if (acceptance !== undefined && value >= 0 && value <= 1) {
    return { acceptance: value, draft: draft ?? null };
  }
  const form =
    'a share of accepted tokens from 0 to 1 and perhaps a draft, such as 0.7,llama-3.2-1b';
  throw new PlenumError('usage', `--speculation takes ${form}, not '${text}'`);
}

const UTILISATION_DEFAULT = 0.3;
const SEED_DEFAULT = 1;
/** Above it one request in a hundred is 600 times the median. */
const SPREAD_MAX = 3;

/** What has a number and needs nothing else. */
export function plainWishes(options: PlanOptions) {
  return {
    utilisation: numberFlag('--utilization', options.utilization, share) ?? UTILISATION_DEFAULT,
    targetTps: numberFlag('--target-tps', options.targetTps, positive) ?? null,
    contextTokens: wholeFlag('--context', options.context),
    systemGib: numberFlag('--system-memory', options.systemMemory, { ...positive, most: 1e5 }),
    users: wholeFlag('--users', options.users),
    promptTokens: wholeFlag('--prompt-tokens', options.promptTokens),
    outputTokens: wholeFlag('--output-tokens', options.outputTokens),
    cachedTokens: wholeFlag('--cached-tokens', options.cachedTokens) ?? 0,
    spread: numberFlag('--spread', options.spread, { least: 0, most: SPREAD_MAX }),
    ratePerSecond: numberFlag('--rate', options.rate, positive) ?? null,
    seed: wholeFlag('--seed', options.seed) ?? SEED_DEFAULT,
  };
}
