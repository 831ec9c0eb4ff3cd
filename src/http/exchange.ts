/**
 * What is known of one HTTP request, from its headers to its last byte. It is written down once:
 * one access line, one set of metrics, from the same values.
 */
import { ERROR_TABLE, type ErrorCode } from '../base/errors.ts';
import { NO_MODEL } from '../telemetry/metrics.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { Usage } from '../wire/generation.ts';
import { type Outcome, outcomeLabel } from '../wire/outcome.ts';

export interface ExchangeStart {
  readonly id: string;
  readonly method: string;
  /** The pattern of the route, never the client's own path. */
  readonly route: string;
  readonly generation: boolean;
  /** Logged at debug level only, whatever the answer: a probe asks every few seconds. */
  readonly probe: boolean;
  readonly arrivedMs: number;
}

/** What a generation adds when it has ended. */
export interface GenerationFacts {
  readonly outcome: Outcome;
  readonly usage: Usage;
  readonly work: Usage;
  readonly queueMs: number | null;
  readonly ttftMs: number | null;
}

export class Exchange {
  readonly start: ExchangeStart;
  keyName: string | null = null;
  /** A served model's id; never a name that only a client knows. */
  model: string | null = null;
  stream = false;
  code: ErrorCode | null = null;
  facts: GenerationFacts | null = null;
  /** Of an answer that was written without the reply: the status of `code`. */
  statusBeside: number | null = null;
  #open = 1;
  readonly #onDone: (exchange: Exchange) => void;

  constructor(start: ExchangeStart, onDone: (exchange: Exchange) => void) {
    this.start = start;
    this.#onDone = onDone;
  }

  /** Keeps the exchange open until the returned function is called (once). */
  hold(): () => void {
    this.#open += 1;
    return () => this.release();
  }

  release(): void {
    this.#open -= 1;
    if (this.#open === 0) this.#onDone(this);
  }

  /** The socket was answered, or is gone, before there was a reply: that is how it ended. */
  answeredBeside(code: ErrorCode): void {
    this.code ??= code;
    this.statusBeside ??= ERROR_TABLE[code].status;
  }

  get outcome(): Outcome {
    if (this.facts !== null) return this.facts.outcome;
    const code = this.code ?? 'client_closed';
    if (code === 'client_closed' || code === 'slow_reader') return { kind: 'cancelled', code };
    if (code === 'deadline_exceeded' || code === 'wait_expired') return { kind: 'expired', code };
    return ERROR_TABLE[code].status === 500 ? { kind: 'failed', code } : { kind: 'refused', code };
  }
}

export interface Finish {
  readonly status: number;
  readonly totalMs: number;
}

/** Writes the access line and counts the request. */
export function record(exchange: Exchange, finish: Finish, telemetry: Telemetry): void {
  const { start, facts } = exchange;
  const { status } = finish;
  telemetry.metrics.responseSent({ route: start.route, method: start.method, status });
  if (start.generation) {
    const work = facts?.work;
    telemetry.metrics.requestEnded({
      model: exchange.model ?? NO_MODEL,
      outcome: outcomeLabel(exchange.outcome),
      queueMs: facts?.queueMs ?? null,
      promptTokens: work?.promptTokens ?? 0,
      cachedTokens: work?.cachedTokens ?? 0,
      completionTokens: work?.completionTokens ?? 0,
    });
  }
  const line = {
    id: exchange.start.id,
    method: start.method,
    route: start.route,
    status,
    ms: round(finish.totalMs),
    ...(exchange.keyName === null ? {} : { key: exchange.keyName }),
    ...(exchange.code === null ? {} : { code: exchange.code }),
    ...(start.generation ? generationLine(exchange) : {}),
  };
  const level = start.probe ? 'debug' : status >= 500 ? 'warn' : 'info';
  telemetry.log[level](line, 'request');
}

function generationLine(exchange: Exchange) {
  const { facts } = exchange;
  const outcome = { model: exchange.model ?? NO_MODEL, outcome: outcomeLabel(exchange.outcome) };
  if (facts === null) return outcome;
  return {
    ...outcome,
    stream: exchange.stream,
    ...(facts.queueMs === null ? {} : { queueMs: round(facts.queueMs) }),
    ...(facts.ttftMs === null ? {} : { ttftMs: round(facts.ttftMs) }),
    promptTokens: facts.usage.promptTokens,
    cachedTokens: facts.usage.cachedTokens,
    completionTokens: facts.usage.completionTokens,
  };
}

const round = (ms: number): number => Math.round(ms * 100) / 100;
