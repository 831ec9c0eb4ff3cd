/**
 * What the measuring client costs: processor time, delay of its event loop, the time for which
 * bytes waited on the parser, and how late requests left. One for each run; `stop` judges whether
 * the client was what was measured.
 */
import { createHistogram, monitorEventLoopDelay, type RecordableHistogram } from 'node:perf_hooks';
import type { ClientHealth, Delay } from '../result.ts';

/** The loop is sampled so often; the sample's own period is taken off its result. */
const LOOP_SAMPLE_MS = 10;

export interface ClientLimits {
  /** Of one processor: near 1, bytes wait. */
  readonly cpuShareMax: number;
  readonly parseP90MsMax: number;
  readonly lateP90MsMax: number;
  /** Collections of garbage and the sampling of memory stay below it; a starved client does not. */
  readonly loopP90MsMax: number;
}

/**
 * Beyond these the client was the bottleneck: the delays are what would show in a TTFT or a
 * gap.
 */
export const CLIENT_LIMITS: ClientLimits = {
  cpuShareMax: 0.9,
  parseP90MsMax: 5,
  lateP90MsMax: 10,
  loopP90MsMax: 20,
};

const US_MAX = 3_600_000_000;

export class ClientMeter {
  readonly #cpu = process.cpuUsage();
  readonly #startedAt = performance.now();
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_SAMPLE_MS });
  readonly #parse: RecordableHistogram = createHistogram();
  readonly #late: RecordableHistogram = createHistogram();
  #batchStartedAt: number | null = null;

  constructor() {
    this.#loop.enable();
  }

  /**
   * Bytes were handed over. The first of a turn of the event loop starts its clock: those that are
   * handed over later in the same turn have waited since then.
   */
  arrived(at: number): void {
    if (this.#batchStartedAt !== null) return;
    this.#batchStartedAt = at;
    setImmediate(() => {
      this.#batchStartedAt = null;
    });
  }

  /** They are parsed. */
  parsed(at: number): void {
    const from = this.#batchStartedAt ?? at;
    this.#parse.record(microseconds(at - from));
  }

  sent(intendedAt: number, at: number): void {
    this.#late.record(microseconds(at - intendedAt));
  }

  stop(limits: ClientLimits = CLIENT_LIMITS): ClientHealth {
    this.#loop.disable();
    const wallMs = performance.now() - this.#startedAt;
    const { user, system } = process.cpuUsage(this.#cpu);
    const loopMs = delayOf((share) => this.#loop.percentile(share) / 1e6 - LOOP_SAMPLE_MS);
    const parseMs = delayOf((share) => this.#parse.percentile(share) / 1000);
    const lateMs = delayOf((share) => this.#late.percentile(share) / 1000);
    const cpuMs = (user + system) / 1000;
    const signs = {
      cpuShare: cpuMs / wallMs,
      loopMs: this.#loop.percentile(90) / 1e6 - LOOP_SAMPLE_MS,
      parseMs: this.#parse.percentile(90) / 1000,
      lateMs: this.#late.percentile(90) / 1000,
    };
    const reasons = judge(signs, limits);
    const bottleneck = reasons.length > 0;
    return { cpuMs, wallMs, loopMs, parseMs, lateMs, bottleneck, reasons };
  }
}

/** A histogram takes whole numbers from 1 on. */
const microseconds = (ms: number): number => Math.min(US_MAX, Math.max(1, Math.round(ms * 1000)));

const delayOf = (at: (percentile: number) => number): Delay => {
  const value = (percentile: number): number =>
    Math.max(0, Math.round(at(percentile) * 1000) / 1000) || 0;
  return { p50: value(50), p99: value(99), max: value(100) };
};

interface Signs {
  readonly cpuShare: number;
  /** 90th percentiles: a client that cannot keep up is late all the time, not once. */
  readonly loopMs: number;
  readonly parseMs: number;
  readonly lateMs: number;
}

/** In words, what the client was too slow for; nothing where it was not. */
function judge({ cpuShare, loopMs, parseMs, lateMs }: Signs, limits: ClientLimits): string[] {
  const reasons: string[] = [];
  const beyond = (what: string, value: number, limit: number): void => {
    if (value > limit) reasons.push(`${what} ${value.toFixed(1)} ms (p90), over ${limit} ms`);
  };
  if (cpuShare > limits.cpuShareMax) {
    const share = `${Math.round(100 * cpuShare)} % of a processor`;
    reasons.push(`the client took ${share}, over ${100 * limits.cpuShareMax} %`);
  }
  beyond('bytes waited on the parser for', parseMs, limits.parseP90MsMax);
  beyond('requests left later than intended by', lateMs, limits.lateP90MsMax);
  beyond('the event loop was late by', loopMs, limits.loopP90MsMax);
  return reasons;
}
