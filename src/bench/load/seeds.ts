/**
 * Seeds that follow from a seed and a name, so that each part of a load has randomness of its
 * own.
 */

/** FNV-1a over the parts: the same parts give the same seed, on any machine. */
export function seedOf(...parts: readonly (string | number)[]): number {
  let hash = 0x811c9dc5;
  for (const sign of parts.join('/')) {
    hash = Math.imul(hash ^ (sign.codePointAt(0) ?? 0), 0x01000193);
  }
  return hash >>> 0;
}
