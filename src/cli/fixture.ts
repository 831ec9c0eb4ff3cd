/** For the tests of this room: a tiny chat server and a context that remembers what was written. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import type { CliContext, CliOutput, ExitCode } from './context.ts';

export interface SeenRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

export interface FakeServer {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  close(): Promise<void>;
}

type Handler = (response: ServerResponse, request: SeenRequest) => void | Promise<void>;

/** Lists the model `m`; every chat request goes to `onChat`. */
export async function fakeServer(onChat: Handler): Promise<FakeServer> {
  const seen: SeenRequest[] = [];
  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(Buffer.from(chunk));
    const text = Buffer.concat(chunks).toString('utf8');
    const request: SeenRequest = {
      path: incoming.url ?? '',
      authorization: incoming.headers.authorization,
      body: text === '' ? null : JSON.parse(text),
    };
    seen.push(request);
    if (request.path === '/v1/models') reply(response, 200, { data: [{ id: 'm' }, { id: 'n' }] });
    else await onChat(response, request);
  };
  const server = createServer((request, response) => {
    handle(request, response).catch((error) => response.destroy(error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

export function startStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
}

/** A chunk of chat text as OpenAI frames it. */
export function delta(content: string, finishReason: string | null = null): string {
  const choice = { index: 0, delta: { content }, finish_reason: finishReason };
  return `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
}

export const USAGE =
  'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,' +
  '"prompt_tokens_details":{"cached_tokens":8}}}\n\n';
export const DONE = 'data: [DONE]\n\n';

/** The whole text as one reply. */
export function answer(response: ServerResponse, text: string): void {
  startStream(response);
  response.end(delta(text) + delta('', 'stop') + USAGE + DONE);
}

export interface FakeContext extends CliContext {
  readonly out: string;
  readonly err: string;
  readonly exitCode: ExitCode;
  /** What Ctrl-C does. */
  interrupt(): void;
}

export function fakeContext(
  options: {
    readonly env?: CliContext['env'];
    readonly tty?: boolean;
    readonly input?: string;
    readonly cwd?: string;
  } = {},
): FakeContext {
  const written = { out: '', err: '' };
  const output = (name: 'out' | 'err'): CliOutput => ({
    write: (text) => {
      written[name] += text;
    },
    isTTY: options.tty ?? false,
    columns: 80,
    color: false,
  });
  const abort = new AbortController();
  const listeners = new Set<() => void>();
  let exitCode: ExitCode = 0;
  return {
    stdin: { stream: Readable.from([options.input ?? '']), isTTY: options.tty ?? false },
    stdout: output('out'),
    stderr: output('err'),
    env: options.env ?? {},
    cwd: options.cwd ?? import.meta.dirname,
    version: '1.2.3',
    interrupted: () => abort.signal,
    onInterrupt: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    setExitCode: (code) => {
      exitCode = code;
    },
    get exitCode() {
      return exitCode;
    },
    get out() {
      return written.out;
    },
    get err() {
      return written.err;
    },
    interrupt: () => {
      abort.abort();
      for (const listener of listeners) listener();
    },
  };
}
