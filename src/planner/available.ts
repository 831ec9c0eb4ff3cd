/**
 * How many bytes of a machine models may have. On a Mac the GPU's wired limit decides, elsewhere
 * what is available and a control group's limit, on a discrete card its own memory; a reserve for
 * the system comes off. Pure: the facts are handed in.
 */
import { PlenumError } from '../base/errors.ts';
import { type Bytes, bytes, formatBytes } from '../base/units.ts';

export type MacGeneration =
  /** Before macOS 26. */
  'older' | 'macos-26';

export type MemoryFacts =
  | {
      readonly kind: 'mac';
      readonly ramBytes: number;
      readonly generation: MacGeneration;
      /** `sysctl iogpu.wired_limit_mb`, in MiB; null or 0 when it is not set. */
      readonly wiredLimitMib?: number | null;
    }
  | {
      readonly kind: 'linux';
      readonly ramBytes: number;
      /** MemAvailable; null for a machine that is only planned for. */
      readonly availableBytes?: number | null;
      /** The tightest limit of the control group; null for none. */
      readonly cgroupBytes?: number | null;
    }
  | { readonly kind: 'discrete'; readonly vramBytes: number; readonly devices: number };

export interface Available {
  readonly availableBytes: Bytes;
  /** The arithmetic, for a person. */
  readonly source: string;
}

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/**
 * What macOS lets the GPU wire, as a share of RAM: printed by Metal on machines of each size
 * (recommendedMaxWorkingSetSize). From the size on, until the next row.
 */
const WIRED_SHARES: Readonly<
  Record<MacGeneration, readonly { readonly fromGib: number; readonly share: number }[]>
> = {
  older: [
    { fromGib: 0, share: 2 / 3 },
    { fromGib: 36, share: 3 / 4 },
  ],
  'macos-26': [
    { fromGib: 0, share: 2 / 3 },
    { fromGib: 16, share: 0.74 },
    { fromGib: 32, share: 0.78 },
    { fromGib: 64, share: 0.81 },
    { fromGib: 128, share: 0.84 },
    { fromGib: 512, share: 0.906 },
  ],
};

/** Reserve by default, for each device: no more than this, and than this share of what there is. */
const RESERVE_BYTES_MAX = 1e9;
const RESERVE_SHARE_MAX = 0.1;

/**
 * Bytes left to the system by default, of `limit` bytes. macOS leaves its own share out of the
 * wired limit; Linux needs some beyond what it calls available, a small container less of it; a
 * card's driver takes a little of its memory.
 */
function reserveOf(kind: MemoryFacts['kind'], limit: number): number {
  return kind === 'mac' ? 0 : Math.min(RESERVE_BYTES_MAX, RESERVE_SHARE_MAX * limit);
}

/** Throws `usage` when the facts or the reserve are impossible. */
export function availableMemory(facts: MemoryFacts, reserveBytes?: number): Available {
  const { limit, source } = limitOf(facts);
  const devices = facts.kind === 'discrete' ? facts.devices : 1;
  const reserve = reserveBytes ?? reserveOf(facts.kind, limit / devices);
  if (!(reserve >= 0)) {
    throw new PlenumError('usage', `A system reserve of ${reserve} bytes is impossible`);
  }
  const left = limit - reserve * devices;
  const reserved = `${formatBytes(reserve * devices)} system reserve`;
  if (!(left > 0)) {
    const sum = `${formatBytes(limit)} (${source}) − ${reserved}`;
    throw new PlenumError('usage', `Nothing is left for models: ${sum}`);
  }
  const text = reserve === 0 ? source : `${source} − ${reserved}`;
  return { availableBytes: bytes(Math.floor(left)), source: text };
}

function limitOf(facts: MemoryFacts): { limit: number; source: string } {
  switch (facts.kind) {
    case 'mac':
      return macLimit(facts);
    case 'linux':
      return linuxLimit(facts);
    case 'discrete': {
      positive(facts.vramBytes, 'VRAM');
      const each = `${(facts.vramBytes / GIB).toFixed(0)} GiB VRAM`;
      const source = facts.devices === 1 ? each : `${facts.devices} × ${each}`;
      return { limit: facts.vramBytes * facts.devices, source };
    }
  }
}

function macLimit(facts: MemoryFacts & { kind: 'mac' }): { limit: number; source: string } {
  positive(facts.ramBytes, 'RAM');
  const set = facts.wiredLimitMib ?? 0;
  if (set > 0) {
    if (set * MIB > facts.ramBytes) {
      const ram = `${Math.round(facts.ramBytes / MIB)} MiB of RAM`;
      throw new PlenumError('usage', `iogpu.wired_limit_mb is ${set}, above ${ram}`);
    }
    return { limit: set * MIB, source: `iogpu.wired_limit_mb ${set}` };
  }
  const gib = facts.ramBytes / GIB;
  const share = WIRED_SHARES[facts.generation].findLast(({ fromGib }) => gib >= fromGib)?.share;
  const percent = (100 * (share ?? 0)).toFixed(1);
  const system = facts.generation === 'older' ? 'before macOS 26' : 'macOS 26';
  const source = `${percent} % of ${gib.toFixed(0)} GiB may be wired (${system})`;
  return { limit: facts.ramBytes * (share ?? 0), source };
}

function linuxLimit(facts: MemoryFacts & { kind: 'linux' }): { limit: number; source: string } {
  positive(facts.ramBytes, 'RAM');
  const available = facts.availableBytes ?? facts.ramBytes;
  const cgroup = facts.cgroupBytes ?? Number.POSITIVE_INFINITY;
  if (cgroup < available) return { limit: cgroup, source: 'limit of the control group' };
  const isPlanned = facts.availableBytes === undefined || facts.availableBytes === null;
  return { limit: available, source: isPlanned ? 'RAM' : 'MemAvailable' };
}

function positive(value: number, what: string): void {
  if (value > 0 && Number.isFinite(value)) return;
  throw new PlenumError('usage', `${what} of ${value} bytes is impossible`);
}
