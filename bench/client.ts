/**
 * What the measuring client of `plenum bench` costs: how much later a first token is recorded by it
 * than by bare sockets in the same rounds, and how many tokens per second it takes on one
 * processor, from a server that does nothing but write chunks or, with --sim, from this project's
 * own on its simulated engine.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defined } from '../src/base/assert.ts';
import type { Call } from '../src/bench/client/call.ts';
import { REQUEST_LIMITS } from '../src/bench/client/limits.ts';
import { ClientMeter } from '../src/bench/client/meter.ts';
import { TargetClient } from '../src/bench/client/target-client.ts';
import { waitUntil } from '../src/bench/load/wait.ts';
import type { ClientHealth, RequestRecord } from '../src/bench/result.ts';
import { freePort, launch, plenumEnvironment } from './lib/servers.ts';
import { formatValues, median, percentile } from './lib/stats.ts';
import {
  clockMs,
  startTokenServer,
  type TokenServer,
  type TokensAsk,
  type Wrote,
} from './lib/token-server.ts';

const HELP = `node bench/client.ts: what the client of plenum bench costs
  --streams N   streams at the same time (64)
  --rounds N    rounds of first tokens, each once by the client and once by bare sockets (10)
  --rate N      tokens per second that are offered (20000)
  --seconds N   for so long (10)
  --sim N       take them from N servers of this project on the simulated engine
                (0: from a server that only writes)
`;

/** Requests leave so far apart, while the ones before them stream. */
const GAP_MS = 2;
/** What streams while first tokens are measured: so many tokens at so many per second. */
const FIRST_ASK = { tokens: 40, ticksPerSecond: 20 };
const WARM_ASK = { tokens: 200, ticksPerSecond: 100 };

const { values } = parseArgs({
  options: {
    streams: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '10' },
    rate: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '10' },
    sim: { type: 'string', default: '0' },
    help: { type: 'boolean', default: false },
  },
});
const streams = Number(values.streams);

const clientOf = (url: string): TargetClient =>
  new TargetClient({ url, apiKey: null, limits: REQUEST_LIMITS });

async function main(): Promise<void> {
  const ticksPerSecond = Number(values.rate) / streams;
  const ask = { tokens: Math.round(Number(values.seconds) * ticksPerSecond), ticksPerSecond };
  const fronts = Number(values.sim);
  if (fronts > 0) {
    await fromSim(fronts, ask);
    return;
  }
  const server = await startTokenServer();
  const client = clientOf(`http://127.0.0.1:${server.port}`);
  await byClient(client, server, WARM_ASK);
  await firstTokens(client, server);
  const { records, health } = await byClient(client, server, ask);
  printRate('a server that only writes', records, health);
  client.close();
  server.child.disconnect();
}

async function firstTokens(client: TargetClient, server: TokenServer): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: streams }, () => bareSocket(server.port)));
  await byBare(sockets, server, WARM_ASK);
  const [added, bare]: [Delays[], Delays[]] = [[], []];
  for (let i = 0; i < Number(values.rounds); i++) {
    const both = [
      async () => added.push((await byClient(client, server, FIRST_ASK)).delays),
      async () => bare.push((await byBare(sockets, server, FIRST_ASK)).delays),
    ];
    for (const one of i % 2 === 0 ? both : both.toReversed()) await one();
  }
  for (const socket of sockets) socket.destroy();
  print(`first token with ${streams} streams, in each of ${added.length} rounds`, [
    ['client: intended moment to the server', added.flatMap(({ out }) => out)],
    ['client: server’s write to the record', added.flatMap(({ back }) => back)],
    ['bare sockets: intended moment to the server', bare.flatMap(({ out }) => out)],
    ['bare sockets: server’s write to the record', bare.flatMap(({ back }) => back)],
  ]);
  const middle = ({ out, back }: Delays): number =>
    median(out.map((one, k) => one + (back[k] ?? 0)));
  const differences = added.map((one, i) => middle(one) - middle(defined(bare[i], 'its pair')));
  process.stdout.write(
    `the client adds ${formatValues(differences, 3)} ms to a first token: its median less the ` +
      'bare sockets’, median and range of the rounds\n',
  );
}

interface Delays {
  readonly out: number[];
  readonly back: number[];
}

type Timed = Pick<RequestRecord, 'index' | 'intendedMs' | 'firstTokenMs'>;

/** Times of each request against what the server says of it. */
async function delaysOf<T extends Timed>(
  { child }: TokenServer,
  send: (epoch: number) => Promise<readonly T[]>,
): Promise<{ readonly records: readonly T[]; readonly delays: Delays }> {
  const wrote = new Map<string, Wrote>();
  const onMessage = (message: Wrote): void => {
    wrote.set(message.path, message);
  };
  child.on('message', onMessage);
  const epoch = performance.now();
  const epochClock = clockMs();
  const records = await send(epoch);
  child.off('message', onMessage);
  const delays: Delays = { out: [], back: [] };
  for (const { index, intendedMs, firstTokenMs } of records) {
    const other = wrote.get(`/${index}`);
    if (other === undefined || firstTokenMs === null) continue;
    delays.out.push(other.arrivedAt - (epochClock + intendedMs));
    delays.back.push(epochClock + firstTokenMs - other.wroteAt);
  }
  return { records, delays };
}

async function byClient(client: TargetClient, server: TokenServer, ask: TokensAsk) {
  const meter = new ClientMeter();
  const measured = await delaysOf(server, (epoch) => {
    client.begin(epoch, meter);
    return Promise.all(
      Array.from({ length: streams }, (_, index) =>
        sendAt(client, { index, path: `/${index}`, body: JSON.stringify(ask) }, { epoch, ask }),
      ),
    );
  });
  return { ...measured, health: meter.stop() };
}

