/**
 * Assertions that stay on in production. A failed assertion is a programmer's error: it stops the
 * loop that owns the broken state. Expected decisions are values, operating errors are PlenumError.
 */

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws an AssertionError with `message` when `condition` is false. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The value, or an AssertionError naming what was expected to be there. */
export function defined<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new AssertionError(`missing: ${what}`);
  return value;
}

/** Closes an exhaustive switch: a value that reaches it is a case that nobody handled. */
export function unreachable(value: never): never {
  throw new AssertionError(`unhandled case: ${JSON.stringify(value)}`);
}
