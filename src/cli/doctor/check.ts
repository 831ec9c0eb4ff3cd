/** What a check of `plenum doctor` says. */

export type CheckStatus = 'ok' | 'warn' | 'fail';

export interface Check {
  /** `Memory` */
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found, in one line. */
  readonly found: string;
  /** What to do about it, or what it means; one line each. */
  readonly advice: readonly string[];
  /** The same for a script: bytes, counts, names. */
  readonly facts: Readonly<Record<string, Fact>>;
}

export type Fact = string | number | boolean | null | readonly string[];

export function check(
  name: string,
  status: CheckStatus,
  said: {
    readonly found: string;
    readonly advice?: readonly string[];
    readonly facts?: Check['facts'];
  },
): Check {
  const { found, advice = [], facts = {} } = said;
  return { name, status, found, advice, facts };
}

/** A check that itself broke: it never takes the others with it. */
export function broken(name: string, thrown: unknown): Check {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return check(name, 'warn', { found: `could not be looked at: ${reason.split('\n')[0]}` });
}
