/**
 * What a plan is asked for, put together from the flags: traffic, load, money, and the trace where
 * one is named. It reads the trace and nothing else.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { MODEL_DEFAULTS } from '../../config/schema.ts';
import type { Traffic } from '../../planner/plan.ts';
import type { Target } from '../../simulate/statistics.ts';
import { parseTrace, type Trace } from '../../simulate/trace.ts';
import type { CliContext } from '../context.ts';
import {
  type MoneyWish,
  moneyWish,
  type PlanOptions,
  plainWishes,
  sloFlag,
} from './plan-options.ts';

export interface LoadWish {
  readonly trace: Trace | null;
  /** Null for the times of the trace, or for as many users as there are. */
  readonly ratePerSecond: number | null;
  readonly spread: number;
  readonly target: Target | null;
  readonly seed: number;
  /** A rate, a trace or a target is given, and not only users. */
  readonly isLoaded: boolean;
}

export interface Asked {
  readonly traffic: Required<Traffic>;
  /** Longest request that the traffic is likely to have. */
  readonly longestTokens: number;
  readonly contextTokens: number | undefined;
  /** Memory beside the cards, in GiB, for layers that they do not hold. */
  readonly systemGib: number | undefined;
  readonly utilisation: number;
  /** Tokens per second that a user should get; null when it only has to fit. */
  readonly targetTps: number | null;
  /** Null when nothing asks how it does under load. */
  readonly load: LoadWish | null;
  readonly money: MoneyWish;
}

const PROMPT_TOKENS_DEFAULT = 512;
const OUTPUT_TOKENS_DEFAULT = 128;
const TRACE_BYTES_MAX = 256e6;
/** Of a normal distribution: 99 of 100 lie below it. */
const P99 = 2.326;

/** @throws PlenumError `usage` with what would be right. */
export async function askedOf(options: PlanOptions, context: CliContext): Promise<Asked> {
  const plain = plainWishes(options);
  const target = sloFlag(options.slo);
  const trace = options.trace === undefined ? null : await readTrace(options.trace, context);
  refuseBoth(options, trace, plain.ratePerSecond);
  const isLoaded = trace !== null || plain.ratePerSecond !== null || target !== null;
  const users = plain.users ?? (isLoaded ? MODEL_DEFAULTS.parallel : 1);
  const mean = trace === null ? null : meanOf(trace);
  const promptTokens = mean?.promptTokens ?? plain.promptTokens ?? PROMPT_TOKENS_DEFAULT;
  const outputTokens = mean?.outputTokens ?? plain.outputTokens ?? OUTPUT_TOKENS_DEFAULT;
  const { cachedTokens, ratePerSecond, seed } = plain;
  if (cachedTokens >= promptTokens) {
    const most = `the prompt has ${promptTokens}, and its last token is always computed`;
    throw new PlenumError('usage', `--cached-tokens ${cachedTokens} are too many: ${most}`);
  }
  const spread = plain.spread ?? 0;
  const factor = Math.exp(P99 * spread - spread ** 2 / 2);
  const drawn = Math.ceil((promptTokens + outputTokens) * Math.max(1, factor));
  // One machine is quickly simulated; many are, when a flag that needs it asks.
  const isCrowd = users > 1 && options.compare === undefined;
  const isSimulated = isLoaded || isCrowd || options.html !== undefined;
  return {
    traffic: { users, promptTokens, outputTokens, cachedTokens },
    longestTokens: trace === null ? drawn : longestOf(trace),
    contextTokens: plain.contextTokens,
    systemGib: plain.systemGib,
    utilisation: plain.utilisation,
    targetTps: plain.targetTps,
    load: isSimulated ? { trace, ratePerSecond, spread, target, seed, isLoaded } : null,
    money: moneyWish(options),
  };
}

function refuseBoth(options: PlanOptions, trace: Trace | null, rate: number | null): void {
  if (trace === null) return;
  for (const [flag, value] of [
    ['--prompt-tokens', options.promptTokens],
    ['--output-tokens', options.outputTokens],
    ['--cached-tokens', options.cachedTokens],
    ['--spread', options.spread],
  ] as const) {
    if (value === undefined) continue;
    throw new PlenumError('usage', `${flag} and --trace exclude each other: the trace says it`);
  }
  if (trace.atMs !== null || rate !== null) return;
  const how = `give --rate, requests per second, or an 'at' in every line`;
  throw new PlenumError('usage', `${trace.name} has no times of arrival: ${how}`);
}

async function readTrace(written: string, { cwd }: CliContext): Promise<Trace> {
  const path = resolve(cwd, written);
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new PlenumError('file_not_found', `--trace ${written}: it cannot be read (${reason})`, {
      cause: error,
    });
  }
  if (content.length > TRACE_BYTES_MAX) {
    const size = `${content.length} bytes; at most ${TRACE_BYTES_MAX} are read`;
    throw new PlenumError('usage', `--trace ${written} has ${size}`);
  }
  return parseTrace(content.toString('utf8'), written);
}

function meanOf({ shapes }: Trace): { promptTokens: number; outputTokens: number } {
  const mean = (of: 'promptTokens' | 'outputTokens'): number =>
    Math.max(1, Math.round(shapes.reduce((sum, shape) => sum + shape[of], 0) / shapes.length));
  return { promptTokens: mean('promptTokens'), outputTokens: mean('outputTokens') };
}

const longestOf = ({ shapes }: Trace): number =>
  shapes.reduce((most, { promptTokens, outputTokens }) => {
    return Math.max(most, promptTokens + outputTokens);
  }, 1);