const byBare = (sockets: readonly Socket[], server: TokenServer, ask: TokensAsk) =>
  delaysOf(server, (epoch) =>
    Promise.all(sockets.map((socket, index) => sendBare(socket, ask, { index, epoch }))),
  );

/** The first leaves a little after the epoch, the others after it. */
const timeOf = (epoch: number, index: number): number => epoch + 50 + index * GAP_MS;

async function sendAt(
  client: TargetClient,
  what: Pick<Call, 'index' | 'path' | 'body'>,
  { epoch, ask }: { readonly epoch: number; readonly ask: TokensAsk },
): Promise<RequestRecord> {
  const at = timeOf(epoch, what.index);
  const call: Call = {
    ...{ ...what, kind: 'chat', conversation: null, turn: null, items: 0 },
    outputTokensMax: ask.tokens,
  };
  await waitUntil(at, new AbortController().signal);
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
  ask: TokensAsk,
  { index, epoch }: { readonly index: number; readonly epoch: number },
): Promise<Timed> {
  const at = timeOf(epoch, index);
  const body = JSON.stringify(ask);
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
  return { index, intendedMs: at - epoch, firstTokenMs: firstAt === null ? null : firstAt - epoch };
}

/** Every server has its share of the streams, and steps fast enough to give the rate together. */
async function fromSim(fronts: number, ask: TokensAsk): Promise<void> {
  const parallel = Math.ceil(streams / fronts);
  const fixedMs = (1000 / ask.ticksPerSecond).toFixed(2);
  const servers = await Promise.all(
    Array.from({ length: fronts }, async () => {
      const port = await freePort();
      const main = join(import.meta.dirname, '../src/cli/main.ts');
      const args = [
        ...['--max-semi-space-size=4', main, 'serve', `sim:fixed_ms=${fixedMs},per_token_ms=0`],
        ...['--port', String(port), '--parallel', String(parallel)],
        ...['--context', String(ask.tokens + 64)],
      ];
      const command = { file: process.execPath, args, ...plenumEnvironment() };
      return launch(command, `http://127.0.0.1:${port}`, 'plenum');
    }),
  );
  const clients = servers.map(({ url }) => clientOf(url));
  const once = async (tokens: number) => {
    const body = JSON.stringify({
      ...{ model: 'sim', messages: [{ role: 'user', content: 'Go on.' }], max_tokens: tokens },
      ...{ ignore_eos: true, stream: true, stream_options: { include_usage: true } },
    });
    const meter = new ClientMeter();
    const epoch = performance.now();
    for (const client of clients) client.begin(epoch, meter);
    const records = await Promise.all(
      Array.from({ length: streams }, (_, index) => {
        const client = defined(clients[index % fronts], 'a client');
        const what = { index, path: '/v1/chat/completions', body };
        return sendAt(client, what, { epoch, ask });
      }),
    );
    return { records, health: meter.stop() };
  };
  await once(100);
  const { records, health } = await once(ask.tokens);
  printRate(`${fronts} servers on the simulated engine, ${fixedMs} ms a step`, records, health);
  for (const client of clients) client.close();
  await Promise.all(servers.map((server) => server.stop()));
}

function print(title: string, rows: readonly [string, readonly number[]][]): void {
  process.stdout.write(`${title}\n`);
  for (const [what, times] of rows) {
    const at = (share: number): string => percentile(times, share).toFixed(3);
    process.stdout.write(`  ${what.padEnd(46)} p50 ${at(0.5)}  p95 ${at(0.95)} ms\n`);
  }
}

/** Tokens per second while every stream ran: from the last first token to the first end. */
function rateOf(records: readonly RequestRecord[]): number {
  const from = Math.max(...records.map(({ firstTokenMs }) => firstTokenMs ?? Number.NaN));
  const to = Math.min(...records.map(({ endMs }) => endMs));
  let tokens = 0;
  for (const { firstTokenMs, gapsMs, outputTokens, chunks } of records) {
    // A piece may hold several tokens, by the usage that the server gives.
    const each = (outputTokens ?? chunks) / chunks;
    let at = firstTokenMs ?? 0;
    for (const gap of gapsMs ?? []) {
      at += gap;
      if (at > from && at <= to) tokens += each;
    }
  }
  return (1000 * tokens) / (to - from);
}

function printRate(from: string, records: readonly RequestRecord[], health: ClientHealth): void {
  const tokens = records.reduce((sum, { outputTokens }) => sum + (outputTokens ?? 0), 0);
  const pieces = records.reduce((sum, { chunks }) => sum + chunks, 0);
  const bad = records.filter(({ outcome }) => outcome !== 'ok');
  const each = (1000 * health.cpuMs) / pieces;
  process.stdout.write(
    `${tokens} tokens in ${pieces} pieces from ${from}: ${values.rate} a second were offered, ` +
      `${Math.round(rateOf(records))} came while all streams ran; ${bad.length} errors\n` +
      `  the client took ${((100 * health.cpuMs) / health.wallMs).toFixed(0)} % of a processor, ` +
      `${each.toFixed(1)} µs for each piece, ` +
      `so that one processor takes ${Math.round(1e6 / each)}\n` +
      `  parsing p99 ${health.parseMs.p99} ms, event loop p99 ${health.loopMs.p99} ms; ` +
      `${health.bottleneck ? health.reasons.join('; ') : 'not the bottleneck'}\n`,
  );
  for (const { error } of bad.slice(0, 3)) process.stdout.write(`  ${error?.message}\n`);
}

if (values.help) process.stdout.write(HELP);
else await main();
