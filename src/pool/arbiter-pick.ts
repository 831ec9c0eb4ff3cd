/**
 * Who computes next, and for how long: one decision of the arbiter as a function of what is known.
 *
 *   1. floors    a class whose claim has reached a turn; the most owed first. Its turn is that
 * long,
 *                whoever waits.
 *   2. targets   x = the least virtual time. If x's shortest step would make somebody late, the
 *                earliest deadline of all goes instead.
 *   3. weights   otherwise x.
 *
 * The length of a turn: until the next class is as entitled, w·(v_next − v), at least the class's
 * usual turn, cut by the earliest deadline of those left waiting, and never too short for one step.
 *
 * Nobody starves: deadlines do not move while their owner waits, those of others do with each of
 * their steps, so that every waiting host comes to have the earliest. It then goes at the next turn
 * that floors leave; they leave 1 − Σ floors of the time.
 */
import type { ModelClass } from '../wire/pool.ts';
import type { TurnNeed } from '../wire/turn.ts';
import type { ArbiterPolicy } from './arbiter-policy.ts';

export interface Candidate {
  readonly host: string;
  readonly class: ModelClass;
  readonly need: TurnNeed;
  /** When its step should begin at the latest. */
  readonly deadline: number;
  /** When it was last let go: hosts of a class take turns. */
  readonly servedAt: number;
}

export interface Standing {
  readonly virtual: (c: ModelClass) => number;
  /** Turns that the class's floor owes it. */
  readonly owed: (c: ModelClass, leastMs: number) => number;
}

export interface Choice {
  readonly host: string;
  readonly ms: number;
  readonly because: 'floor' | 'target' | 'weight';
}

/** `waiting` is not empty. */
export function choose(
  policy: ArbiterPolicy,
  standing: Standing,
  moment: { readonly now: number; readonly waiting: readonly Candidate[] },
): Choice {
  const { now } = moment;
  const waiting = [...moment.waiting].sort(
    (a, b) =>
      standing.virtual(a.class) - standing.virtual(b.class) ||
      a.servedAt - b.servedAt ||
      a.deadline - b.deadline,
  );
  const [least] = waiting;
  if (least === undefined) throw new RangeError('nobody waits');
  const owed = mostOwed(waiting, standing);
  if (owed !== null) {
    return {
      host: owed.host,
      ms: Math.max(policy.floorTurnMs, owed.need.leastMs),
      because: 'floor',
    };
  }
  const latest = now + least.need.leastMs;
  const late = waiting.some((other) => other !== least && other.deadline < latest);
  const chosen = late ? earliest(waiting) : least;
  return {
    host: chosen.host,
    ms: turnMs(chosen, { policy, standing, now, waiting }),
    because: chosen === least ? 'weight' : 'target',
  };
}

function mostOwed(waiting: readonly Candidate[], standing: Standing): Candidate | null {
  let best: Candidate | null = null;
  let most = 1;
  const seen = new Set<ModelClass>();
  for (const candidate of waiting) {
    if (seen.has(candidate.class)) continue;
    seen.add(candidate.class);
    const owed = standing.owed(candidate.class, candidate.need.leastMs);
    if (owed < most || (best !== null && owed === most)) continue;
    best = candidate;
    most = owed;
  }
  return best;
}

function earliest(waiting: readonly Candidate[]): Candidate {
  return waiting.reduce((first, other) => (other.deadline < first.deadline ? other : first));
}

function turnMs(
  chosen: Candidate,
  terms: {
    policy: ArbiterPolicy;
    standing: Standing;
    now: number;
    waiting: readonly Candidate[];
  },
): number {
  const { policy, standing, now } = terms;
  const own = policy.classes[chosen.class];
  let aheadMs = Infinity;
  let slackMs = Infinity;
  for (const other of terms.waiting) {
    if (other === chosen) continue;
    slackMs = Math.min(slackMs, other.deadline - now);
    if (other.class === chosen.class) continue;
    const ahead = standing.virtual(other.class) - standing.virtual(chosen.class);
    aheadMs = Math.min(aheadMs, own.weight * ahead);
  }
  const fairMs = aheadMs === Infinity ? own.turnMs : Math.max(aheadMs, own.turnMs);
  return Math.max(chosen.need.leastMs, Math.min(fairMs, slackMs, policy.turnMsMax));
}
