/**
 * The layers of a configuration laid over each other, before validation: file < variables < flags.
 * Remembers for each value where it came from. It does not know what is valid.
 */
import type { Complaint } from './complaints.ts';
import { type Origin, originText } from './config.ts';
import { OTHER_ENV, readText, SETTINGS, type Setting, splitList } from './settings.ts';
import type { Path, Position, YamlSource } from './yaml-source.ts';

/** What the command line says of the configuration. */
export interface ConfigFlags {
  /** `--config`; null = not given. */
  readonly file: string | null;
  /** Positional model references; they choose and replace the file's list. */
  readonly models: readonly string[];
  /** Name of the variable that holds the one API key; null = not given. */
  readonly apiKeyEnv: string | null;
  readonly values: readonly {
    readonly setting: Setting;
    readonly flag: string;
    readonly text: string;
  }[];
}

export const NO_FLAGS: ConfigFlags = { file: null, models: [], apiKeyEnv: null, values: [] };

export type Environment = Readonly<Record<string, string | undefined>>;

type Mapping = Record<string, unknown>;

const ARGUMENT: Origin = { kind: 'flag', name: 'command line' };

const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value at `path` in plain data; undefined where there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  let value: unknown = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) {
      return undefined;
    }
    value = (value as Mapping)[part];
  }
  return value;
}

export class Layers {
  /** The merged value, to be validated. */
  readonly merged: unknown;
  readonly #file: { readonly name: string; readonly source: YamlSource } | null;
  readonly #overlay = new Map<string, Origin>();
  /** For each entry of `models` its index in the file; null = it is not from the file. */
  #fileIndexes: readonly (number | null)[] | null = null;

  constructor(
    file: { readonly name: string; readonly source: YamlSource } | null,
    flags: ConfigFlags,
    env: Environment,
  ) {
    this.#file = file;
    this.merged = structuredClone(file?.source.value ?? {});
    if (!isMapping(this.merged)) return;
    this.#layModels(this.merged, flags, env);
    this.#layApiKeys(this.merged, flags, env);
    for (const setting of SETTINGS) {
      const text = env[setting.env];
      // An empty variable is an unset one, as compose files and shells have it.
      if (text) this.#lay(setting, text, { kind: 'env', name: setting.env });
    }
    for (const { setting, flag, text } of flags.values) {
      this.#lay(setting, text, { kind: 'flag', name: flag });
    }
  }

  /** Where the value at `path` of `merged` came from. */
  origin(path: Path): Origin {
    for (let length = path.length; length > 0; length--) {
      const laid = this.#overlay.get(JSON.stringify(path.slice(0, length)));
      if (laid !== undefined) return laid;
    }
    const inFile = this.#inFile(path);
    if (this.#file === null || valueAt(this.#file.source.value, inFile) === undefined) {
      return { kind: 'default' };
    }
    return this.#fileOrigin(this.#file.source.valueAt(inFile));
  }

