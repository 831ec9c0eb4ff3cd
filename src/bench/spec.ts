/** Everything that a bench is told before it begins, read and checked. It runs nothing. */
import type { RequestLimits } from './client/limits.ts';
import type { ClientLimits } from './client/meter.ts';
import type { ScenarioSettings } from './load/scenario.ts';
import type { TraceConversation } from './load/trace.ts';
import type { Meter } from './power/meter.ts';
import type {
  Load,
  Machine,
  RequestRecord,
  Run,
  Slo,
  SweepPoint,
  TimelineSample,
} from './result.ts';

export interface TargetSpec {
  readonly name: string;
  /** One of the two. */
  readonly from: { readonly url: string } | { readonly command: string };
  /** Null: the first that it lists. */
  readonly model: string | null;
  readonly apiKey: string | null;
}

export interface FloodSpec {
  /** Model that embeds; served by every target. */
  readonly model: string;
  /** Requests per second. */
  readonly rate: number;
}

export interface BenchSpec {
  readonly targets: readonly TargetSpec[];
  readonly settings: ScenarioSettings;
  readonly trace: readonly TraceConversation[] | null;
  readonly endpoint: 'chat' | 'completions';
  readonly load: Load;
  /** Of a load whose arrivals are a file's. */
  readonly arrivals: readonly number[] | null;
  /** Conversations side by side in an open loop. */
  readonly users: number;
  /** Null without a sweep. */
  readonly points: readonly SweepPoint[] | null;
  readonly flood: FloodSpec | null;
  readonly durationMs: number | null;
  readonly requests: number | null;
  readonly repetitions: number;
  readonly warmupRequests: number;
  readonly seed: number;
  readonly slo: Slo | null;
  readonly limits: RequestLimits;
  readonly clientLimits: ClientLimits;
  readonly startMsMax: number;
  readonly drainMsMax: number;
  readonly readyPath: string | null;
  /** Spawned servers run all the time, beside each other, instead of each for its own runs. */
  readonly keepSpawned: boolean;
  readonly machine: Machine;
  /** Of this machine; null where it has none that may be read. */
  readonly meter?: Meter | null;
  readonly versions: { readonly plenum: string; readonly node: string };
  /** The command line, without secrets. */
  readonly command: readonly string[];
}

/** What a person is shown while it goes on. */
export interface BenchWatcher {
  phase(text: string): void;
  sample(at: RunPlace, sample: TimelineSample, records: readonly RequestRecord[]): void;
  ran(run: Run): void;
}

export interface RunPlace {
  readonly target: string;
  readonly repetition: number;
  readonly point: SweepPoint | null;
}
