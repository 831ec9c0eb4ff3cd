/**
 * Gets to know a target before it is measured: its model, what it is, which fields it refuses, how
 * it counts. Throws PlenumError where it cannot be measured at all, and says why.
 */
import { defined } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import { messageOf } from '../client/chunk.ts';
import type { Dialect } from '../load/workload.ts';
import { type Api, type Asked, ask } from './api.ts';
import { type Counter, countByEndpoint, countByUsage } from './tokenizer.ts';

export interface Probed {
  readonly model: string | null;
  readonly server: string | null;
  readonly quirks: readonly string[];
}

/** Its model (the first that it lists, unless one is named) and what it calls itself. */
export async function identify(api: Api, name: string, wanted: string | null): Promise<Probed> {
  const listed = await ask(api, '/v1/models');
  if (listed.status === 0) {
    throw new PlenumError(
      'server_unreachable',
      `${name}: ${api.url} does not answer: ${listed.text}`,
    );
  }
  if (listed.status === 401 || listed.status === 403) throw refused(name, listed);
  const ids = idsOf(listed);
  const quirks = ids.length === 0 ? [`GET /v1/models lists nothing (HTTP ${listed.status})`] : [];
  const isKnown = wanted === null || ids.length === 0 || ids.includes(wanted);
  if (!isKnown) {
    const near = nearest(wanted, ids);
    quirks.push(`does not list the model ${wanted}${near === null ? '' : `; it has ${near}`}`);
  }
  return { model: wanted ?? ids[0] ?? null, server: await serverOf(api, listed), quirks };
}

function idsOf({ json }: Asked): string[] {
  const list: readonly unknown[] = Array.isArray(json?.data) ? json.data : [];
  return list.flatMap((entry) =>
    typeof entry === 'object' && entry !== null && 'id' in entry && typeof entry.id === 'string'
      ? [entry.id]
      : [],
  );
}

/** A version where one of the places that servers put it has one; else the Server header. */
async function serverOf(api: Api, listed: Asked): Promise<string | null> {
  const props = await ask(api, '/props');
  if (typeof props.json?.build_info === 'string') return `llama.cpp ${props.json.build_info}`;
  for (const path of ['/version', '/api/version']) {
    const { status, json } = await ask(api, path);
    if (status === 200 && typeof json?.version === 'string') {
      const what = typeof json.name === 'string' ? json.name : (listed.server ?? '');
      return `${what} ${json.version}`.trim();
    }
  }
  return listed.server;
}

const refused = (name: string, { status, text, json }: Asked): PlenumError => {
  const said = messageOf(json ?? text);
  const hint = status === 401 ? '; name the variable with its key by --api-key-env' : '';
  return new PlenumError('server_unreachable', `${name}: HTTP ${status}: ${said}${hint}`);
};

/** A small request, as it will be measured, with and without what some servers refuse. */
function trial(dialect: Dialect, model: string | null, text: string): [string, object] {
  const { endpoint, ignoreEos } = dialect;
  const rest = {
    ...(model === null ? {} : { model }),
    max_tokens: 2,
    temperature: 0,
    ...(ignoreEos ? { ignore_eos: true } : {}),
  };
  return endpoint === 'chat'
    ? ['/v1/chat/completions', { ...rest, messages: [{ role: 'user', content: text }] }]
    : ['/v1/completions', { ...rest, prompt: text }];
}

export interface Understood {
  readonly dialect: Dialect;
  readonly quirks: readonly string[];
}

/** The most of `dialect` that the target accepts. Throws where it accepts not even the least. */
export async function negotiate(
  api: Api,
  who: { readonly name: string; readonly model: string | null },
  dialect: Dialect,
): Promise<Understood> {
  let first: Asked | null = null;
  for (const tried of lesser(dialect)) {
    const asked = await tryStream(api, who.model, tried);
    first ??= asked;
    if (asked.status === 200) return { dialect: tried, quirks: losses(dialect, tried, first) };
    if (asked.status !== 400 && asked.status !== 422) throw refused(who.name, asked);
  }
  throw refused(who.name, defined(first, 'an answer'));
}

/** All of it, then without what is missed least. */
function lesser(dialect: Dialect): Dialect[] {
  return [
    dialect,
    ...(dialect.ignoreEos ? [{ ...dialect, ignoreEos: false }] : []),
    ...(dialect.includeUsage ? [{ ...dialect, includeUsage: false }] : []),
    ...(dialect.includeUsage && dialect.ignoreEos
      ? [{ ...dialect, includeUsage: false, ignoreEos: false }]
      : []),
  ];
}

function losses(wanted: Dialect, got: Dialect, { json, text }: Asked): string[] {
  const lost = [
    ...(wanted.ignoreEos && !got.ignoreEos ? ['ignore_eos'] : []),
    ...(wanted.includeUsage && !got.includeUsage ? ['stream_options'] : []),
  ];
  return lost.length === 0 ? [] : [`refuses ${lost.join(' and ')}: ${messageOf(json ?? text)}`];
}

function tryStream(api: Api, model: string | null, dialect: Dialect): Promise<Asked> {
  const [path, body] = trial(dialect, model, 'one two three');
  const options = dialect.includeUsage ? { stream_options: { include_usage: true } } : {};
  return ask(api, path, { ...body, stream: true, ...options });
}

export async function counterOf(
  api: Api,
  model: string | null,
  dialect: Dialect | null,
): Promise<Counter> {
  const byEndpoint = await countByEndpoint(api, model);
  if (byEndpoint !== null) return byEndpoint;
  return countByUsage(async (text) => {
    const [path, body] =
      dialect === null
        ? (['/v1/embeddings', { ...(model === null ? {} : { model }), input: text }] as const)
        : trial(dialect, model, text);
    const { json } = await ask(api, path, body);
    const usage = json?.usage;
    const tokens =
      typeof usage === 'object' && usage !== null && 'prompt_tokens' in usage
        ? usage.prompt_tokens
        : null;
    return typeof tokens === 'number' && tokens > 0 ? tokens : null;
  });
}
