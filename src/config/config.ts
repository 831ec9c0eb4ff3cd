/** The effective configuration: validated, complete, frozen. It holds no secret. */
import type { GuardPolicy } from '../wire/guard.ts';
import type { InputPrefixes, SamplingDefaults } from '../wire/model-info.ts';
import type { ModelClass } from '../wire/pool.ts';
import type { ConfigFile } from './schema.ts';

export interface Config {
  readonly server: ServerConfig;
  /** At least one; the first is the default model. */
  readonly models: readonly ModelConfig[];
  /** Directory of downloaded models, absolute; null = the user's data directory. */
  readonly home: string | null;
  readonly drainMs: number;
  readonly pool: PoolConfig;
  /** The file that was read, absolute; null = none. */
  readonly file: string | null;
}

/** The memory that models share. */
export interface PoolConfig {
  /** What models may have in all; null = what the machine gives. */
  readonly memoryBytes: number | null;
  /** Kept for the system; null = by the kind of machine. */
  readonly reserveBytes: number | null;
  /** What no other class takes. */
  readonly floors: Readonly<Record<ModelClass, number>>;
}

/** How long a model stays in memory. */
export interface Keeping {
  /** It never leaves to make room. */
  readonly pin: boolean;
  /** Loaded at the start; null = if there is room. */
  readonly preload: boolean | null;
  /** Leaves after so long without use; null = when its room is needed. */
  readonly ttlMs: number | null;
  /** Higher ones stay longer. */
  readonly priority: number;
}

export interface ServerConfig {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Empty = anybody who reaches the address may call. */
  readonly apiKeys: readonly ApiKeyConfig[];
  /** Empty = CORS is off. */
  readonly corsOrigins: readonly string[];
  /** Names that a Host header may carry besides those of loopback. */
  readonly allowedHosts: readonly string[];
  readonly forceBindWithoutKeys: boolean;
  readonly limits: LimitsConfig;
  readonly log: Readonly<ConfigFile['server']['log']>;
}

export interface ApiKeyConfig {
  readonly name: string;
  /** Of the key's UTF-8 bytes, lower-case hexadecimal. */
  readonly sha256: string;
  /** It may manage the server. */
  readonly admin: boolean;
  /** In the place of the models' own guards; absent = theirs. */
  readonly guard?: GuardPolicy | 'off';
}

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;
type CamelKeys<T> = { readonly [K in keyof T & string as Camel<K>]: T[K] };

/** The keys of `server.limits`: `body_bytes_max` is `bodyBytesMax`, and so on. */
export type LimitsConfig = CamelKeys<ConfigFile['server']['limits']>;

export interface JudgingConfig {
  readonly activation: 'auto' | 'softmax' | 'sigmoid';
  /** null = recognised by their names. */
  readonly safeLabels: readonly string[] | null;
  readonly threshold: number;
}

/** How a model answers, beside what it takes to load it. */
export interface Behaviour {
  /** null = read from the model's file. */
  readonly class: ModelClass | null;
  readonly samplingDefaults: SamplingDefaults;
  readonly inputPrefixes: InputPrefixes;
  readonly judging: JudgingConfig;
  readonly guard: GuardPolicy | null;
}

export interface ModelConfig extends Behaviour, Keeping {
  /** The model reference as it was written; a relative path in a file is made absolute. */
  readonly model: string;
  /** null = derived from the reference. */
  readonly id: string | null;
  readonly aliases: readonly string[];
  /** Tokens; null = chosen from the model and the machine. */
  readonly contextTokens: number | null;
  readonly parallel: number;
  /** null = chosen from context and parallelism. */
  readonly kvCells: number | null;
  readonly cacheType: 'f16' | 'q8_0';
  /** One cache whose cells prompts share, or one for each stream. */
  readonly kvLayout: 'auto' | 'unified' | 'split';
  readonly flashAttention: 'auto' | 'on' | 'off';
  /** null = chosen from the measured step time. */
  readonly stepTargetMs: number | null;
  readonly stepTokensMax: number;
  readonly queueMax: number;
  readonly waitMsMax: number;
  readonly prefixCache: boolean;
  /** null = chosen from the machine. */
  readonly threads: number | null;
  /** null = all where there is a GPU. */
  readonly gpuLayers: number | null;
  /** Absolute path of a Jinja file; null = the model's own template. */
  readonly chatTemplate: string | null;
}

/** Where a value came from. */
export type Origin =
  | { readonly kind: 'default' }
  | {
      readonly kind: 'file';
      /** As the user named it. */
      readonly file: string;
      readonly line: number;
      readonly column: number;
    }
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'flag'; readonly name: string };

/** `default`, `plenum.yaml:3:5`, `PLENUM_PORT`, `--port`. */
export function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'default':
      return 'default';
    case 'file':
      return `${origin.file}:${origin.line}:${origin.column}`;
    case 'env':
    case 'flag':
      return origin.name;
  }
}

/** One value of the effective configuration in the words of `plenum.yaml`. */
export interface Entry {
  /** `models[0].context` */
  readonly path: string;
  readonly value: string | number | boolean | null | readonly string[];
  readonly origin: Origin;
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
