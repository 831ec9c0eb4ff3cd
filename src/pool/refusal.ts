/**
 * Why a model does not come in, as an error with the arithmetic and with what would help. Pure; the
 * residency decides, this only says it.
 */
import { PlenumError } from '../base/errors.ts';
import { formatBytes } from '../base/units.ts';
import { explainFit, type Fit, type Reservation } from './ledger.ts';
import type { Blocker, Wish } from './residency.ts';

export interface RefusalContext {
  /** How the pool's size was come by. */
  readonly availableSource: string;
  /** What would make the model fit into so many bytes. */
  readonly smaller: (roomBytes: number) => readonly string[];
}

const RETRY_FULL_MS = 5000;
const PROPOSALS_MAX = 8;

const BECAUSE: Readonly<Record<Blocker['because'], string>> = {
  serving: 'serves requests',
  pinned: 'is pinned',
  priority: 'has a higher priority',
  loading: 'is being loaded',
};

/** `model_does_not_fit` where nothing that others do would help, else `pool_full`. */
export function refusalError(
  need: Reservation,
  { fit, blockers }: Extract<Wish, { kind: 'refused' }>,
  context: RefusalContext,
): PlenumError {
  const sum = `${explainFit(fit, need)} (${context.availableSource})`;
  const proposals = [
    ...blockers.map((blocker) => proposalOf(blocker)),
    ...context.smaller(roomOf(fit)),
    ...floorProposals(fit),
  ].slice(0, PROPOSALS_MAX);
  const help = proposals.length === 0 ? '' : `. It would fit with: ${proposals.join('; ')}`;
  const details = {
    neededBytes: need.bytes,
    availableBytes: fit.availableBytes,
    shortBytes: fit.shortBytes,
    blockers: blockers.map(({ model, because }) => `${model} ${BECAUSE[because]}`),
    instead: proposals,
  };
  if (blockers.length === 0) {
    return new PlenumError('model_does_not_fit', `${need.model} does not fit: ${sum}${help}`, {
      details,
    });
  }
  const message = `there is no room for ${need.model} now: ${sum}${help}`;
  return new PlenumError('pool_full', message, { details, retryAfterMs: RETRY_FULL_MS });
}

/** What is left for the model when everything that can leave has left. */
const roomOf = (fit: Fit): number => Math.max(0, fit.neededBytes - fit.shortBytes);

function proposalOf({ model, bytes, because }: Blocker): string {
  const size = `${model} (${formatBytes(bytes)})`;
  switch (because) {
    case 'serving':
      return `the end of what ${size} serves`;
    case 'loading':
      return `unloading ${size} when it is loaded`;
    case 'pinned':
      return `unpinning and unloading ${size}`;
    case 'priority':
      return `unloading ${size}, whose priority is higher`;
  }
}

function floorProposals(fit: Fit): string[] {
  return fit.otherClasses
    .filter(({ floorBytes, usedBytes }) => floorBytes > usedBytes)
    .map((c) => `a floor of ${c.class} below ${formatBytes(c.floorBytes)}`);
}

/** Whether the model would come if those who are only busy at the moment were done. */
export function isTransient({ fit, blockers }: Extract<Wish, { kind: 'refused' }>): boolean {
  const busy = blockers.filter(({ because }) => because === 'serving' || because === 'loading');
  return busy.reduce((sum, { bytes }) => sum + bytes, 0) >= fit.shortBytes && busy.length > 0;
}
