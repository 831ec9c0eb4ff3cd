/**
 * Predicted bytes of a host held against what the system counts for it. Pure.
 *
 * Shared pages make the count a band: split among those who map them (proportional set size), or
 * whole (resident set size). And a host that has not been used as much as it may has not touched
 * all of its memory. So a prediction is called wrong only where no reading of the figures saves it:
 *
 *        what is in use for sure          predicted
 *   ──────────┤−5 %                           +5 %├──────────
 *    below: even the whole count       above: even the split count
 */
import type { HostSpec } from '../wire/host.ts';
import type { ByteItem, Misprediction } from '../wire/pool.ts';
import type { LoadReport } from '../wire/report.ts';
import type { Counted } from './footprint.ts';

/** Farther off than this is worth a warning. */
const OFF_SHARE = 0.05;
/** From this part of its declaration on a host counts as used to the full. */
const FULL_SHARE = 0.9;

/** Grows with the cells in use, up to all of them. */
const CACHES: ReadonlySet<string> = new Set(['KV cache', 'recurrent state']);
/** Touched as far as the largest batch reaches. */
const BUFFERS: ReadonlySet<string> = new Set(['compute buffers', 'output rows']);

export interface Exercised {
  readonly items: readonly ByteItem[];
  /** Of what the host was declared for, the largest part that it has been seen to use: 0 … 1. */
  readonly share: number;
}

const sumOf = (items: readonly ByteItem[]): number =>
  items.reduce((sum, { bytes }) => sum + bytes, 0);

/** Of the predicted bytes, those that a host must have touched to get as far as it is. */
export function bytesInUse({ items, share }: Exercised): number {
  const isFull = share >= FULL_SHARE;
  return items.reduce((sum, { name, bytes }) => {
    if (isFull) return sum + bytes;
    if (CACHES.has(name)) return sum + share * bytes;
    return BUFFERS.has(name) ? sum : sum + bytes;
  }, 0);
}

/** null = the figures allow that the prediction is right. */
export function misprediction(
  { bytes, wholeBytes }: Counted,
  exercised: Exercised,
): Misprediction | null {
  if (bytes > sumOf(exercised.items) * (1 + OFF_SHARE)) return 'above';
  if (wholeBytes === null) return null;
  return wholeBytes < bytesInUse(exercised) * (1 - OFF_SHARE) ? 'below' : null;
}

/** Follows how much of its declaration one host has used, by its reports. */
export class Exercise {
  readonly #batchTokens: number;
  #share = 0;
  #last: { readonly steps: number; readonly tokens: number } | null = null;

  constructor({ contextTokens, encode }: Pick<HostSpec, 'contextTokens' | 'encode'>) {
    this.#batchTokens = Math.max(contextTokens, encode.batchTokensMax);
  }

  get share(): number {
    return this.#share;
  }

  sample({ cells, steps, tokens }: LoadReport): void {
    const now = { steps: steps.count, tokens: tokens.promptComputed };
    const last = this.#last ?? { steps: 0, tokens: 0 };
    this.#last = now;
    if (cells.total > 0) this.#reached((cells.total - cells.free) / cells.total);
    // An encoder keeps nothing: its largest batch was no smaller than the mean of any while.
    else if (now.steps > last.steps) {
      this.#reached((now.tokens - last.tokens) / (now.steps - last.steps) / this.#batchTokens);
    }
  }

  #reached(share: number): void {
    this.#share = Math.max(this.#share, Math.min(1, share));
  }
}
