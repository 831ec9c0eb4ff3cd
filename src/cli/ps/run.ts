/** `plenum ps`: asks a running server for its pool and prints it. It changes nothing. */
import { PlenumError } from '../../base/errors.ts';
import { type PoolBody, poolSchema } from '../../wire/admin.ts';
import type { CliContext } from '../context.ts';
import { columns, paragraph } from '../planning/columns.ts';
import { MODEL_COLUMNS, memoryBar, modelRows, RIGHT_COLUMNS, summaryLines } from './memory-map.ts';

export interface PsOptions {
  readonly url?: string;
  readonly apiKeyEnv?: string;
  readonly json?: true;
}

const URL_DEFAULT = 'http://127.0.0.1:8686';
const ANSWER_MS_MAX = 10_000;

export async function listPool(options: PsOptions, context: CliContext): Promise<void> {
  const pool = await fetchPool(options, context);
  const { stdout } = context;
  if (options.json === true) {
    stdout.write(`${JSON.stringify(pool, null, 2)}\n`);
    return;
  }
  for (const line of summaryLines(pool)) stdout.write(paragraph(line, stdout, { hang: 2 }));
  stdout.write(`[${memoryBar(pool, stdout.columns - 2)}]\n\n`);
  stdout.write(columns([...MODEL_COLUMNS], modelRows(pool), stdout, { right: RIGHT_COLUMNS }));
}

async function fetchPool(options: PsOptions, context: CliContext): Promise<PoolBody> {
  const { env } = context;
  const url = (options.url ?? (env.PLENUM_URL || URL_DEFAULT)).replace(/(\/v1)?\/*$/, '');
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url)) {
    throw new PlenumError('usage', `"${url}" is not the URL of a server; one is ${URL_DEFAULT}`);
  }
  const { apiKeyEnv } = options;
  const key = env[apiKeyEnv ?? 'PLENUM_API_KEY'];
  if (apiKeyEnv !== undefined && !key) {
    throw new PlenumError('usage', `--api-key-env: the variable ${apiKeyEnv} is not set`);
  }
  const { status, text } = await ask(`${url}/admin/pool`, key, url);
  const body = jsonOf(text);
  if (status !== 200) throw refusalOf(status, body, url);
  const parsed = poolSchema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new PlenumError(
    'server_unreachable',
    `${url} answers, but not as a Plenum of this version`,
  );
}

async function ask(
  address: string,
  key: string | undefined,
  url: string,
): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(address, {
      headers: key ? { authorization: `Bearer ${key}` } : {},
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    return { status: response.status, text: await response.text() };
  } catch (cause) {
    const message = `no server answers at ${url}; plenum serve starts one, --url names another`;
    throw new PlenumError('server_unreachable', message, { cause });
  }
}

function refusalOf(status: number, body: unknown, url: string): PlenumError {
  const said = messageOf(body);
  if (status === 401) return new PlenumError('invalid_api_key', said ?? `${url} needs an API key`);
  if (status === 403) return new PlenumError('forbidden', said ?? `${url} refuses the API key`);
  const what = said === null ? `answers with status ${status}` : `says: ${said}`;
  return new PlenumError('server_unreachable', `${url} ${what}; is it a Plenum server?`);
}

function messageOf(body: unknown): string | null {
  if (typeof body !== 'object' || body === null || !('error' in body)) return null;
  const { error } = body;
  if (typeof error !== 'object' || error === null || !('message' in error)) return null;
  return typeof error.message === 'string' ? error.message : null;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Some other server's page.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
