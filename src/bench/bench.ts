/**
 * A whole bench: gets to know its targets, measures them in turn (A B, B A, …, so that a machine's
 * drift falls on all), and makes the report. An interruption ends it with the report of what was
 * measured; a target that cannot be had in the middle is a run that is not valid.
 */
import { defined } from '../base/assert.ts';
import { toPlenumError } from '../base/errors.ts';
import { lengthText } from './load/lengths.ts';
import { describeScenario } from './load/scenario.ts';
import { PLAIN_STOCK, type WordStock } from './load/text.ts';
import type { Dialect } from './load/workload.ts';
import { loadAt, oneRun } from './one-run.ts';
import {
  REPORT_FORMAT,
  REPORT_VERSION,
  type Report,
  type Run,
  type Setup,
  type SweepPoint,
} from './result.ts';
import { type Known, Session } from './session.ts';
import type { BenchSpec, BenchWatcher, RunPlace } from './spec.ts';
import { compareTargets } from './stats/comparison.ts';
import { findKnees } from './stats/knee.ts';
import { summarise } from './stats/summary.ts';

/** Throws PlenumError where a target cannot be measured at all, before anything was measured. */
export async function runBench(
  spec: BenchSpec,
  { signal, watcher }: { readonly signal: AbortSignal; readonly watcher: BenchWatcher },
): Promise<Report> {
  const bench = new Bench(spec, signal, watcher);
  return bench.run();
}

/** A target that fails more than this share of a point's requests is not asked for more. */
const BROKEN_SHARE = 0.5;

class Bench {
  readonly #spec: BenchSpec;
  readonly #signal: AbortSignal;
  readonly #watcher: BenchWatcher;
  readonly #sessions: readonly Session[];
  readonly #runs: Run[] = [];
  readonly #notes: string[] = [];
  /** Spawned servers stay up between runs: alone, or because it was asked for. */
  readonly #staysUp: boolean;

  constructor(spec: BenchSpec, signal: AbortSignal, watcher: BenchWatcher) {
    this.#spec = spec;
    this.#signal = signal;
    this.#watcher = watcher;
    this.#sessions = spec.targets.map((target) => new Session(spec, target, signal));
    this.#staysUp = spec.keepSpawned || spec.targets.length === 1;
  }

