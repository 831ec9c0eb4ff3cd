/**
 * From a valid `plenum.yaml` to the effective configuration: settings of a model from `defaults`,
 * keys hashed, paths made absolute, and the checks that look at more than one value.
 */
import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Complaint } from './complaints.ts';
import { pathText } from './complaints.ts';
import type {
  ApiKeyConfig,
  Config,
  Entry,
  LimitsConfig,
  ModelConfig,
  Origin,
  ServerConfig,
} from './config.ts';
import type { Environment, Layers } from './layers.ts';
import { keepingOf, poolOf } from './pool.ts';
import { behaviourOf, checkGuards, guardOf, type Notes, noteAll } from './safety.ts';
import { type ConfigFile, MODEL_DEFAULTS, type ModelFile } from './schema.ts';
import type { Path } from './yaml-source.ts';

interface Surroundings {
  readonly layers: Layers;
  readonly env: Environment;
  readonly cwd: string;
  /** Absolute path of the configuration file. */
  readonly file: string | null;
}

interface Draft extends Surroundings {
  readonly entries: Entry[];
  readonly complaints: Complaint[];
}

export function effective(
  file: ConfigFile,
  surroundings: Surroundings,
): {
  readonly config: Config;
  readonly entries: readonly Entry[];
  readonly complaints: readonly Complaint[];
} {
  const draft: Draft = { ...surroundings, entries: [], complaints: [] };
  const server = serverOf(file.server, draft);
  const models = file.models.map((model, index) => modelOf({ file, model, index }, draft));
  checkNames(models, draft);
  checkGuards(file, notesOf(draft));
  const pool = poolOf(file, notesOf(draft));
  const home = file.home === undefined ? null : absolute(file.home, ['home'], draft);
  note(draft, ['home'], home);
  note(draft, ['drain_ms'], file.drain_ms);
  const { drain_ms: drainMs } = file;
  const config = { server, models, home, drainMs, pool, file: surroundings.file };
  return { config, entries: draft.entries, complaints: draft.complaints };
}

function notesOf(draft: Draft): Notes {
  return {
    note: (path, value, from) => note(draft, path, value, from),
    complain: (path, problem) => complain(draft, path, problem),
  };
}

function note(draft: Draft, path: Path, value: Entry['value'], from: Path = path): void {
  draft.entries.push({ path: pathText(path), value, origin: draft.layers.origin(from) });
}

function complain(draft: Draft, path: Path, problem: string): void {
  const text = `${pathText(path)}: ${problem}`;
  draft.complaints.push(draft.layers.complain(path, (known) => (known ? problem : text)));
}

/** Relative to the file that says so, otherwise to the working directory; `~/` is the home. */
function absolute(path: string, from: Path, draft: Draft): string {
  if (path === '~' || path.startsWith('~/')) {
    return resolve(draft.env.HOME ?? homedir(), path.slice(2));
  }
  const inFile = draft.layers.origin(from).kind === 'file' && draft.file !== null;
  return resolve(inFile && draft.file !== null ? dirname(draft.file) : draft.cwd, path);
}

function serverOf(server: ConfigFile['server'], draft: Draft): ServerConfig {
  note(draft, ['server', 'host'], server.host);
  note(draft, ['server', 'port'], server.port);
  const apiKeys = server.api_keys.flatMap((_, index) => apiKeyOf(server, index, draft));
  if (apiKeys.length === 0) note(draft, ['server', 'api_keys'], []);
  checkKeys(apiKeys, draft);
  note(draft, ['server', 'cors_origins'], server.cors_origins);
  note(draft, ['server', 'allowed_hosts'], server.allowed_hosts);
  note(draft, ['server', 'force_bind_without_keys'], server.force_bind_without_keys);
  for (const [key, value] of Object.entries(server.limits)) {
    note(draft, ['server', 'limits', key], value);
  }
  note(draft, ['server', 'log', 'level'], server.log.level);
  note(draft, ['server', 'log', 'format'], server.log.format);
  return {
    host: server.host,
    port: server.port,
    apiKeys,
    corsOrigins: server.cors_origins,
    allowedHosts: server.allowed_hosts,
    forceBindWithoutKeys: server.force_bind_without_keys,
    limits: camelKeys(server.limits),
    log: server.log,
  };
}

