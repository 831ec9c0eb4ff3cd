/** What the keeper of the pool is given and what it says; no behaviour. */
import type { Clock } from '../base/clock.ts';
import type { HostSpec } from '../wire/host.ts';
import type { ByteItem, Misprediction, ModelClass } from '../wire/pool.ts';
import type { TurnKeeper } from './arbiter-driver.ts';
import type { FootprintOf } from './footprint.ts';
import type { Floors } from './ledger.ts';
import type { PressureSource } from './pressure.ts';
import type { SupervisorChange } from './supervisor.ts';

export interface KeptModel {
  readonly id: string;
  readonly class: ModelClass;
  readonly spec: HostSpec;
  readonly items: readonly ByteItem[];
  readonly pinned: boolean;
  /** `must`: the node does not start without it. `may`: loaded at the start if there is room. */
  readonly preload: 'must' | 'may' | 'no';
  readonly priority: number;
  readonly ttlMs: number | null;
}

export interface KeeperOptions {
  readonly models: readonly KeptModel[];
  readonly availableBytes: number;
  readonly availableSource: string;
  readonly floors: Floors;
  readonly clock: Clock;
  /** null where a single model has the machine to itself. */
  readonly turns: TurnKeeper | null;
  readonly footprintOf: FootprintOf;
  readonly pressure: PressureSource;
  /** What would make a model fit into so many bytes, in words. */
  readonly smaller: (model: string, roomBytes: number) => readonly string[];
  readonly onChange: (model: string, change: SupervisorChange) => void;
  readonly onEvent: (event: KeeperEvent) => void;
}

/** What an operator may want to read in the log. */
export type KeeperEvent =
  | { readonly kind: 'loading'; readonly model: string; readonly bytes: number }
  /** Why a model that would have been loaded at the start waits for its first request. */
  | { readonly kind: 'on_demand'; readonly model: string; readonly reason: string }
  | {
      readonly kind: 'unloaded';
      readonly model: string;
      /** What its host had before; null = it was not measured. */
      readonly freedBytes: number | null;
      /** From the order to leave until the system had the bytes back. */
      readonly ms: number;
    }
  /** The host was told to go and the system still counts bytes for it. */
  | {
      readonly kind: 'lingering';
      readonly model: string;
      readonly bytes: number;
      readonly ms: number;
    }
  /** The host has more than 5 % beyond what was predicted for what it was used for. */
  | {
      readonly kind: 'mispredicted';
      readonly model: string;
      readonly direction: Misprediction;
      readonly predictedBytes: number;
      /** Of the prediction, what must be in use by now. */
      readonly inUseBytes: number;
      readonly measuredBytes: number;
      /** With shared pages counted whole; null = not known. */
      readonly wholeBytes: number | null;
    }
  | { readonly kind: 'paused'; readonly reason: string }
  | { readonly kind: 'resumed' };
