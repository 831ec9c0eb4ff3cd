/**
 * The settings that an environment variable or a flag of `serve` can give, one row each: the only
 * list of `PLENUM_*` names. A row says where its value goes; it does not say what is valid there
 * (schema.ts does).
 */
import { nearest } from '../base/nearest.ts';

export interface Setting {
  /** Path in `plenum.yaml`; of scope `model`, a path inside each entry of `models`. */
  readonly path: readonly string[];
  readonly scope: 'top' | 'model';
  readonly kind: 'text' | 'number' | 'boolean' | 'list';
  readonly env: string;
  /** Flag of `serve` with its argument, in commander's notation; null = there is none. */
  readonly flag: string | null;
  readonly help: string;
}

const top = (
  path: string,
  kind: Setting['kind'],
  [env, flag, help]: readonly [string, string | null, string],
): Setting => ({ path: path.split('.'), scope: 'top', kind, env, flag, help });

const model = (
  path: string,
  kind: Setting['kind'],
  [env, flag, help]: readonly [string, string | null, string],
): Setting => ({ path: path.split('.'), scope: 'model', kind, env, flag, help });

export const SETTINGS: readonly Setting[] = [
  top('server.host', 'text', ['PLENUM_HOST', '--host <address>', 'address to listen on']),
  top('server.port', 'number', ['PLENUM_PORT', '--port <port>', 'port to listen on']),
  top('server.force_bind_without_keys', 'boolean', [
    'PLENUM_FORCE_BIND',
    '--force-bind',
    'listen beyond loopback without API keys',
  ]),
  top('server.cors_origins', 'list', [
    'PLENUM_CORS_ORIGINS',
    '--cors-origins <origins>',
    'web origins that may call, comma-separated',
  ]),
  model('context', 'number', [
    'PLENUM_CONTEXT',
    '--context <tokens>',
    'longest sequence, prompt and output together',
  ]),
  model('parallel', 'number', [
    'PLENUM_PARALLEL',
    '--parallel <count>',
    'sequences that decode at the same time',
  ]),
  model('kv_cells', 'number', [
    'PLENUM_KV_CELLS',
    '--kv-cells <tokens>',
    'tokens that the KV cache holds in all',
  ]),
  model('cache_type', 'text', [
    'PLENUM_CACHE_TYPE',
    '--cache-type <type>',
    'number format of the KV cache: f16 or q8_0',
  ]),
  model('kv_layout', 'text', [
    'PLENUM_KV_LAYOUT',
    '--kv-layout <layout>',
    'auto, unified (prompts share cells) or split (a cache per stream)',
  ]),
  model('flash_attention', 'text', [
    'PLENUM_FLASH_ATTENTION',
    '--flash-attention <mode>',
    'auto, on or off',
  ]),
  model('step_target_ms', 'number', [
    'PLENUM_STEP_TARGET_MS',
    '--step-target-ms <ms>',
    'time of one step while streams decode',
  ]),
  model('step_tokens_max', 'number', [
    'PLENUM_STEP_TOKENS_MAX',
    '--step-tokens-max <tokens>',
    'most tokens computed in one step',
  ]),
  model('queue_max', 'number', [
    'PLENUM_QUEUE_MAX',
    '--queue-max <count>',
    'requests that may wait; one more gets 429',
  ]),
  model('wait_ms_max', 'number', [
    'PLENUM_WAIT_MS_MAX',
    '--wait-ms-max <ms>',
    'longest wait in the queue',
  ]),
  model('prefix_cache', 'boolean', [
    'PLENUM_PREFIX_CACHE',
    '--no-prefix-cache',
    'share the KV cells of prompts that begin alike',
  ]),
  model('engine.threads', 'number', [
    'PLENUM_THREADS',
    '--threads <count>',
    'threads of the engine',
  ]),
  model('engine.gpu_layers', 'number', [
    'PLENUM_GPU_LAYERS',
    '--gpu-layers <count>',
    'layers on the GPU; 0 = none',
  ]),
  top('pool.memory', 'text', [
    'PLENUM_MEMORY',
    '--memory <size>',
    'what models may have in all, such as 24GB',
  ]),
  top('pool.reserve', 'text', [
    'PLENUM_RESERVE',
    '--reserve <size>',
    'memory kept free for the system, such as 2GB',
  ]),
  top('server.log.level', 'text', [
    'PLENUM_LOG_LEVEL',
    '--log-level <level>',
    'fatal, error, warn, info, debug, trace or silent',
  ]),
  top('server.log.format', 'text', [
    'PLENUM_LOG_FORMAT',
    '--log-format <format>',
    'auto, json or pretty',
  ]),
  top('home', 'text', ['PLENUM_HOME', null, 'directory of downloaded models']),
  top('drain_ms', 'number', [
    'PLENUM_DRAIN_MS',
    '--drain-ms <ms>',
    'time that requests have to finish after SIGTERM',
  ]),
];

/** Variables that are not a value of one setting. */
export const OTHER_ENV: Readonly<Record<string, string>> = {
  PLENUM_CONFIG: 'path of plenum.yaml',
  PLENUM_MODELS: 'models to serve, comma-separated',
  PLENUM_API_KEY: 'the one API key of the server; also what `chat` sends',
  PLENUM_API_KEYS: 'API keys of the server, comma-separated',
  PLENUM_MIRRORS: 'places that catalogued models come from, in order: hub,pypi',
  PLENUM_URL: 'server that `chat` talks to',
  PLENUM_DEBUG: '1 = errors come with stack traces',
};

const PREFIX = 'PLENUM_';

/** What is wrong with the names of `PLENUM_*` variables in `env`: unknown ones, each explained. */
export function unknownVariables(
  env: Readonly<Record<string, string | undefined>>,
): readonly { readonly name: string; readonly problem: string }[] {
  const names = [...SETTINGS.map((setting) => setting.env), ...Object.keys(OTHER_ENV)];
  // The prefix is left out, or every name would be near every other.
  const known = new Set(names.map((name) => name.slice(PREFIX.length)));
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.has(name.slice(PREFIX.length)))
    .sort()
    .map((name) => {
      const near = nearest(name.slice(PREFIX.length), known);
      const hint =
        near === null ? 'plenum config --env lists them' : `did you mean ${PREFIX}${near}?`;
      return { name, problem: `unknown variable; ${hint}` };
    });
}

/** The `--name` of a setting's flag, without its argument. */
export function flagName(setting: Setting): string | null {
  return setting.flag?.split(' ')[0] ?? null;
}

/**
 * Text of a variable or flag as the value that the schema expects there. What does not read as
 * such a value stays text, so that the schema names it in its complaint.
 */
export function readText(kind: Setting['kind'], text: string): unknown {
  switch (kind) {
    case 'text':
      return text;
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
    case 'boolean':
      if (/^(1|true|yes|on)$/i.test(text)) return true;
      return /^(0|false|no|off)$/i.test(text) ? false : text;
    case 'list':
      return splitList(text);
  }
}

/** `a, b` → `['a', 'b']`. */
export function splitList(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}