function camelKeys(limits: ConfigFile['server']['limits']): LimitsConfig {
  const entries = Object.entries(limits).map(([key, value]) => [
    key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ]);
  return Object.fromEntries(entries) as LimitsConfig;
}

function apiKeyOf(server: ConfigFile['server'], index: number, draft: Draft): ApiKeyConfig[] {
  const entry = server.api_keys[index];
  if (entry === undefined) return [];
  const path: Path = ['server', 'api_keys', index];
  const given = [entry.key, entry.key_env, entry.sha256].filter((value) => value !== undefined);
  if (given.length !== 1) {
    complain(draft, path, `has ${given.length} of key, key_env and sha256; expected exactly one`);
    return [];
  }
  const secret = entry.key_env === undefined ? entry.key : draft.env[entry.key_env];
  if (entry.sha256 === undefined && !secret) {
    complain(draft, path, `the environment variable ${entry.key_env} is not set`);
    return [];
  }
  const sha256 =
    entry.sha256 ??
    createHash('sha256')
      .update(secret ?? '')
      .digest('hex');
  note(draft, [...path, 'name'], entry.name);
  note(draft, [...path, 'sha256'], `${sha256.slice(0, 8)}…`, path);
  const { guard, name, admin } = entry;
  note(draft, [...path, 'admin'], admin);
  if (guard === undefined) return [{ name, sha256, admin }];
  if (guard === 'off') note(draft, [...path, 'guard'], guard);
  else noteAll(notesOf(draft), guard, { path: [...path, 'guard'] });
  return [{ name, sha256, admin, guard: guard === 'off' ? guard : guardOf(guard) }];
}

function checkKeys(keys: readonly ApiKeyConfig[], draft: Draft): void {
  keys.forEach((key, index) => {
    const path: Path = ['server', 'api_keys', index];
    const earlier = keys.slice(0, index);
    if (earlier.some(({ name }) => name === key.name)) {
      complain(draft, path, `the name "${key.name}" is already used by another key`);
    }
    if (earlier.some(({ sha256 }) => sha256 === key.sha256)) {
      complain(draft, path, 'the same key is already listed under another name');
    }
  });
}

interface ModelPlace {
  readonly file: ConfigFile;
  readonly model: ModelFile;
  readonly index: number;
}

