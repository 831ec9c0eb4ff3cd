/**
 * The least that can serve tokens, in a process of its own: answers every request with so many
 * chunks at an even pace, and tells its parent when a request arrived and when its first chunk was
 * written, on the clock that both processes share.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';

export interface TokensAsk {
  readonly tokens: number;
  /** Chunks of each stream in a second. */
  readonly ticksPerSecond: number;
}

export interface Wrote {
  readonly path: string;
  readonly arrivedAt: number;
  readonly wroteAt: number;
}

export interface TokenServer {
  readonly port: number;
  readonly child: ChildProcess;
}

/** The moment on the clock of the machine, in milliseconds. */
export const clockMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Ends with this process, or by `child.disconnect()`. */
export async function startTokenServer(): Promise<TokenServer> {
  const child = fork(import.meta.filename);
  process.once('exit', () => child.kill('SIGKILL'));
  const [{ port }] = await once(child, 'message');
  return { port, child };
}

function serve(): void {
  const server = createServer((incoming, response) => {
    let text = '';
    const arrivedAt = clockMs();
    incoming.setEncoding('utf8').on('data', (part) => {
      text += part;
    });
    incoming.on('end', () => {
      const { tokens, ticksPerSecond }: TokensAsk = JSON.parse(text);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      const startedAt = clockMs();
      let sent = 0;
      const timer = setInterval(() => {
        const due = Math.min(tokens, Math.floor(((clockMs() - startedAt) * ticksPerSecond) / 1000));
        for (; sent < due; sent++) {
          const wroteAt = clockMs();
          response.write(chunk(sent === tokens - 1 ? 'length' : null));
          if (sent === 0) process.send?.({ path: incoming.url, arrivedAt, wroteAt });
        }
        if (sent < tokens) return;
        clearInterval(timer);
        response.end('data: [DONE]\n\n');
      }, 1000 / ticksPerSecond);
    });
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
  });
  process.once('disconnect', () => process.exit(0));
}

/** As wide as a chunk of a real server. */
const chunk = (finish: string | null): string => {
  const value = {
    id: 'chatcmpl-0123456789abcdef0123456789abcdef',
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: 'a-model-with-a-name',
    choices: [{ index: 0, delta: { content: ' word' }, finish_reason: finish }],
  };
  return `data: ${JSON.stringify(value)}\n\n`;
};

if (process.argv[1] === import.meta.filename) serve();
