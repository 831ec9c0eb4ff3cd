/**
 * How the time of a machine is shared among classes of models: the numbers, their meaning, what
 * makes them valid. Three rules, the stronger first:
 *
 *   floor    a class that has work gets at least this fraction of the machine, whatever else holds
 *   target   a step that has waited for as long as it may goes next, and turns of others are cut so
 *            that it can
 *   weight   what is left is shared in proportion
 */
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';

export interface ClassPolicy {
  readonly weight: number;
  /** Fraction of the machine that the class has for certain while it has work; the sum is < 1. */
  readonly floor: number;
  /** Longest time for which a step should be kept waiting. */
  readonly delayMsMax: number;
  /** … and as a fraction of the step's own time; null = no such bound. */
  readonly delayFraction: number | null;
  /** Length of a turn where neither fairness nor another's target says otherwise; 0 = one step. */
  readonly turnMs: number;
  /**
   * By how much the host is nicer than this process (Unix niceness). Turns share out engine
   * threads; hosts, this process and its clients have other threads, and where there are more of
   * them than cores the system's scheduler decides whose step is interrupted.
   */
  readonly niceness: number;
}

export interface ArbiterPolicy {
  readonly classes: Readonly<Record<ModelClass, ClassPolicy>>;
  /** Hosts that compute at the same time. */
  readonly concurrency: number;
  readonly turnMsMax: number;
  /**
   * A floor is paid in turns of this length: rarely, in batches that are worth their fixed cost.
   * Beside steps of 20 ms a floor of 0.1 then disturbs one gap of 25, and none by more than chat's
   * delayMsMax.
   */
  readonly floorTurnMs: number;
  /** Credit and debt of a class beyond this much of its own time are forgotten. */
  readonly lagMsMax: number;
  /** A licence is written off after this long, or after ten times what it was good for. */
  readonly overdueMs: number;
}

/**
 * Chat's inter-token latency under a flood is step × (1 + delayFraction) + one handover. 0.2 keeps
 * a third of the 1.3 that is promised for the handover (two messages, about 0.4 ms) and for batches
 * that take longer than predicted. The weights let a flood have 2/(8 + 2) = 0.2 of the machine
 * beside chat, a little more than that target leaves of it: while one flood meets one chat, the
 * target decides. The delays of the others are what their callers do not feel beside a network: a
 * guard holds up a stream, an embedding or a ranking a request.
 *
 * Niceness 10 is a tenth of the share of a process at 0 (Linux), so that what wakes for a moment
 * (the front, clients) takes the flood's core and not the stream's. Measured on 2 cores with one
 * engine thread for each host, where no turn is measured out (bench/flood.ts, AVX-512): p95 ITL
 * beside a flood that keeps one core busy was 1.28, 1.29 and 1.30 times the undisturbed with 5,
 * 1.23 and 1.25 with 10, 1.24 and 1.28 with 19; the flood's own rate 0.80 to 0.89 of alone with
 * each. A guard is not nicer: it holds up a stream.
 */
export const DEFAULT_CLASSES: ArbiterPolicy['classes'] = {
  chat: { weight: 8, floor: 0.5, delayMsMax: 50, delayFraction: 0.2, turnMs: 0, niceness: 0 },
  guard: { weight: 4, floor: 0.1, delayMsMax: 100, delayFraction: null, turnMs: 20, niceness: 0 },
  rerank: {
    weight: 2,
    floor: 0.05,
    delayMsMax: 300,
    delayFraction: null,
    turnMs: 40,
    niceness: 10,
  },
  embed: { weight: 2, floor: 0.1, delayMsMax: 300, delayFraction: null, turnMs: 40, niceness: 10 },
};

export function defaultPolicy(concurrency: number): ArbiterPolicy {
  return {
    classes: DEFAULT_CLASSES,
    concurrency,
    turnMsMax: 200,
    floorTurnMs: 50,
    lagMsMax: 1000,
    overdueMs: 3000,
  };
}

/** What is wrong with a policy; null when nothing is. */
export function policyProblem(policy: ArbiterPolicy): string | null {
  const { concurrency } = policy;
  if (!(Number.isInteger(concurrency) && concurrency >= 1)) {
    return `the number of hosts that compute at once is ${concurrency}; it must be 1 or more`;
  }
  let floors = 0;
  for (const c of MODEL_CLASSES) {
    const { weight, floor, delayMsMax, delayFraction, niceness } = policy.classes[c];
    if (!(weight > 0 && weight < Infinity))
      return `the weight of ${c} is ${weight}; it must be > 0`;
    if (!(floor >= 0 && floor < 1)) return `the floor of ${c} is ${floor}; it must lie in [0, 1)`;
    if (!(delayMsMax > 0)) return `the delay of ${c} is ${delayMsMax} ms; it must be > 0`;
    if (delayFraction !== null && !(delayFraction > 0)) {
      return `the delay of ${c} is ${delayFraction} of a step; it must be > 0`;
    }
    if (!(Number.isInteger(niceness) && niceness >= 0 && niceness <= NICENESS_MAX)) {
      return `the niceness of ${c} is ${niceness}; it must be from 0 to ${NICENESS_MAX}`;
    }
    floors += floor;
  }
  // Beyond it rounding to whole turns would let one floor push out another.
  if (floors <= FLOORS_MAX) return null;
  const parts = MODEL_CLASSES.map((c) => `${c} ${policy.classes[c].floor}`).join(' + ');
  return `the floors ${parts} = ${floors.toFixed(2)} are more than ${FLOORS_MAX} of the machine`;
}

const FLOORS_MAX = 0.9;
export const NICENESS_MAX = 19;
