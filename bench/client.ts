/**
 * What the measuring client of `plenum bench` costs: how late a first token becomes by it with many
 * streams at once, and how many tokens per second it takes on one processor. Against a server in a
 * process of its own that does nothing but write chunks, each with the moment at which it was
 * written on the clock that both processes share.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { defined } from '../src/base/assert.ts';
import type { Call } from '../src/bench/client/call.ts';
import { REQUEST_LIMITS } from '../src/bench/client/limits.ts';
import { ClientMeter } from '../src/bench/client/meter.ts';
import { TargetClient } from '../src/bench/client/target-client.ts';
import { waitUntil } from '../src/bench/load/wait.ts';
import type { ClientHealth, RequestRecord } from '../src/bench/result.ts';
import { percentile } from './lib/stats.ts';

const PORT_VARIABLE = 'BENCH_CLIENT_SERVER';
/** Streams are written by the server one token each in turn, so often per second and stream. */
const TICKS_PER_SECOND = 100;
/** Requests leave so far apart, while the ones before them stream. */
const GAP_MS = 2;

/** The moment on the clock of the machine, in milliseconds. */
const clockMs = (): number => Number(process.hrtime.bigint()) / 1e6;

const { values } = parseArgs({
  options: {
    streams: { type: 'string', default: '64' },
    rate: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '5' },
  },
});

interface Ask {
  readonly tokens: number;
  readonly ticksPerSecond: number;
}

/**
 * Answers every request with `tokens` chunks, at its own pace; tells its parent what it wrote
 * when.
 */
