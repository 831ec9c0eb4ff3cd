/**
 * The messages by which models share the time of one machine. A host that has no licence asks for
 * one when it has work; a licence lets it compute for so many milliseconds, or, when nobody else
 * wants the machine, for as long as it likes (`ms` is Infinity: it sends nothing per step).
 */
import type { ModelClass } from './pool.ts';

/** What a host is about to compute. */
export interface TurnNeed {
  /** Predicted time of its next step. */
  readonly stepMs: number;
  /** The shortest that it can make that step: of a batch, the time of one input. */
  readonly leastMs: number;
}

/** From the front to a host. */
export type TurnOrder =
  /** Compute: a step begins while its shortest form ends within the licence; the first always. */
  | { readonly type: 'turn'; readonly order: 'go'; readonly turn: number; readonly ms: number }
  /** Give back what you hold as soon as the step in flight has ended. */
  | { readonly type: 'turn'; readonly order: 'hold' };

/** From a host to the front. */
export type TurnReport =
  | { readonly type: 'turn'; readonly say: 'woke'; readonly need: TurnNeed }
  /** The step that has just begun is the last of its licence: another one follows. */
  | { readonly type: 'turn'; readonly say: 'asks'; readonly need: TurnNeed }
  /** A licence comes back after `ms` of computing; `more` = there is work left. */
  | {
      readonly type: 'turn';
      readonly say: 'spent';
      readonly turn: number;
      readonly ms: number;
      readonly more: TurnNeed | null;
    };

/** What a class has had of the machine since the server began. */
export interface ClassTime {
  readonly class: ModelClass;
  readonly hosts: number;
  /** Hosts that want to compute and may not, now. */
  readonly waiting: number;
  /** Milliseconds computed on licences that were measured out, and on unlimited ones given back. */
  readonly grantedMs: number;
  readonly freeMs: number;
  readonly turns: number;
  /** Over all turns: from asking to being let go. */
  readonly waitMsSum: number;
  readonly waitMsMax: number;
  /** Licences that were written off because their holder did not give them back in time. */
  readonly overdue: number;
}

export interface TimeView {
  /** Hosts that may compute at the same time. */
  readonly concurrency: number;
  readonly classes: readonly ClassTime[];
  /** Messages that made no sense, and were ignored. */
  readonly strays: number;
}
