/** A 32-bit mixing function (the finaliser of MurmurHash3, public domain, A. Appleby). */

/** Depends on both arguments and on their order. */
export function mix(state: number, value: number): number {
  let h = (Math.imul(state ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(value, 0xc2b2ae35)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** A hash as a fraction in [0, 1). */
export function fraction(hash: number): number {
  return (hash >>> 0) / 4294967296;
}