  /** A complaint about the value at `path`, with the place to look at. */
  complain(path: Path, text: (pathIsKnown: boolean) => string): Complaint {
    const origin = this.origin(path);
    if (origin.kind === 'env' || origin.kind === 'flag') {
      return { where: originText(origin), text: text(true) };
    }
    const at = this.#file?.source.valueAt(this.#inFile(path)) ?? null;
    return { where: this.#place(at), text: text(false), at };
  }

  /** A complaint about the key at the end of `path`. */
  complainOfKey(path: Path, text: string): Complaint {
    const at = this.#file?.source.keyAt(this.#inFile(path)) ?? null;
    return { where: this.#place(at), text, at };
  }

  #place(at: Position | null): string | null {
    return at === null ? null : originText(this.#fileOrigin(at));
  }

  #fileOrigin(at: Position | null): Origin {
    return { kind: 'file', file: this.#file?.name ?? '', ...(at ?? { line: 1, column: 1 }) };
  }

  #inFile(path: Path): Path {
    const [first, index, ...rest] = path;
    if (this.#fileIndexes === null || first !== 'models' || typeof index !== 'number') return path;
    return ['models', this.#fileIndexes[index] ?? -1, ...rest];
  }

  #layModels(merged: Mapping, flags: ConfigFlags, env: Environment): void {
    const fromEnv = env.PLENUM_MODELS ? splitList(env.PLENUM_MODELS) : [];
    const wanted = flags.models.length > 0 ? flags.models : fromEnv;
    if (wanted.length === 0) {
      // The default is laid down here, so that model settings of other layers reach it.
      merged.models ??= [{ model: 'starter' }];
      return;
    }
    const origin: Origin =
      flags.models.length > 0 ? ARGUMENT : { kind: 'env', name: 'PLENUM_MODELS' };
    const listed: unknown[] = Array.isArray(merged.models) ? merged.models : [];
    const indexes = wanted.map((name) => {
      const index = listed.findIndex(
        (entry) => isMapping(entry) && (entry.id === name || entry.model === name),
      );
      return index < 0 ? null : index;
    });
    merged.models = wanted.map((name, i) => {
      const index = indexes[i] ?? null;
      return index === null ? { model: name } : listed[index];
    });
    this.#fileIndexes = indexes;
    indexes.forEach((index, i) => {
      if (index === null) this.#overlay.set(JSON.stringify(['models', i, 'model']), origin);
    });
  }

  #layApiKeys(merged: Mapping, flags: ConfigFlags, env: Environment): void {
    if (flags.apiKeyEnv !== null) {
      const keys = [{ name: 'command-line', key_env: flags.apiKeyEnv, admin: true }];
      this.#put(merged, ['server', 'api_keys'], keys, { kind: 'flag', name: '--api-key-env' });
      return;
    }
    const one = env.PLENUM_API_KEY;
    const several = env.PLENUM_API_KEYS;
    if (!one && !several) return;
    const keys = [
      // Who sets the one key of a server runs it.
      ...(one ? [{ name: 'env', key: one, admin: true }] : []),
      ...(several ? splitList(several).map((key, i) => ({ name: `env-${i + 1}`, key })) : []),
    ];
    const name = several ? 'PLENUM_API_KEYS' : 'PLENUM_API_KEY';
    this.#put(merged, ['server', 'api_keys'], keys, { kind: 'env', name });
  }

  #lay(setting: Setting, text: string, origin: Origin): void {
    const value = readText(setting.kind, text);
    if (!isMapping(this.merged)) return;
    if (setting.scope === 'top') {
      this.#put(this.merged, setting.path, value, origin);
      return;
    }
    const models = this.merged.models;
    if (!Array.isArray(models)) return;
    models.forEach((_, index) => {
      this.#put(this.merged, ['models', index, ...setting.path], value, origin);
    });
  }

  /** Sets `value` at `path`, making mappings on the way; where the file has no mapping, nothing:
   * the schema complains about what is there instead. */
  #put(root: unknown, path: Path, value: unknown, origin: Origin): void {
    let parent: unknown = root;
    for (const part of path.slice(0, -1)) {
      if (typeof parent !== 'object' || parent === null) return;
      const mapping = parent as Mapping;
      mapping[part] ??= {};
      parent = mapping[part];
    }
    const last = path.at(-1);
    if (!isMapping(parent) || last === undefined) return;
    parent[last] = value;
    this.#overlay.set(JSON.stringify(path), origin);
  }
}

/** Names and meanings of every `PLENUM_*` variable, sorted by name. */
export function environmentVariables(): readonly (readonly [name: string, meaning: string])[] {
  const rows = SETTINGS.map(({ env, path, scope, help }): [string, string] => {
    const place = scope === 'top' ? path.join('.') : `models[].${path.join('.')}`;
    return [env, `${help} (${place})`];
  });
  return [...rows, ...Object.entries(OTHER_ENV)].sort(([a], [b]) => (a < b ? -1 : 1));
}
