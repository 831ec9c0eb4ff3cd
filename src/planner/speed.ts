/**
 * How fast a placed model answers: decode of one or more sequences at a depth of context, a prompt
 * cold and with a cached prefix, speculation; which term binds, how near to the physical limit it
 * is, and how far off the prediction may be. Pure.
 */
import { PlenumError } from '../base/errors.ts';
import { type Millis, millis } from '../base/units.ts';
import type { ModelCost } from './model-cost.ts';
import { type PlacedTerms, type Placement, placedPrompt, placedStep } from './placement.ts';
import type { FamilyParams } from './speed-params.ts';
import type { StepOptions } from './step-cost.ts';
import { type TokensPerSecond, tokensPerSecond } from './units.ts';

export type Binding = 'bandwidth' | 'compute' | 'memory' | 'pcie' | 'overhead';

export interface SpeedAsk {
  readonly cost: ModelCost;
  readonly placement: Placement;
  readonly params: FamilyParams;
  /** Sequences that decode together. */
  readonly users: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Tokens of the prompt whose cells are there already. */
  readonly cachedTokens?: number;
  readonly speculation?: Speculation | undefined;
  readonly options?: StepOptions | undefined;
}

export interface Speculation {
  readonly draft: ModelCost;
  /** Where the draft runs; beside the model when none is given. */
  readonly placement?: Placement;
  /** Tokens that the draft proposes at a time. */
  readonly draftTokens: number;
  /** Probability that a proposed token is accepted, from 0 to 1. */
  readonly acceptance: number;
}

export interface Speed {
  /** Of all users together, output tokens per second. */
  readonly decodeTps: TokensPerSecond;
  readonly perUserTps: TokensPerSecond;
  /** Milliseconds between two tokens of a user. */
  readonly interTokenMs: Millis;
  /** Tokens of a cold prompt per second; null where no compute rate is known. */
  readonly prefillTps: TokensPerSecond | null;
  /** Of a cold prompt, alone; null where no compute rate is known. */
  readonly ttftMs: Millis | null;
  /** With `cachedTokens` of the prompt cached. */
  readonly warmTtftMs: Millis | null;
  readonly binding: Binding;
  readonly prefillBinding: Binding | null;
  /** No engine on this machine decodes faster: peak figures, no overhead, no speculation. */
  readonly limitTps: TokensPerSecond;
  /** decodeTps of the model without speculation, over limitTps. */
  readonly ofLimit: number;
  /** One standard deviation, in percent, from the residuals of the fit. */
  readonly errorPct: { readonly decode: number; readonly prefill: number };
  readonly decodeTerms: PlacedTerms;
}

/** Throws `usage` for impossible numbers. */
export function predictSpeed(ask: SpeedAsk): Speed {
  refuseImpossible(ask);
  const { users, promptTokens, outputTokens, params } = ask;
  // Half of the output is there on average.
  const depth = promptTokens + outputTokens / 2;
  const terms = decodeStep(ask, { tokensEach: 1, depth });
  const plainTps = (1e3 * users) / terms.totalMs;
  const decodeTps = ask.speculation === undefined ? plainTps : speculativeTps(ask, depth);
  const limitTps = (1e3 * users) / terms.limitMs;
  const cold = promptTime(ask, 0);
  const warm = promptTime(ask, Math.min(ask.cachedTokens ?? 0, promptTokens - 1));
  return {
    decodeTps: tokensPerSecond(decodeTps),
    perUserTps: tokensPerSecond(decodeTps / users),
    interTokenMs: millis((1e3 * users) / decodeTps),
    prefillTps: cold === null ? null : tokensPerSecond((1e3 * promptTokens) / cold.totalMs),
    ttftMs: cold === null ? null : millis(cold.totalMs),
    warmTtftMs: warm === null ? null : millis(warm.totalMs),
    binding: bindingOf(terms),
    prefillBinding: cold === null ? null : bindingOf(cold),
    limitTps: tokensPerSecond(limitTps),
    ofLimit: plainTps / limitTps,
    errorPct: params.errorPct,
    decodeTerms: terms,
  };
}

function refuseImpossible(ask: SpeedAsk): void {
  const whole = (value: number, name: string, least: number): void => {
    if (Number.isInteger(value) && value >= least) return;
    throw new PlenumError('usage', `${name} is ${value}; it must be a whole number from ${least}`);
  };
  whole(ask.users, 'users', 1);
  whole(ask.promptTokens, 'prompt tokens', 1);
  whole(ask.outputTokens, 'output tokens', 1);
  whole(ask.cachedTokens ?? 0, 'cached tokens', 0);
  if (ask.speculation === undefined) return;
  whole(ask.speculation.draftTokens, 'draft tokens', 1);
  const { acceptance } = ask.speculation;
  if (!(acceptance >= 0 && acceptance <= 1)) {
    throw new PlenumError('usage', `acceptance is ${acceptance}; it is a share from 0 to 1`);
  }
}

interface StepWish {
  readonly tokensEach: number;
  readonly depth: number;
}

function decodeStep(ask: SpeedAsk, { tokensEach, depth }: StepWish): PlacedTerms {
  const { users, cost, placement, options } = ask;
  const tokens = users * tokensEach;
  const shape = { tokens, sequences: users, attended: tokens * (depth + 1), outputs: tokens };
  return placedStep({ shape, cost, placement, options });
}

/**
 * A cycle drafts γ tokens one by one and verifies them in one step. With acceptance α it yields
 * (1 − α^(γ+1)) / (1 − α) tokens (Leviathan and others 2023, equation 1).
 */
function speculativeTps(ask: SpeedAsk, depth: number): number {
  const { users, speculation } = ask;
  if (speculation === undefined) return 0;
  const { acceptance, draftTokens } = speculation;
  const verify = decodeStep(ask, { tokensEach: draftTokens + 1, depth });
  const draft = decodeStep(
    { ...ask, cost: speculation.draft, placement: speculation.placement ?? ask.placement },
    { tokensEach: 1, depth },
  );
  const accepted =
    acceptance === 1 ? draftTokens + 1 : (1 - acceptance ** (draftTokens + 1)) / (1 - acceptance);
  return (1e3 * users * accepted) / (verify.totalMs + draftTokens * draft.totalMs);
}

/** Null where a device's compute rate is not known: a prompt is all compute. */
function promptTime(ask: SpeedAsk, cached: number): PlacedTerms | null {
  const { cost, placement, options, promptTokens } = ask;
  const devices = placement.stages.filter(({ memory }) => memory === 'device');
  if (devices.length === 0 || devices.some(({ device }) => device.matrixOpsPerSecond === null)) {
    return null;
  }
  return placedPrompt({ cost, placement, tokens: promptTokens - cached, cached, options });
}

/** The term that takes most of the time; `memory` where it is spent on layers off the device. */
export function bindingOf(terms: PlacedTerms): Binding {
  if (terms.linkMs > terms.totalMs / 2) return 'pcie';
  if (terms.systemShare > 0.5) return 'memory';
  const { bandwidthMs, computeMs, overheadMs } = terms;
  if (overheadMs > bandwidthMs && overheadMs > computeMs) return 'overhead';
  return computeMs > bandwidthMs ? 'compute' : 'bandwidth';
}
