/** One request as the load wants it sent: what, where, and what an answer must look like. */
import type { RequestKind } from '../result.ts';

export interface Call {
  readonly index: number;
  readonly kind: RequestKind;
  readonly conversation: number | null;
  readonly turn: number | null;
  /** Below the target's base address: `/v1/chat/completions`. */
  readonly path: string;
  /** JSON text, all of it. */
  readonly body: string;
  /** Most tokens of the answer; 0 for what gives none. */
  readonly outputTokensMax: number;
  /** Vectors or ranks that the answer must hold; 0 for what streams. */
  readonly items: number;
}

export const streams = ({ kind }: Pick<Call, 'kind'>): boolean =>
  kind === 'chat' || kind === 'completion';
