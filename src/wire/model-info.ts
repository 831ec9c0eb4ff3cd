/** What is known of a served model, for clients and for the front door's own checks. */

export type ModelState = 'starting' | 'ready' | 'backing_off' | 'failed' | 'stopping';

export interface ModelInfo {
  readonly id: string;
  readonly aliases: readonly string[];
  /** Unix seconds at which this server began to serve it. */
  readonly created: number;
  /** What it is made of: `llama 135M Q4_1`. */
  readonly description: string;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly synthetic: boolean;
  readonly hasChatTemplate: boolean;
  readonly state: ModelState;
  /** Why it is not ready, for /ready and for errors; null when it is. */
  readonly reason: string | null;
}
