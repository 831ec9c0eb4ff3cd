/**
 * Runs with a known truth, for tests of the statistics: seeded requests of two targets whose
 * machine is noisy in the ways that shared machines are. Times only; nothing is sent.
 */
import { Prng } from '../../base/prng.ts';
import type { Report, RequestRecord, Run } from '../result.ts';

export interface NoiseSpec {
  readonly seed: number;
  readonly repetitions: number;
  /** How much slower the second target is: 1.05 is 5 %. */
  readonly factor: number;
  /** Standard deviation of one repetition of one target, as a share: 0.03. */
  readonly noise: number;
  /** Standard deviation of the machine's walk from each run to the next. */
  readonly drift?: number;
  /** Every run is slower than the one before by this share (a machine that warms up). */
  readonly trend?: number;
  /** Share of runs that are hit by something else, and are 40 % slower. */
  readonly outliers?: number;
  readonly requests?: number;
}

const TTFT_MS = 200;
const GAP_MS = 20;
const TOKENS = 9;

interface Speeds {
  readonly prefill: number;
  readonly decode: number;
}

/** `a` and `b`, interleaved A B B A A B …, each repetition a pair. */
export function noisyReport(spec: NoiseSpec): Pick<Report, 'runs' | 'setup' | 'targets'> {
  const prng = new Prng(spec.seed);
  const runs: Run[] = [];
  let walk = 0;
  for (let repetition = 1; repetition <= spec.repetitions; repetition++) {
    const order = repetition % 2 === 1 ? ['a', 'b'] : ['b', 'a'];
    for (const target of order) {
      walk += (spec.drift ?? 0) * prng.normal() + (spec.trend ?? 0);
      const hit = prng.float() < (spec.outliers ?? 0) ? 1.4 : 1;
      const machine = Math.exp(walk) * hit * (target === 'b' ? spec.factor : 1);
      // Half of the variance is the whole run's, half is each kind of work's own.
      const part = spec.noise / Math.SQRT2;
      const shared = part * prng.normal();
      const own = (): number => machine * Math.exp(shared + part * prng.normal());
      const speeds = { prefill: own(), decode: own() };
      runs.push(fixtureRun({ target, repetition, order: runs.length, prng, speeds, spec }));
    }
  }
  return { runs, setup: FIXTURE_SETUP, targets: [fixtureTarget('a'), fixtureTarget('b')] };
}

interface RunOf {
  readonly target: string;
  readonly repetition: number;
  readonly order: number;
  readonly prng: Prng;
  readonly speeds: Speeds;
  readonly spec: NoiseSpec;
}

/** Requests one after the other, as one client sends them. */
function fixtureRun({ target, repetition, order, prng, speeds, spec }: RunOf): Run {
  const records: RequestRecord[] = [];
  let now = 0;
  for (let index = 0; index < (spec.requests ?? 20); index++) {
    const ttft = TTFT_MS * speeds.prefill * Math.exp(0.1 * prng.normal());
    const gapsMs = Array.from(
      { length: TOKENS - 1 },
      () => GAP_MS * speeds.decode * Math.exp(0.05 * prng.normal()),
    );
    const endMs = gapsMs.reduce((sum, gap) => sum + gap, now + ttft);
    records.push({ ...FIXTURE_RECORD, index, ...timesOf(now, ttft, endMs), ...tokensOf(gapsMs) });
    now = endMs;
  }
  const cpuMs = now * Math.exp(spec.noise * prng.normal());
  const memoryPeakBytes = 1e9 * Math.exp(0.01 * prng.normal());
  return {
    ...FIXTURE_RUN,
    target,
    repetition,
    order,
    wallMs: now,
    records,
    resources: { ...FIXTURE_RESOURCES, cpuMs, memoryPeakBytes },
  };
}

const timesOf = (now: number, ttft: number, endMs: number) => ({
  intendedMs: now,
  sentMs: now,
  headersMs: now + 1,
  firstTokenMs: now + ttft,
  endMs,
});

const tokensOf = (gapsMs: number[]) => ({
  outputTokens: gapsMs.length + 1,
  chunks: gapsMs.length + 1,
  gapsMs,
  gapMaxMs: Math.max(...gapsMs),
});

/** A good request of which a test changes what it is about. */
export const FIXTURE_RECORD: RequestRecord = {
  index: 0,
  kind: 'chat',
  conversation: null,
  turn: null,
  intendedMs: 0,
  sentMs: 0,
  headersMs: 1,
  firstTokenMs: 100,
  endMs: 300,
  promptTokens: 50,
  cachedTokens: 10,
  outputTokens: 11,
  outputTokensFrom: 'usage',
  chunks: 11,
  gapsMs: Array.from({ length: 10 }, () => 20),
  gapMaxMs: 20,
  outcome: 'ok',
  finish: 'length',
  error: null,
  retryAfterMs: null,
};

const FIXTURE_RESOURCES = {
  memoryMethod: 'pss' as const,
  memoryPeakBytes: 1e9,
  memoryMeanBytes: 1e9,
  cpuMs: 0,
  processes: 1,
  samples: [],
};

const STILL = { p50: 0, p99: 0, max: 0 };

export const FIXTURE_RUN: Run = {
  target: 'a',
  repetition: 1,
  order: 0,
  point: null,
  startedAt: '2026-01-01T00:00:00Z',
  wallMs: 1000,
  warmup: [],
  records: [],
  timeline: [],
  resources: null,
  client: {
    cpuMs: 1,
    wallMs: 1000,
    loopMs: STILL,
    parseMs: STILL,
    lateMs: STILL,
    bottleneck: false,
    reasons: [],
  },
  energy: null,
  requestsSha256: 'f'.repeat(64),
  valid: true,
  notes: [],
};

export const fixtureTarget = (name: string): Report['targets'][number] => ({
  name,
  url: `http://127.0.0.1:1/${name}`,
  origin: 'external',
  command: null,
  model: 'sim',
  server: null,
  tokenizer: 'none',
  coldStarts: [],
  quirks: [],
});

export const FIXTURE_SETUP: Report['setup'] = {
  machine: { os: 'linux', arch: 'x64', cpu: 'a cpu', cores: 2, memoryBytes: 8e9, gpu: null },
  versions: { plenum: '0.1.0', node: '24.0.0' },
  seed: 1,
  scenario: { name: 'chat', description: 'chat, 1 turn', settings: { turns: 1 } },
  load: { mode: 'closed', clients: 1 },
  slo: null,
  repetitions: 10,
  durationMs: null,
  requests: 20,
  warmupRequests: 0,
  command: ['plenum', 'bench'],
};
