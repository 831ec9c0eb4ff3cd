/** The limits of one request, by name and unit, and what they are when nobody says otherwise. */

export interface RequestLimits {
  /** Until the connection stands. */
  readonly connectMsMax: number;
  /** From sending until the first text (or, without streaming, the whole answer) is there. */
  readonly firstMsMax: number;
  /** Without a single byte once text has begun. */
  readonly stallMsMax: number;
  /** For the whole request. */
  readonly totalMsMax: number;
  /** Body of one answer. */
  readonly bytesMax: number;
}

export const REQUEST_LIMITS: RequestLimits = {
  connectMsMax: 10_000,
  firstMsMax: 120_000,
  stallMsMax: 30_000,
  totalMsMax: 600_000,
  bytesMax: 64 << 20,
};

/** Of a refusal's body no more than this is read. */
export const REFUSAL_BYTES_MAX = 16 << 10;

/**
 * A stream may have this many times the asked tokens in pieces, and so many more, before it counts
 * as endless: a token can arrive in pieces, but not in dozens.
 */
export const PIECES_PER_TOKEN_MAX = 4;
export const PIECES_EXTRA_MAX = 256;
