/**
 * The questions that are asked of a target outside of any measurement: who it is, which models it
 * has, how it counts tokens. Small answers, bounded in time; what fails is a value.
 */
import { shorten } from '../client/chunk.ts';

export interface Api {
  /** Without /v1 and without a slash at its end. */
  readonly url: string;
  readonly apiKey: string | null;
  readonly signal: AbortSignal;
}

export interface Asked {
  /** 0 where no answer came. */
  readonly status: number;
  readonly server: string | null;
  readonly text: string;
  /** Null where it is not a JSON object. */
  readonly json: Readonly<Record<string, unknown>> | null;
}

const ASK_MS_MAX = 30_000;

/** GET without a body, POST with one. Throws only where the signal ends it. */
export async function ask(api: Api, path: string, body?: unknown): Promise<Asked> {
  const signal = AbortSignal.any([api.signal, AbortSignal.timeout(ASK_MS_MAX)]);
  const headers = {
    'user-agent': 'plenum-bench',
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(api.apiKey === null ? {} : { authorization: `Bearer ${api.apiKey}` }),
  };
  try {
    const init = body === undefined ? { headers } : { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(`${api.url}${path}`, { ...init, headers, signal });
    const text = await response.text();
    const server = response.headers.get('server');
    return { status: response.status, server, text, json: objectOf(text) };
  } catch (thrown) {
    api.signal.throwIfAborted();
    return { status: 0, server: null, text: reasonOf(thrown), json: null };
  }
}

function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause instanceof Error ? thrown.cause : thrown;
  return shorten(cause.message === '' ? cause.name : cause.message);
}

function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return { ...value };
  } catch {
    return null;
  }
}
