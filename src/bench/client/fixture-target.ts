/**
 * For the tests of this room: a small server with OpenAI's API whose answers a test gives, down to
 * the bytes on its socket. It misbehaves in whatever way it is told to.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TargetRequest {
  readonly path: string;
  readonly body: string;
  readonly authorization: string | undefined;
  /** From 0, over all requests to the server. */
  readonly index: number;
}

export type Behaviour = (response: ServerResponse, request: TargetRequest) => void;

export interface FixtureTarget {
  readonly url: string;
  readonly seen: readonly TargetRequest[];
  close(): Promise<void>;
}

export async function fixtureTarget(behave: Behaviour): Promise<FixtureTarget> {
  const seen: TargetRequest[] = [];
  const server = createServer((incoming, response) => {
    response.on('error', () => undefined);
    readBody(incoming).then(
      (body) => {
        const { authorization } = incoming.headers;
        const request = { path: incoming.url ?? '', body, authorization, index: seen.length };
        seen.push(request);
        behave(response, request);
      },
      // The client went away while it sent: nothing to answer.
      () => response.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: urlOf(server), seen, close: () => closed(server) };
}

const urlOf = (server: Server): string =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function readBody(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of incoming.setEncoding('utf8')) text += part;
  return text;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** A chunk of chat text as OpenAI frames it. */
export function delta(content: string, finish: string | null = null): string {
  const choice = { index: 0, delta: content === '' ? {} : { content }, finish_reason: finish };
  return `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
}

export const ROLE = 'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n';
export const DONE = 'data: [DONE]\n\n';
export const USAGE =
  'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":2,' +
  '"prompt_tokens_details":{"cached_tokens":8}}}\n\n';

export function startStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  response.flushHeaders();
}

export function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Lists a model and streams `text` in two pieces for every request; what a good server does. */
export function goodTarget(response: ServerResponse, { path, body }: TargetRequest): void {
  if (path === '/v1/models') reply(response, 200, { data: [{ id: 'm' }] });
  else if (path === '/v1/chat/completions' && JSON.parse(body).stream === true) {
    startStream(response);
    response.end(ROLE + delta('a') + delta('b') + delta('', 'length') + USAGE + DONE);
  } else if (path === '/v1/chat/completions') {
    const words = body.split(' ').length;
    reply(response, 200, { choices: [], usage: { prompt_tokens: 10 + 2 * words } });
  } else if (path === '/v1/embeddings') {
    const input: unknown = JSON.parse(body).input;
    const count = Array.isArray(input) ? input.length : 1;
    const data = Array.from({ length: count }, () => ({ embedding: [0, 1] }));
    reply(response, 200, { data, usage: { prompt_tokens: 7, total_tokens: 7 } });
  } else reply(response, 404, { error: { message: `no ${path}` } });
}
