/**
 * Many concurrent streaming connections on the simulated engine: failures, time to first token, and
 * the memory of the front process and of the host before, during and after, over several rounds: a
 * server that leaks grows from round to round. A part of the clients may leave in mid-stream, and a
 * part may not read at all.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { runStream, type StreamRun, ttftMs } from './lib/load.ts';
import {
  benchOptions,
  machine,
  markdownTable,
  printResult,
  progress,
  wholeNumber,
} from './lib/options.ts';
import { descendants, memoryUse } from './lib/processes.ts';
import { type RunningServer, startServer } from './lib/servers.ts';
import { percentile } from './lib/stats.ts';

const options = benchOptions({
  name: 'streams',
  what: 'many concurrent streams on the simulated engine',
  modelless: true,
  more: {
    connections: ['1000', 'streams at the same time'],
    generate: ['64', 'tokens of each stream'],
    sim: ['sim:fixed_ms=20', 'reference of the simulated engine'],
    leave: ['0', 'per cent of the clients that leave after their first bytes'],
    deaf: ['0', 'per cent of the clients that send their request and never read'],
  },
});
const connections = wholeNumber(options.more.connections, '--connections');
const generated = wholeNumber(options.more.generate, '--generate');
const leavePercent = percentOf(options.more.leave, '--leave');
const deafPercent = percentOf(options.more.deaf, '--deaf');
const reference = options.more.sim ?? 'sim:';

function percentOf(text: string | undefined, flag: string): number {
  return text === '0' ? 0 : wholeNumber(text, flag);
}

const PARALLEL_MAX = 256;
const SAMPLE_MS = 250;
/** Sockets are kept alive and garbage is collected after a round; this long is waited. */
const SETTLE_MS = 5000;

interface Round {
  readonly failures: readonly string[];
  readonly wrongLengths: number;
  readonly left: number;
  readonly deaf: number;
  readonly ttftP50Ms: number;
  readonly ttftP95Ms: number;
  readonly seconds: number;
  readonly frontBytes: { readonly before: number; readonly peak: number; readonly after: number };
  readonly hostAfterBytes: number;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const frontBytes = (server: RunningServer): number => memoryUse(server.pid).pssBytes;

async function round(server: RunningServer, number: number): Promise<Round> {
  const before = frontBytes(server);
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, frontBytes(server));
  }, SAMPLE_MS);
  const from = performance.now();
  const deaf = Array.from({ length: share(deafPercent) }, (_, i) =>
    deafClient(server.url, prompt(number, connections - 1 - i)),
  );
  const ends = await Promise.allSettled(
    Array.from({ length: connections - deaf.length }, (_, i) =>
      i < share(leavePercent) ? leaver(server.url, prompt(number, i)) : stayer(server, number, i),
    ),
  );
  const seconds = (performance.now() - from) / 1000;
  for (const socket of deaf) socket.destroy();
  clearInterval(sampler);
  await delay(SETTLE_MS);
  const runs = ends.flatMap((end): StreamRun[] =>
    end.status === 'fulfilled' && end.value !== 'left' ? [end.value] : [],
  );
  const failed = ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : []));
  const times = runs.map(ttftMs);
  const hosts = descendants(server.pid).map((pid) => memoryUse(pid).pssBytes);
  return {
    failures: failed,
    wrongLengths: runs.filter((run) => run.completionTokens !== generated).length,
    left: ends.length - runs.length - failed.length,
    deaf: deaf.length,
    ttftP50Ms: percentile(times, 0.5),
    ttftP95Ms: percentile(times, 0.95),
    seconds,
    frontBytes: { before, peak, after: frontBytes(server) },
    hostAfterBytes: hosts.reduce((sum, bytes) => sum + bytes, 0),
  };
}

const share = (percent: number): number => Math.floor((connections * percent) / 100);

const stayer = (server: RunningServer, number: number, connection: number): Promise<StreamRun> =>
  runStream(server.url, { prompt: prompt(number, connection), maxTokens: generated });

/** Leaves as soon as it has read something; resolves when its connection is closed. */
function leaver(url: string, tokens: number[]): Promise<'left'> {
  const socket = rawClient(url, tokens);
  socket.once('data', () => socket.destroy());
  return new Promise((resolve) => socket.once('close', () => resolve('left')));
}

/** Its reply fills the buffers between here and there, then the server's own. */
function deafClient(url: string, tokens: number[]): Socket {
  const socket = rawClient(url, tokens);
  socket.pause();
  return socket;
}

function rawClient(url: string, tokens: number[]): Socket {
  const { hostname, port } = new URL(url);
  const body = JSON.stringify({ prompt: tokens, max_tokens: generated, stream: true });
  const socket = connect({ port: Number(port), host: hostname });
  socket.on('error', () => socket.destroy());
  socket.write(
    `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  return socket;
}

/** Distinct from its first token on, so that nothing is shared. */
function prompt(number: number, connection: number): number[] {
  const first = 300 + ((number * connections + connection) % 3000);
  return Array.from({ length: 16 }, (_, i) => 300 + ((first * 7 + i * 13) % 3500));
}

const server = await startServer('plenum', options, {
  reference,
  contextTokens: 512,
  parallel: Math.min(connections, PARALLEL_MAX),
  plenumFlags: ['--queue-max', String(connections), '--wait-ms-max', '600000'],
});
const rounds: Round[] = [];
try {
  for (let number = 1; number <= options.repetitions; number++) {
    progress(`round ${number} of ${options.repetitions}`);
    const result = await round(server, number);
    rounds.push(result);
    progress(`  front ${megabytes(result.frontBytes.after)} MB after it`);
  }
} finally {
  await server.stop();
}

const failures = rounds.flatMap((result) => result.failures);
printResult(
  options,
  {
    title: `${connections} concurrent streams on ${reference}`,
    facts: [
      `${generated} tokens each, ${Math.min(connections, PARALLEL_MAX)} decoding at a time`,
      machine(),
      failures.length === 0 ? 'no failure' : `first failure: ${failures[0]}`,
    ],
    table: markdownTable(
      [
        'round',
        'failures',
        'wrong length',
        'left',
        'deaf',
        'seconds',
        'TTFT p50, ms',
        'p95, ms',
        'front before, MB',
        'peak',
        'after',
        'host after',
      ],
      rounds.map((result, i) => [
        String(i + 1),
        String(result.failures.length),
        String(result.wrongLengths),
        String(result.left),
        String(result.deaf),
        result.seconds.toFixed(1),
        result.ttftP50Ms.toFixed(0),
        result.ttftP95Ms.toFixed(0),
        megabytes(result.frontBytes.before),
        megabytes(result.frontBytes.peak),
        megabytes(result.frontBytes.after),
        megabytes(result.hostAfterBytes),
      ]),
    ),
  },
  rounds,
);
process.exitCode = failures.length === 0 ? 0 : 1;
