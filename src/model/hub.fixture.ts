/**
 * A small server that speaks the hub's protocol, with a second one as its content network, and
 * faults on demand. For tests only.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

export interface Seen {
  readonly server: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly authorization: string | undefined;
}

/** What a server does instead of answering properly. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string }
  /** Answers 200 and everything to a request for a range. */
  | { readonly kind: 'whole' }
  /** Sends this instead of the content. */
  | { readonly kind: 'content'; readonly content: Buffer }
  /** Sends the answer's head and some bytes, then nothing more; see `cut`. */
  | { readonly kind: 'stall'; readonly bytes: number };

export interface FakeHub {
  /** `org/repo/path` → content. */
  readonly files: Map<string, Buffer>;
  /** Repositories that only this token may see, and what others get. */
  readonly guarded: Map<string, { readonly token: string; readonly status: 401 | 403 }>;
  /** Taken one by one, for each request of the server that is not a success of its own. */
  readonly faults: { readonly hub: Fault[]; readonly cdn: Fault[] };
  readonly seen: Seen[];
  readonly endpoint: string;
  readonly cdn: string;
  /** Entries of one page of a listing. */
  pageSize: number;
  /** Headers of the content network's answers: `etag`, `last-modified`. */
  cdnHeaders: Record<string, string>;
  /** Whether the hub names checksums. */
  namesChecksums: boolean;
  /** Ends the connections of the content network, as a failing network does. */
  cut(): void;
  close(): Promise<void>;
}

export async function startFakeHub(): Promise<FakeHub> {
  const state = {
    files: new Map<string, Buffer>(),
    guarded: new Map<string, { token: string; status: 401 | 403 }>(),
    faults: { hub: [] as Fault[], cdn: [] as Fault[] },
    seen: [] as Seen[],
    pageSize: 1000,
    cdnHeaders: {} as Record<string, string>,
    namesChecksums: true,
    endpoint: '',
    cdn: '',
  };
  const note = (server: Seen['server'], request: http.IncomingMessage): void => {
    state.seen.push({
      server,
      method: request.method ?? '',
      path: request.url ?? '',
      range: request.headers.range,
      ifRange: request.headers['if-range']?.toString(),
      authorization: request.headers.authorization,
    });
  };
  const cdn = http.createServer((request, response) => {
    note('cdn', request);
    const content = state.files.get(decodeURIComponent((request.url ?? '').slice(1)));
    sendContent(request, response, {
      content: content ?? null,
      fault: state.faults.cdn.shift(),
      headers: state.cdnHeaders,
    });
  });
  const hub = http.createServer((request, response) => {
    note('hub', request);
    const fault = state.faults.hub.shift();
    if (fault?.kind === 'status') return sendStatus(response, fault);
    answerAsHub(state, request, response);
  });
  state.cdn = await listen(cdn);
  state.endpoint = await listen(hub);
  const close = async (): Promise<void> => {
    for (const server of [cdn, hub]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  };
  return Object.assign(state, { close, cut: () => cdn.closeAllConnections() });
}

async function listen(server: http.Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sendStatus(
  response: http.ServerResponse,
  fault: Extract<Fault, { kind: 'status' }>,
): void {
  const more = fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter };
  response.writeHead(fault.status, { 'content-type': 'application/json', ...more });
  response.end('{"error":"as the test wants it"}');
}

type State = Omit<FakeHub, 'close' | 'cut'>;

function answerAsHub(state: State, request: http.IncomingMessage, response: http.ServerResponse) {
  const url = new URL(request.url ?? '', state.endpoint);
  const [, repo = ''] = /^\/(?:api\/models\/)?([^/]+\/[^/]+)\//.exec(url.pathname) ?? [];
  const guard = state.guarded.get(repo);
  if (guard && request.headers.authorization !== `Bearer ${guard.token}`) {
    return sendStatus(response, { kind: 'status', status: guard.status });
  }
  const paths = [...state.files.keys()].filter((key) => key.startsWith(`${repo}/`));
  if (paths.length === 0) return sendStatus(response, { kind: 'status', status: 404 });
  const entries = paths.map((key) => entryOf(state, key.slice(repo.length + 1), key));
  if (url.pathname.includes('/tree/')) return sendPage(state, url, { response, entries });
  if (url.pathname.includes('/paths-info/')) {
    return readBody(request, (body) => {
      const { paths: asked } = JSON.parse(body) as { paths: string[] };
      sendJson(
        response,
        entries.filter((entry) => asked.includes(entry.path)),
      );
    });
  }
  const [, path = ''] = /\/resolve\/[^/]+\/(.+)$/.exec(url.pathname) ?? [];
  const content = state.files.get(`${repo}/${decodeURIComponent(path)}`);
  if (content === undefined) return sendStatus(response, { kind: 'status', status: 404 });
  const linked = {
    'x-linked-etag': `"${sha256(content)}"`,
    'x-linked-size': String(content.length),
  };
  response.writeHead(302, {
    location: `${state.cdn}/${encodeURIComponent(`${repo}/${decodeURIComponent(path)}`)}`,
    ...(state.namesChecksums ? linked : {}),
  });
  response.end();
}

function entryOf(state: State, path: string, key: string) {
  const content = state.files.get(key) ?? Buffer.alloc(0);
  const size = content.length;
  const lfs = { oid: sha256(content), size, pointerSize: 134 };
  return {
    type: 'file',
    path,
    size,
    oid: 'a'.repeat(40),
    ...(state.namesChecksums ? { lfs } : {}),
  };
}

function sendPage(
  state: State,
  url: URL,
  page: { response: http.ServerResponse; entries: readonly unknown[] },
): void {
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const next = from + state.pageSize;
  if (next < page.entries.length) {
    url.searchParams.set('cursor', String(next));
    page.response.setHeader('link', `<${url.href}>; rel="next"`);
  }
  sendJson(page.response, page.entries.slice(from, next));
}

function sendJson(response: http.ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}

function readBody(request: http.IncomingMessage, done: (body: string) => void): void {
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (text) => {
    body += text;
  });
  request.on('end', () => done(body));
}

/** Answers with a file as a static server does: ranges, If-Range, and faults. */
function sendContent(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  how: { content: Buffer | null; fault: Fault | undefined; headers: Record<string, string> },
) {
  const { fault, headers } = how;
  if (fault?.kind === 'status') return sendStatus(response, fault);
  const content = fault?.kind === 'content' ? fault.content : how.content;
  if (content === null) return sendStatus(response, { kind: 'status', status: 404 });
  const ifRange = request.headers['if-range'];
  const current = ifRange === undefined || Object.values(headers).includes(String(ifRange));
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  let body = content;
  if (from !== undefined && current && fault?.kind !== 'whole') {
    const start = Number(from);
    if (start >= content.length) {
      response.writeHead(416, { ...headers, 'content-range': `bytes */${content.length}` });
      response.end();
      return;
    }
    body = content.subarray(start, to ? Number(to) + 1 : content.length);
    response.writeHead(206, {
      ...headers,
      'content-length': body.length,
      'content-range': `bytes ${start}-${start + body.length - 1}/${content.length}`,
    });
  } else {
    response.writeHead(200, { ...headers, 'content-length': body.length });
  }
  if (fault?.kind === 'stall') response.write(body.subarray(0, fault.bytes));
  else response.end(body);
}
