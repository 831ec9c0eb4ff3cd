/**
 * Looks at the machine at intervals for the keeper: what each host really has, whether memory is
 * short, how many tokens per second each host makes. It reads and reports; it decides nothing.
 */
import type { Clock } from '../base/clock.ts';
import type { LoadReport } from '../wire/report.ts';
import type { Counted, Footprint } from './footprint.ts';
import { type PressureSource, pressureReason } from './pressure.ts';

/** Looked at again after this long at the earliest, and after a hundred times what looking took. */
const MEASURE_MS = 5000;
const MEASURE_SHARE = 100;
const PRESSURE_MS = 1000;
const RATE_WINDOW_MS = 5000;

/** What one host has, kept up to date while it lives. */
export class HostMeter {
  readonly #footprint: Footprint;
  #counted: Counted | null = null;
  #dueAt = 0;
  #isLooking = false;

  constructor(footprint: Footprint) {
    this.#footprint = footprint;
  }

  get counted(): Counted | null {
    return this.#counted;
  }

  /** The figure is out of date: the next `refresh` looks. */
  outdate(): void {
    this.#dueAt = 0;
  }

  /** Looks now; null = the process is gone. */
  async look(): Promise<Counted | null> {
    this.#counted = await this.#footprint.look();
    return this.#counted;
  }

  /** Looks if it is time to. True when there is a new figure. */
  async refresh(clock: Clock): Promise<boolean> {
    const from = clock.now();
    if (this.#isLooking || from < this.#dueAt) return false;
    this.#isLooking = true;
    try {
      await this.look();
      return true;
    } catch (error) {
      // A figure that cannot be had is missed, and no more.
      if (error instanceof Error) return false;
      throw error;
    } finally {
      this.#isLooking = false;
      const now = clock.now();
      this.#dueAt = now + Math.max(MEASURE_MS, MEASURE_SHARE * (now - from));
    }
  }
}

/** Tokens per second over the last few seconds, from a host's counters. */
export class TokenRate {
  #samples: { readonly atMs: number; readonly tokens: number }[] = [];

  /** Counts what a host generates; of one that gives vectors, what it reads. */
  sample(now: number, report: LoadReport | null): void {
    if (report === null) {
      this.#samples = [];
      return;
    }
    const { generated, promptComputed } = report.tokens;
    const tokens = generated > 0 || report.cells.total > 0 ? generated : promptComputed;
    const last = this.#samples.at(-1);
    // A new host counts from the beginning.
    if (last !== undefined && tokens < last.tokens) this.#samples = [];
    this.#samples.push({ atMs: now, tokens });
    while ((this.#samples[1]?.atMs ?? now) < now - RATE_WINDOW_MS) this.#samples.shift();
  }

  get perSecond(): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (1000 * (last.tokens - first.tokens)) / (last.atMs - first.atMs);
  }
}

/** Why nothing may be loaded, followed over time. */
export class PressureGauge {
  readonly #source: PressureSource;
  #reason: string | null = null;
  #dueAt = 0;
  #isLooking = false;

  constructor(source: PressureSource) {
    this.#source = source;
  }

  /** The reason, looked up if it is time to; a source that fails says nothing. */
  async refresh(now: number): Promise<string | null> {
    if (this.#isLooking || now < this.#dueAt) return this.#reason;
    this.#isLooking = true;
    this.#dueAt = now + PRESSURE_MS;
    try {
      this.#reason = pressureReason(await this.#source(), this.#reason !== null);
    } catch (error) {
      // A reading that cannot be had must not stop the server, nor keep it paused for ever.
      if (!(error instanceof Error)) throw error;
      this.#reason = null;
    } finally {
      this.#isLooking = false;
    }
    return this.#reason;
  }
}