  async run(): Promise<Report> {
    const createdAt = new Date().toISOString();
    try {
      const known = await this.#meet();
      await this.#measure(known);
    } catch (thrown) {
      if (!this.#signal.aborted) throw thrown;
      this.#notes.push('interrupted');
    } finally {
      await Promise.all(this.#sessions.map((session) => session.down()));
    }
    return this.#report(createdAt);
  }

  /** What all of the targets understand, and the words to make prompts of. */
  async #meet(): Promise<{ dialect: Dialect; stock: WordStock }> {
    const all: Known[] = [];
    for (const session of this.#sessions) {
      this.#watcher.phase(`${session.name}: starting and asking what it is`);
      await session.up();
      all.push(await session.probe());
      if (!this.#staysUp) await session.down();
    }
    const dialect = {
      endpoint: this.#spec.endpoint,
      ignoreEos: all.every((one) => one.dialect.ignoreEos),
      includeUsage: all.every((one) => one.dialect.includeUsage),
    };
    if (!dialect.ignoreEos) {
      this.#notes.push('answers may be shorter than asked for: a target refuses ignore_eos');
    }
    return { dialect, stock: this.#chooseStock(all) };
  }

  #chooseStock(all: readonly Known[]): WordStock {
    const best =
      all.findIndex(({ counter }) => counter.stock.isExact) >= 0
        ? all.findIndex(({ counter }) => counter.stock.isExact)
        : all.findIndex(({ counter }) => counter.kind === 'calibrated');
    if (best === -1) {
      this.#notes.push('no target says how it counts: one word is taken for one token');
      return PLAIN_STOCK;
    }
    const { stock } = defined(all[best], 'target').counter;
    if (!stock.isExact) {
      const rate = stock.tokensPerWord.toFixed(2);
      this.#notes.push(`prompts are ${rate} tokens per word, by what a target says of its usage`);
    } else if (all.length > 1) {
      this.#notes.push(`prompts are counted by the tokenizer of ${this.#sessions[best]?.name}`);
    }
    return stock;
  }

  async #measure(ask: { readonly dialect: Dialect; readonly stock: WordStock }): Promise<void> {
    const broken = new Set<Session>();
    for (const point of this.#spec.points ?? [null]) {
      for (let repetition = 1; repetition <= this.#spec.repetitions; repetition++) {
        const left = this.#sessions.filter((session) => !broken.has(session));
        for (const session of repetition % 2 === 1 ? left : left.toReversed()) {
          await this.#runOnce(session, { target: session.name, repetition, point }, ask);
          if (this.#signal.aborted) return;
        }
      }
      for (const session of this.#sessions) {
        if (!broken.has(session) && this.#isBroken(session.name, point)) broken.add(session);
      }
      if (broken.size === this.#sessions.length) return;
    }
  }

  /** Of a sweep: beyond here there is nothing to find. */
  #isBroken(target: string, point: SweepPoint | null): boolean {
    if (point === null) return false;
    const records = this.#runs
      .filter((run) => run.target === target && run.point === point)
      .flatMap((run) => run.records);
    const bad = records.filter(({ outcome }) => outcome === 'error').length;
    if (records.length > 0 && bad / records.length <= BROKEN_SHARE) return false;
    const where = `${point.axis} ${point.value}`;
    this.#notes.push(`${target} failed most requests at ${where}: more was not tried`);
    return true;
  }

  async #runOnce(
    session: Session,
    place: RunPlace,
    ask: { readonly dialect: Dialect; readonly stock: WordStock },
  ): Promise<void> {
    const order = this.#runs.length;
    const [spec, signal, watcher] = [this.#spec, this.#signal, this.#watcher];
    try {
      await session.up();
      const run = await oneRun({ ...ask, spec, session, place, order, signal, watcher });
      this.#keep(run);
      if (!this.#staysUp) await session.down();
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      this.#keep(failedRun(place, order, toPlenumError(thrown).message));
    }
  }

  /** What an interrupted run measured counts where there is nothing better. */
  #keep(run: Run): void {
    const isOnly = !this.#runs.some(
      ({ target, point, valid }) => valid && target === run.target && point === run.point,
    );
    const wasInterrupted = run.notes.length === 1 && run.notes[0] === 'interrupted';
    const hasAny = run.records.some(({ outcome }) => outcome === 'ok');
    const valid = run.valid || (wasInterrupted && isOnly && hasAny);
    const kept = { ...run, valid };
    this.#runs.push(kept);
    this.#watcher.ran(kept);
  }

  #report(createdAt: string): Report {
    const setup = setupOf(this.#spec);
    const targets = this.#sessions.map((session) => session.report());
    const measured = { runs: this.#runs, setup, targets };
    const wanted =
      this.#spec.targets.length * this.#spec.repetitions * (this.#spec.points?.length ?? 1);
    const isShort = this.#runs.length < wanted && this.#spec.points === null;
    return {
      format: REPORT_FORMAT,
      version: REPORT_VERSION,
      createdAt,
      partial: this.#signal.aborted || isShort,
      ...measured,
      summaries: summarise(measured),
      comparisons: compareTargets(measured),
      knees: findKnees(measured),
      notes: this.#notes,
    };
  }
}

const NO_DELAY = { p50: 0, p99: 0, max: 0 };

/** A run whose server could not be had. */
function failedRun(place: RunPlace, order: number, message: string): Run {
  return {
    ...place,
    order,
    ...{ startedAt: new Date().toISOString(), wallMs: 0, warmup: [], records: [], timeline: [] },
    ...{ resources: null, energy: null, requestsSha256: '', valid: false, notes: [message] },
    client: {
      ...{ cpuMs: 0, wallMs: 0, loopMs: NO_DELAY, parseMs: NO_DELAY, lateMs: NO_DELAY },
      ...{ bottleneck: false, reasons: [] },
    },
  };
}

function setupOf(spec: BenchSpec): Setup {
  const { settings, points, trace, flood } = spec;
  const axis = points?.[0] ?? null;
  const sweep = points === null ? null : points.map(({ value }) => value).join(',');
  return {
    machine: spec.machine,
    versions: spec.versions,
    seed: spec.seed,
    scenario: {
      name: settings.scenario,
      description: describeScenario(settings, trace !== null),
      settings: {
        promptTokens: lengthText(settings.promptTokens),
        outputTokens: lengthText(settings.outputTokens),
        turns: settings.turns,
        sharedTokens: settings.sharedTokens,
        documents: settings.documents,
        items: settings.items,
        endpoint: spec.endpoint,
        users: spec.users,
        ...(trace === null ? {} : { traceConversations: trace.length }),
        ...(flood === null ? {} : { floodRate: flood.rate, floodModel: flood.model }),
        ...(axis === null ? {} : { sweepAxis: axis.axis, sweepValues: sweep }),
      },
    },
    load: loadAt(spec, axis),
    slo: spec.slo,
    repetitions: spec.repetitions,
    durationMs: spec.durationMs,
    requests: spec.requests,
    warmupRequests: spec.warmupRequests,
    command: [...spec.command],
  };
}
