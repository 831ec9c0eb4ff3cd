/**
 * What a configuration says of memory: how much models may have, what is kept for the system, what
 * each class is guaranteed, and how long each model stays.
 */
import { formatBytes } from '../base/units.ts';
import { MODEL_CLASSES, type ModelClass } from '../wire/pool.ts';
import type { Keeping, PoolConfig } from './config.ts';
import { durationMs, sizeBytes } from './quantities.ts';
import type { Notes } from './safety.ts';
import type { ConfigFile, ModelFile } from './schema.ts';
import type { Path } from './yaml-source.ts';

export function poolOf({ pool }: ConfigFile, notes: Notes): PoolConfig {
  notes.note(['pool', 'memory'], pool.memory);
  notes.note(['pool', 'reserve'], pool.reserve);
  const floors = Object.fromEntries(
    MODEL_CLASSES.map((c) => [c, sizeBytes(pool.floors[c] ?? 0)]),
  ) as Record<ModelClass, number>;
  for (const c of MODEL_CLASSES) notes.note(['pool', 'floors', c], pool.floors[c] ?? 0);
  const memoryBytes = pool.memory === 'auto' ? null : sizeBytes(pool.memory);
  const reserveBytes = pool.reserve === 'auto' ? null : sizeBytes(pool.reserve);
  if (memoryBytes === 0) notes.complain(['pool', 'memory'], 'is 0; no model fits into nothing');
  const sum = MODEL_CLASSES.reduce((total, c) => total + floors[c], 0);
  if (memoryBytes !== null && memoryBytes > 0 && sum > memoryBytes) {
    const parts = MODEL_CLASSES.filter((c) => floors[c] > 0).map(
      (c) => `${c} ${formatBytes(floors[c])}`,
    );
    notes.complain(
      ['pool', 'floors'],
      `they need ${formatBytes(sum)} (${parts.join(' + ')}), which is ` +
        `${formatBytes(sum - memoryBytes)} more than pool.memory, ${formatBytes(memoryBytes)}`,
    );
  }
  return { memoryBytes, reserveBytes, floors };
}

interface Settings {
  readonly pin: boolean;
  readonly preload: boolean | 'auto';
  /** A duration, or never. */
  readonly ttl: string;
  readonly priority: number;
}

/** How long a model stays, from its own settings, `defaults` or what is built in. */
export function keepingOf(
  file: ConfigFile,
  { model, path }: { readonly model: ModelFile; readonly path: Path },
  notes: Notes,
): Keeping {
  const { defaults } = file;
  const pick = <K extends 'pin' | 'preload' | 'ttl' | 'priority'>(
    key: K,
    builtIn: Settings[K],
  ): Settings[K] => {
    const value = (model[key] ?? defaults[key] ?? builtIn) as Settings[K];
    const from = model[key] === undefined ? ['defaults', key] : [...path, key];
    notes.note([...path, key], value, from);
    return value;
  };
  const pin = pick('pin', false);
  const preload = pick('preload', 'auto');
  const ttl = pick('ttl', 'never');
  const priority = pick('priority', 0);
  if (pin && model.ttl !== undefined && model.ttl !== 'never') {
    notes.complain([...path, 'ttl'], 'has no effect on a pinned model; leave out pin or ttl');
  }
  return {
    pin,
    preload: preload === 'auto' ? null : preload,
    ttlMs: ttl === 'never' ? null : durationMs(ttl),
    priority,
  };
}