function serve(): void {
  const server = createServer((incoming, response) => {
    let text = '';
    const arrivedAt = clockMs();
    incoming.setEncoding('utf8').on('data', (part) => {
      text += part;
    });
    incoming.on('end', () => {
      const { tokens, ticksPerSecond }: Ask = JSON.parse(text);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      const startedAt = clockMs();
      let sent = 0;
      const timer = setInterval(() => {
        const due = Math.min(tokens, Math.floor(((clockMs() - startedAt) * ticksPerSecond) / 1000));
        for (; sent < due; sent++) {
          const wroteAt = clockMs();
          const finish = sent === tokens - 1 ? 'length' : null;
          const choice = { index: 0, delta: { content: ' word' }, finish_reason: finish };
          response.write(`data: ${JSON.stringify(chunkOf(choice))}\n\n`);
          if (sent === 0) process.send?.({ arrivedAt, wroteAt, requestId: incoming.url });
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
const chunkOf = (choice: object): object => ({
  id: 'chatcmpl-0123456789abcdef0123456789abcdef',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'a-model-with-a-name',
  choices: [choice],
});

interface Wrote {
  readonly arrivedAt: number;
  readonly wroteAt: number;
}

async function measure(): Promise<void> {
  const child = fork(import.meta.filename, { env: { ...process.env, [PORT_VARIABLE]: '1' } });
  process.once('exit', () => child.kill('SIGKILL'));
  const [{ port }] = await once(child, 'message');
  const url = `http://127.0.0.1:${port}`;
  const client = new TargetClient({ url, apiKey: null, limits: REQUEST_LIMITS });
  const streams = Number(values.streams);
  await round(client, child, { streams, tokens: 200, ticksPerSecond: TICKS_PER_SECOND });
  const [added, bare]: [Times, Times] = [
    { out: [], back: [] },
    { out: [], back: [] },
  ];
  const sockets = await Promise.all(Array.from({ length: streams }, () => bareSocket(port)));
  for (let i = 0; i < Number(values.rounds); i++) {
    const ask = { streams, tokens: 40, ticksPerSecond: 20 };
    keep(added, await round(client, child, ask));
    keep(bare, await round(sockets, child, ask));
  }
  for (const socket of sockets) socket.destroy();
  const both = ({ out, back }: Times): number[] => out.map((one, k) => one + (back[k] ?? 0));
  print(`first token with ${streams} streams, ${added.out.length} requests, sent 2 ms apart`, [
    ['from the intended moment to the server', added.out],
    ['from the server’s write to the record', added.back],
    ['both', both(added)],
    ['both, by bare sockets that parse nothing', both(bare)],
  ]);
  const difference = percentile(both(added), 0.5) - percentile(both(bare), 0.5);
  process.stdout.write(`  the client adds ${difference.toFixed(3)} ms (p50 less p50)\n`);
  const ticksPerSecond = Number(values.rate) / streams;
  const tokens = Math.round(Number(values.seconds) * ticksPerSecond);
  const full = await round(client, child, { streams, tokens, ticksPerSecond });
  printRate(full);
  client.close();
  child.disconnect();
}

interface Round extends Ask {
  readonly streams: number;
}

interface Times {
  readonly out: number[];
  readonly back: number[];
}

function keep(times: Times, { out, back }: Measured): void {
  times.out.push(...out);
  times.back.push(...back);
}

type Timed = Pick<
  RequestRecord,
  'index' | 'intendedMs' | 'firstTokenMs' | 'endMs' | 'chunks' | 'outcome'
>;

interface Measured {
  readonly out: readonly number[];
  readonly back: readonly number[];
  readonly records: readonly Timed[];
  readonly health: ClientHealth;
}

async function round(
  client: TargetClient | readonly Socket[],
  child: ChildProcess,
  ask: Round,
): Promise<Measured> {
  const wrote = new Map<string, Wrote>();
  const onMessage = (message: Wrote & { readonly requestId: string }): void => {
    wrote.set(message.requestId, message);
  };
  child.on('message', onMessage);
  const meter = new ClientMeter();
  const epoch = performance.now();
  const epochClock = clockMs();
  if (client instanceof TargetClient) client.begin(epoch, meter);
  const records = await Promise.all(
    Array.from({ length: ask.streams }, (_, index) =>
      client instanceof TargetClient
        ? sendAt(client, ask, { index, epoch })
        : sendBare(defined(client[index], 'socket'), ask, { index, epoch }),
    ),
  );
  const health = meter.stop();
  child.off('message', onMessage);
  const pairs = records.flatMap((record) => {
    const other = wrote.get(`/${record.index}`);
    if (other === undefined || record.firstTokenMs === null) return [];
    const out = other.arrivedAt - (epochClock + record.intendedMs);
    return [{ out, back: epochClock + record.firstTokenMs - other.wroteAt }];
  });
  return { out: pairs.map((p) => p.out), back: pairs.map((p) => p.back), records, health };
}

async function sendAt(
  client: TargetClient,
  { tokens, ticksPerSecond }: Ask,
  { index, epoch }: { readonly index: number; readonly epoch: number },
): Promise<RequestRecord> {
  const at = epoch + 50 + index * GAP_MS;
  await waitUntil(at, new AbortController().signal);
  const call: Call = {
    ...{ index, kind: 'chat', conversation: null, turn: null, items: 0 },
    ...{ path: `/${index}`, body: JSON.stringify({ tokens, ticksPerSecond }) },
    outputTokensMax: tokens,
  };
  return client.send(call, at);
}

async function bareSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  return socket;
}

/** The least that a client can do: bytes out, and the time of the first bytes with an event in. */
async function sendBare(
  socket: Socket,
  { tokens, ticksPerSecond }: Ask,
  { index, epoch }: { readonly index: number; readonly epoch: number },
): Promise<Timed> {
  const at = epoch + 50 + index * GAP_MS;
  const body = JSON.stringify({ tokens, ticksPerSecond });
  const head = `POST /${index} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`;
  const bytes = Buffer.from(head + body);
  await waitUntil(at, new AbortController().signal);
  let firstAt: number | null = null;
  socket.write(bytes);
  await new Promise<void>((resolve) => {
    const onData = (part: Buffer): void => {
      if (firstAt === null && part.includes('data: ')) firstAt = performance.now();
      if (!part.includes('0\r\n\r\n')) return;
      socket.off('data', onData);
      resolve();
    };
    socket.on('data', onData);
  });
  const firstTokenMs = firstAt === null ? null : firstAt - epoch;
  const times = { intendedMs: at - epoch, firstTokenMs, endMs: performance.now() - epoch };
  return { index, ...times, chunks: 0, outcome: 'ok' };
}

function print(title: string, rows: readonly [string, readonly number[]][]): void {
  process.stdout.write(`${title}\n`);
  for (const [what, times] of rows) {
    const at = (share: number): string => percentile(times, share).toFixed(3);
    process.stdout.write(`  ${what.padEnd(50)} p50 ${at(0.5)}  p95 ${at(0.95)} ms\n`);
  }
}

function printRate({ records, health }: Measured): void {
  const tokens = records.reduce((sum, { chunks }) => sum + chunks, 0);
  const bad = records.filter(({ outcome }) => outcome !== 'ok').length;
  const seconds = Math.max(...records.map(({ endMs }) => endMs)) / 1000;
  const share = (100 * health.cpuMs) / health.wallMs;
  process.stdout.write(
    `${tokens} tokens in ${seconds.toFixed(1)} s: ${Math.round(tokens / seconds)} tokens per second, ` +
      `${bad} errors; the client took ${share.toFixed(0)} % of a processor, ` +
      `${((1000 * health.cpuMs) / tokens).toFixed(1)} µs for each token\n` +
      `  parsing p99 ${health.parseMs.p99} ms, event loop p99 ${health.loopMs.p99} ms; ` +
      `${health.bottleneck ? health.reasons.join('; ') : 'not the bottleneck'}\n`,
  );
}

if (process.env[PORT_VARIABLE] === undefined) await measure();
else serve();