function modelOf({ file, model, index }: ModelPlace, draft: Draft): ModelConfig {
  const path: Path = ['models', index];
  const { defaults } = file;
  const pick = <T extends Entry['value']>(
    key: Path,
    own: T | undefined,
    [common, builtIn]: readonly [T | undefined, T],
  ): T => {
    const value = own ?? common ?? builtIn;
    const from = own !== undefined ? [...path, ...key] : ['defaults', ...key];
    note(draft, [...path, ...key], value, from);
    return value;
  };
  const reference = referenceOf(model.model, [...path, 'model'], draft);
  note(draft, [...path, 'model'], reference);
  if (model.id !== undefined) note(draft, [...path, 'id'], model.id);
  if (model.aliases !== undefined) note(draft, [...path, 'aliases'], model.aliases);
  const d = MODEL_DEFAULTS;
  const settings = {
    contextTokens: auto(pick(['context'], model.context, [defaults.context, d.context])),
    parallel: pick(['parallel'], model.parallel, [defaults.parallel, d.parallel]),
    kvCells: auto(pick(['kv_cells'], model.kv_cells, [defaults.kv_cells, d.kv_cells])),
    cacheType: pick(['cache_type'], model.cache_type, [defaults.cache_type, d.cache_type]),
    kvLayout: pick(['kv_layout'], model.kv_layout, [defaults.kv_layout, d.kv_layout]),
    flashAttention: pick(['flash_attention'], model.flash_attention, [
      defaults.flash_attention,
      d.flash_attention,
    ]),
    stepTargetMs: auto(
      pick(['step_target_ms'], model.step_target_ms, [defaults.step_target_ms, d.step_target_ms]),
    ),
    stepTokensMax: pick(['step_tokens_max'], model.step_tokens_max, [
      defaults.step_tokens_max,
      d.step_tokens_max,
    ]),
    queueMax: pick(['queue_max'], model.queue_max, [defaults.queue_max, d.queue_max]),
    waitMsMax: pick(['wait_ms_max'], model.wait_ms_max, [defaults.wait_ms_max, d.wait_ms_max]),
    prefixCache: pick(['prefix_cache'], model.prefix_cache, [
      defaults.prefix_cache,
      d.prefix_cache,
    ]),
    threads: auto(
      pick(['engine', 'threads'], model.engine?.threads, [defaults.engine?.threads, d.threads]),
    ),
    gpuLayers: auto(
      pick(['engine', 'gpu_layers'], model.engine?.gpu_layers, [
        defaults.engine?.gpu_layers,
        d.gpu_layers,
      ]),
    ),
  };
  checkCells(settings, path, draft);
  return {
    model: reference,
    id: model.id ?? null,
    aliases: model.aliases ?? [],
    ...settings,
    chatTemplate: templateOf(file, model, { path, draft }),
    ...behaviourOf(file, { model, path }, notesOf(draft)),
    ...keepingOf(file, { model, path }, notesOf(draft)),
  };
}

const auto = (value: number | 'auto'): number | null => (value === 'auto' ? null : value);

/** References that can only be files: `./x`, `../x`, `x.gguf`, `folder/x.gguf`. */
const RELATIVE_FILE = /^\.{1,2}\/|^[^/:~]+(\/[^/:]+)?\.gguf$/i;

/** Paths in a file are relative to it, so that the file can be used from anywhere. */
function referenceOf(text: string, from: Path, draft: Draft): string {
  const origin: Origin = draft.layers.origin(from);
  return origin.kind === 'file' && RELATIVE_FILE.test(text) ? absolute(text, from, draft) : text;
}

function templateOf(
  file: ConfigFile,
  model: ModelFile,
  { path, draft }: { readonly path: Path; readonly draft: Draft },
): string | null {
  const text = model.chat_template ?? file.defaults.chat_template;
  if (text === undefined) return null;
  const from: Path =
    model.chat_template === undefined ? ['defaults', 'chat_template'] : [...path, 'chat_template'];
  const template = absolute(text, from, draft);
  note(draft, [...path, 'chat_template'], template, from);
  return template;
}

function checkCells(
  { contextTokens, kvCells }: { contextTokens: number | null; kvCells: number | null },
  path: Path,
  draft: Draft,
): void {
  if (contextTokens === null || kvCells === null || kvCells >= contextTokens) return;
  const problem =
    `${kvCells} KV cells cannot hold one sequence of the context, ${contextTokens} tokens; ` +
    'expected kv_cells >= context';
  complain(draft, [...path, 'kv_cells'], problem);
}

/** Ids and aliases share one name space: a client's `model` must mean one of them. */
function checkNames(models: readonly ModelConfig[], draft: Draft): void {
  const owners = new Map<string, string>();
  models.forEach((model, index) => {
    const names: (readonly [Path, string])[] = [
      [['models', index, model.id === null ? 'model' : 'id'], model.id ?? model.model],
      ...model.aliases.map((alias, i) => [['models', index, 'aliases', i], alias] as const),
    ];
    for (const [path, name] of names) {
      const owner = owners.get(name);
      if (owner === undefined) owners.set(name, pathText(path));
      else complain(draft, path, `"${name}" is already the name of ${owner}; give it another id`);
    }
  });
}
