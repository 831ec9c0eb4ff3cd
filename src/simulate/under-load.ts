/**
 * The answer to "how does it do under my traffic": one run at the traffic asked for, the highest
 * rate that meets a target, and how latency grows with load. Deterministic for a seed.
 */
import { highestRate, type RateTried } from './highest-rate.ts';
import { capacityOf, type MeanRequest } from './served.ts';
import { type Served, simulate } from './simulation.ts';
import { checkTarget, type LoadResult, loadResult, type Target } from './statistics.ts';
import type { Trace } from './trace.ts';
import { DrawnRequests, ListedRequests, type Process, type RequestSource } from './workload.ts';

export interface Traffic {
  /** Means of drawn requests, or of the trace. */
  readonly mean: MeanRequest;
  /** Log-normal around the means; 0 for fixed lengths. */
  readonly spread: number;
  readonly trace: Trace | null;
  /** Requests per second; null for the times of the trace, or for a closed loop of users. */
  readonly ratePerSecond: number | null;
  /** Of a closed loop. */
  readonly users: number;
  readonly seed: number;
}

export interface LoadAsk {
  readonly served: Served;
  readonly traffic: Traffic;
  readonly target: Target | null;
}

export interface LoadAnswer {
  readonly process: Process['kind'];
  readonly result: LoadResult;
  /** About the most that can be served, in requests per second. */
  readonly capacityPerSecond: number;
  /** Null without a target. */
  readonly highest: HighestOfSamples | null;
}

/** The highest rate that meets the target, of several samples of the same traffic. */
export interface HighestOfSamples {
  /** The median; null when the target is missed at any rate. */
  readonly ratePerSecond: number | null;
  /** The lowest and the highest of the samples. */
  readonly lowPerSecond: number | null;
  readonly highPerSecond: number | null;
  /** Of the median sample, at its rate. */
  readonly result: LoadResult | null;
}

/**
 * A few hundred requests are a small sample: rates of single ones differ by a tenth and more, so
 * that the answer is the median of three.
 */
const SAMPLES = 3;
/** Seeds that a user gives one after the other do not share samples. */
const SEEDS_APART = 1_000_003;

/** So many output tokens are simulated in a run, within these bounds on requests. */
const OUTPUT_TOKENS_PER_RUN = 40_000;
const REQUESTS = { least: 120, most: 400 } as const;
/** Requests per slot at least, so that a run is longer than its beginning and its end. */
const REQUESTS_PER_SLOT = 12;
const WARM_UP_SHARE = 0.1;

/** Throws `usage` for a target that is impossible. */
export function underLoad(ask: LoadAsk): LoadAnswer {
  const { target } = ask;
  if (target !== null) checkTarget(target);
  const process = processOf(ask.traffic);
  return {
    process: process.kind,
    result: runOf(ask, process),
    capacityPerSecond: capacityOf(ask.served, ask.traffic.mean),
    highest: target === null ? null : highestOfSamples(ask, target),
  };
}

function highestOfSamples(ask: LoadAsk, target: Target): HighestOfSamples {
  const capacity = capacityOf(ask.served, ask.traffic.mean);
  const found: RateTried[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    const traffic = { ...ask.traffic, seed: ask.traffic.seed + sample * SEEDS_APART };
    const at = (rate: number): LoadResult => atRate({ ...ask, traffic }, rate);
    const near = found[0]?.ratePerSecond ?? null;
    const { best } = highestRate({ at, target, capacity, near });
    if (best !== null) found.push(best);
    // A request that misses the target alone does so in every sample.
    else if (found.length === 0) break;
  }
  found.sort((a, b) => a.ratePerSecond - b.ratePerSecond);
  const middle = found[Math.floor(found.length / 2)];
  return {
    ratePerSecond: middle?.ratePerSecond ?? null,
    lowPerSecond: found[0]?.ratePerSecond ?? null,
    highPerSecond: found.at(-1)?.ratePerSecond ?? null,
    result: middle?.result ?? null,
  };
}

/** What the traffic gives when it comes at `ratePerSecond` instead. */
export function atRate(ask: LoadAsk, ratePerSecond: number): LoadResult {
  return runOf(ask, processOf({ ...ask.traffic, ratePerSecond }));
}

/** Runs at these shares of capacity, for a curve of latency against load. */
export function loadCurve(ask: LoadAsk, shares: readonly number[]): readonly RateTried[] {
  const capacity = capacityOf(ask.served, ask.traffic.mean);
  return shares.map((share) => {
    const ratePerSecond = share * capacity;
    return { ratePerSecond, result: atRate(ask, ratePerSecond) };
  });
}

function processOf({ trace, ratePerSecond, users }: Traffic): Process {
  const atMs = trace?.atMs ?? null;
  if (atMs !== null) {
    const meanMs = (atMs.at(-1) ?? 0) / Math.max(1, atMs.length - 1);
    // The trace's own rhythm, faster or slower.
    const factor = ratePerSecond === null || meanMs === 0 ? 1 : 1000 / ratePerSecond / meanMs;
    return { kind: 'times', atMs: atMs.map((at) => at * factor) };
  }
  if (ratePerSecond !== null) return { kind: 'poisson', ratePerSecond };
  return { kind: 'closed', users };
}

function runOf({ served, traffic, target }: LoadAsk, process: Process): LoadResult {
  const count = countOf(served, traffic, process);
  const warmUp = process.kind === 'times' ? 0 : Math.floor(count * WARM_UP_SHARE);
  const requests = sourceOf(served, traffic);
  const run = simulate({ served, process, requests, count, warmUp, seed: traffic.seed });
  return loadResult(run, target);
}

function countOf(served: Served, { trace, mean }: Traffic, process: Process): number {
  if (process.kind === 'times') return process.atMs.length;
  const least = Math.max(REQUESTS.least, REQUESTS_PER_SLOT * served.limits.parallel);
  const wanted = Math.round(OUTPUT_TOKENS_PER_RUN / mean.outputTokens);
  const drawn = Math.max(least, Math.min(REQUESTS.most, wanted));
  return trace === null ? drawn : Math.max(least, Math.min(trace.shapes.length, REQUESTS.most));
}

function sourceOf({ limits }: Served, { trace, mean, spread, seed }: Traffic): RequestSource {
  if (trace !== null) return new ListedRequests(trace.shapes);
  const { promptTokens, outputTokens, cachedTokens } = mean;
  const { contextTokens } = limits;
  const lengths = { promptTokens, outputTokens, spread, sharedTokens: cachedTokens };
  return new DrawnRequests({ ...lengths, contextTokens, seed });
}
