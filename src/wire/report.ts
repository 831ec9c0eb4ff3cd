/** What a host reports of itself, with every heartbeat. Counters only grow while a host lives. */

/**
 * A host that encodes counts inputs where others count requests: waiting for a batch, in one, most
 * in one, most waiting. Its cells are 0 and its steps are batches.
 */
export interface LoadReport {
  /** Requests accepted and not yet in the running set. */
  readonly waiting: number;
  readonly running: number;
  readonly runningMax: number;
  readonly queueMax: number;
  /** How long a request that arrived now would wait for its first step. */
  readonly predictedWaitMs: number;
  readonly cells: {
    readonly total: number;
    readonly free: number;
    readonly cached: number;
    readonly held: number;
  };
  readonly steps: {
    readonly count: number;
    readonly predictedMsSum: number;
    readonly measuredMsSum: number;
    /** Smoothed measured/predicted of the latest steps; 1 = the model is right. */
    readonly ratio: number;
    /** Everything in the loop that is not the engine's compute. */
    readonly overheadMsSum: number;
  };
  readonly tokens: {
    readonly promptCached: number;
    readonly promptComputed: number;
    readonly generated: number;
  };
  readonly preemptions: number;
  readonly memory: { readonly rssBytes: number };
}
