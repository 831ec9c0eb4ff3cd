/**
 * The byte ledger: what each resident model has reserved of the one pool, and what each class is
 * guaranteed. Pure arithmetic; it loads nothing and measures nothing.
 *
 * A floor is memory of a class that no other class can take, used or not. So a model of class c
 * fits when   used(c) + need + Σ over other classes of max(used, floor)  ≤  available.
 */
import { assert } from '../base/assert.ts';
import { formatBytes } from '../base/units.ts';
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';

export type Floors = Readonly<Record<ModelClass, number>>;

export const NO_FLOORS: Floors = { chat: 0, embed: 0, rerank: 0, guard: 0 };

export interface Reservation {
  readonly model: string;
  readonly class: ModelClass;
  readonly bytes: number;
}

/** The sum that decides, term by term. */
export interface Fit {
  readonly fits: boolean;
  readonly availableBytes: number;
  readonly neededBytes: number;
  /** Bytes that models of the same class have. */
  readonly ownClassBytes: number;
  /** Bytes that other classes have or are guaranteed. */
  readonly otherClasses: readonly {
    readonly class: ModelClass;
    readonly usedBytes: number;
    readonly floorBytes: number;
  }[];
  /** How many bytes are missing; 0 when it fits. */
  readonly shortBytes: number;
}

export class ByteLedger {
  readonly availableBytes: number;
  readonly floors: Floors;
  readonly #reservations = new Map<string, Reservation>();

  /** The floors must fit into what is available: `floorsProblem` says so beforehand. */
  constructor(availableBytes: number, floors: Floors) {
    assert(floorsProblem(availableBytes, floors) === null, 'floors beyond the pool');
    this.availableBytes = availableBytes;
    this.floors = floors;
  }

  get reservedBytes(): number {
    let sum = 0;
    for (const { bytes } of this.#reservations.values()) sum += bytes;
    return sum;
  }

  usedBy(modelClass: ModelClass): number {
    let sum = 0;
    for (const r of this.#reservations.values()) if (r.class === modelClass) sum += r.bytes;
    return sum;
  }

  has(model: string): boolean {
    return this.#reservations.has(model);
  }

  /** Whether `need` would fit if `without` had left and `promised` had come. */
  fit(
    need: Reservation,
    without: ReadonlySet<string> = new Set(),
    promised: readonly Reservation[] = [],
  ): Fit {
    const used = (modelClass: ModelClass): number => {
      let sum = 0;
      for (const r of this.#reservations.values()) {
        if (r.class === modelClass && !without.has(r.model)) sum += r.bytes;
      }
      for (const r of promised) if (r.class === modelClass) sum += r.bytes;
      return sum;
    };
    const otherClasses = MODEL_CLASSES.filter((c) => c !== need.class)
      .map((c) => ({ class: c, usedBytes: used(c), floorBytes: this.floors[c] }))
      .filter(({ usedBytes, floorBytes }) => usedBytes + floorBytes > 0);
    const ownClassBytes = used(need.class);
    const kept = otherClasses.reduce((sum, c) => sum + Math.max(c.usedBytes, c.floorBytes), 0);
    const short = ownClassBytes + need.bytes + kept - this.availableBytes;
    return {
      fits: short <= 0,
      availableBytes: this.availableBytes,
      neededBytes: need.bytes,
      ownClassBytes,
      otherClasses,
      shortBytes: Math.max(0, short),
    };
  }

  /** Takes the bytes; an AssertionError when they do not fit or the model has some already. */
  reserve(need: Reservation): void {
    assert(Number.isSafeInteger(need.bytes) && need.bytes >= 0, `${need.model}: ${need.bytes} B`);
    assert(!this.#reservations.has(need.model), `${need.model} has its bytes already`);
    assert(this.fit(need).fits, `${need.model} does not fit`);
    this.#reservations.set(need.model, need);
  }

  release(model: string): void {
    assert(this.#reservations.delete(model), `${model} has no bytes to release`);
  }

  /** The sum of the parts is within the pool, and no class is in another's floor. */
  check(): void {
    let kept = 0;
    for (const c of MODEL_CLASSES) kept += Math.max(this.usedBy(c), this.floors[c]);
    assert(kept <= this.availableBytes, `ledger: ${kept} of ${this.availableBytes} bytes`);
    for (const r of this.#reservations.values()) assert(r.bytes >= 0, `ledger: ${r.model}`);
  }
}

/** What is wrong with floors; null when they fit. */
export function floorsProblem(availableBytes: number, floors: Floors): string | null {
  const odd = MODEL_CLASSES.find((c) => !(Number.isSafeInteger(floors[c]) && floors[c] >= 0));
  if (odd !== undefined) {
    const rule = 'a floor is a whole number of bytes, 0 or more';
    return `the floor of ${odd} is ${floors[odd]} bytes; ${rule}`;
  }
  const sum = MODEL_CLASSES.reduce((total, c) => total + floors[c], 0);
  if (sum <= availableBytes) return null;
  const parts = MODEL_CLASSES.filter((c) => floors[c] > 0).map(
    (c) => `${c} ${formatBytes(floors[c])}`,
  );
  return (
    `the floors need ${formatBytes(sum)} (${parts.join(' + ')}), ` +
    `${formatBytes(sum - availableBytes)} more than the pool of ${formatBytes(availableBytes)}`
  );
}

/** `8.00 GB for a + 9.00 GB of chat models = 17.0 GB is 1.00 GB more than the pool of 16.0 GB`. */
export function explainFit(fit: Fit, need: Reservation): string {
  const terms = [`${formatBytes(need.bytes)} for ${need.model}`];
  if (fit.ownClassBytes > 0)
    terms.push(`${formatBytes(fit.ownClassBytes)} of other ${need.class} models`);
  for (const { class: c, usedBytes, floorBytes } of fit.otherClasses) {
    terms.push(
      floorBytes > usedBytes
        ? `${formatBytes(floorBytes)} guaranteed to ${c}`
        : `${formatBytes(usedBytes)} of ${c} models`,
    );
  }
  const parts = terms.join(' + ');
  const pool = `the pool of ${formatBytes(fit.availableBytes)}`;
  if (fit.fits) return `${parts} fits into ${pool}`;
  const sum = terms.length === 1 ? '' : ` = ${formatBytes(fit.availableBytes + fit.shortBytes)}`;
  return `${parts}${sum} is ${formatBytes(fit.shortBytes)} more than ${pool}`;
}
