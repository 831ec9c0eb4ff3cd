/**
 * Every request ends in exactly one Outcome. The reply, the log line, the metric and the freed KV
 * cells all come from this one value.
 */
import type { ErrorCode } from '../base/errors.ts';

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter';

export type Outcome =
  | { readonly kind: 'finished'; readonly reason: FinishReason }
  /** Turned away before any work: queue full, prompt too long, draining. */
  | { readonly kind: 'refused'; readonly code: ErrorCode }
  /** Waited longer than allowed, or its deadline passed. */
  | { readonly kind: 'expired'; readonly code: 'wait_expired' | 'deadline_exceeded' }
  | { readonly kind: 'cancelled'; readonly code: 'client_closed' | 'slow_reader' }
  | { readonly kind: 'failed'; readonly code: ErrorCode };

/** `finished:stop`, `refused:queue_full`: the metric label and log field of an outcome. */
export function outcomeLabel(outcome: Outcome): string {
  return `${outcome.kind}:${outcome.kind === 'finished' ? outcome.reason : outcome.code}`;
}
