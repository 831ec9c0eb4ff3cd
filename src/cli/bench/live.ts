/**
 * What a person sees while a bench runs: on a terminal one line with a bar and the percentiles so
 * far, elsewhere a line for each run that has ended. All of it goes to standard error.
 */
import type { RequestRecord, Run, TimelineSample } from '../../bench/result.ts';
import type { BenchSpec, BenchWatcher, RunPlace } from '../../bench/spec.ts';
import { ttftMs } from '../../bench/stats/run-values.ts';
import type { CliOutput } from '../context.ts';

/** Percentiles so far are over this many of the latest requests. */
const RECENT_MAX = 500;
const BAR_CHARS = 16;

export interface Live extends BenchWatcher {
  /** Takes the line away. */
  end(): void;
}

export function liveOf(spec: BenchSpec, output: CliOutput): Live {
  return output.isTTY ? new LiveLine(spec, output) : new PlainLines(spec, output);
}

class PlainLines implements Live {
  readonly #spec: BenchSpec;
  readonly #output: CliOutput;

  constructor(spec: BenchSpec, output: CliOutput) {
    this.#spec = spec;
    this.#output = output;
  }

  phase(): void {
    // Only a person wants to know.
  }
  sample(): void {
    // Only a person wants to know.
  }
  ran(run: Run): void {
    this.#output.write(`${runLine(run, this.#spec)}\n`);
  }
  end(): void {
    // Nothing is left on the screen.
  }
}

class LiveLine implements Live {
  readonly #spec: BenchSpec;
  readonly #output: CliOutput;

  constructor(spec: BenchSpec, output: CliOutput) {
    this.#spec = spec;
    this.#output = output;
  }

  phase(text: string): void {
    this.#show(text);
  }

  sample(place: RunPlace, sample: TimelineSample, records: readonly RequestRecord[]): void {
    this.#show(progressLine(place, { sample, records, spec: this.#spec }));
  }

  ran(run: Run): void {
    this.#clear();
    this.#output.write(`${runLine(run, this.#spec)}\n`);
  }

  end(): void {
    this.#clear();
  }

  #show(text: string): void {
    this.#clear();
    this.#output.write(text.slice(0, Math.max(20, this.#output.columns - 1)));
  }

  #clear(): void {
    this.#output.write('\r\u001b[K');
  }
}

interface Progress {
  readonly sample: TimelineSample;
  readonly records: readonly RequestRecord[];
  readonly spec: BenchSpec;
}

export function progressLine(place: RunPlace, { sample, records, spec }: Progress): string {
  const { durationMs, requests } = spec;
  const share = Math.max(
    durationMs === null ? 0 : sample.atMs / durationMs,
    requests === null ? 0 : sample.completed / requests,
  );
  const filled = Math.round(BAR_CHARS * Math.min(1, share));
  const bar = `[${'='.repeat(filled)}${' '.repeat(BAR_CHARS - filled)}]`;
  const first = records.slice(-RECENT_MAX).flatMap((record) => ttftMs(record) ?? []);
  const rate = sample.atMs > 0 ? (1000 * sample.outputTokens) / sample.atMs : 0;
  return [
    `${whereOf(place, spec)} ${bar} ${Math.round(sample.atMs / 1000)} s`,
    `${sample.completed} done, ${sample.inFlight} open`,
    ...(sample.errors > 0 ? [`${sample.errors} errors`] : []),
    ...(first.length > 0 ? [`ttft ${percentiles(first)}`] : []),
    ...(rate > 0 ? [`${Math.round(rate)} tok/s`] : []),
  ].join('  ');
}

function percentiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    String(Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0));
  return `${at(0.5)}/${at(0.95)} ms`;
}

function whereOf({ target, repetition, point }: RunPlace, { repetitions }: BenchSpec): string {
  const at = point === null ? '' : ` ${point.axis} ${point.value}`;
  return `${target}${at} ${repetition}/${repetitions}`;
}

function runLine(run: Run, spec: BenchSpec): string {
  const good = run.records.filter(({ outcome }) => outcome === 'ok').length;
  const bad = run.records.filter(({ outcome }) => outcome === 'error').length;
  const state = run.valid ? '' : ` — not valid: ${run.notes.join('; ')}`;
  const errors = bad === 0 ? '' : `, ${bad} errors`;
  const seconds = (run.wallMs / 1000).toFixed(1);
  return `${whereOf(run, spec)}: ${good} good answers in ${seconds} s${errors}${state}`;
}
