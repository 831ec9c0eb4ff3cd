/**
 * Vectors over HTTP, against llama.cpp's server: embeddings of texts from many clients, and one
 * request that ranks many documents. Two figures: tokens per second by the clock, and processor
 * time per token of the server's processes, which does not change with what else the machine does.
 * `--model` is an encoder of the BERT family; without `--reranker` only embeddings are measured.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Prng } from '../src/base/prng.ts';
import { commonFacts, subjectsOf } from './lib/compare.ts';
import {
  type BenchOptions,
  benchOptions,
  markdownTable,
  printResult,
  progress,
  wholeNumber,
} from './lib/options.ts';
import { loadedKernels, peerEnvironment } from './lib/peer-libraries.ts';
import { descendants } from './lib/processes.ts';
import {
  type Command,
  freePort,
  launch,
  plenumEnvironment,
  type RunningServer,
  type ServerKind,
} from './lib/servers.ts';
import { formatValues, pairedRatios } from './lib/stats.ts';

const options = benchOptions({
  name: 'encode',
  what: 'embeddings of many clients, and ranking many documents in one request',
  more: {
    clients: ['16', 'clients, each with one request at a time'],
    requests: ['4', 'requests of each client'],
    words: ['254', 'words of a text; with [CLS] and [SEP] as many tokens and two'],
    reranker: ['', 'GGUF file of a reranker; none = it is not measured'],
    documents: ['100', 'documents of the one request'],
    'document-words': ['60', 'words of a document'],
  },
});
const more = (flag: string): number => wholeNumber(options.more[flag], `--${flag}`);

/** The peer's own default; an input may be as long. */
const CONTEXT_TOKENS = 512;
const CLOCK_TICKS_PER_SECOND = 100;
/** Each is one token of the vocabularies of BERT. */
const WORDS = (
  'time water people city house music river paper stone light night morning winter summer garden ' +
  'window table school church market king queen army ship train road bridge forest mountain ' +
  'island family brother sister mother father friend story letter book song dance game play work'
).split(' ');

interface Rate {
  readonly tokensPerSecond: number;
  readonly cpuMsPerKiloToken: number;
}

function commandOf(kind: ServerKind, model: string, port: number): Command {
  const threads = String(options.threads);
  if (kind === 'plenum') {
    const main = join(import.meta.dirname, '../src/cli/main.ts');
    const flags = ['--port', String(port), '--threads', threads, '--context', `${CONTEXT_TOKENS}`];
    const args = [main, 'serve', model, ...flags];
    return { file: process.execPath, args, ...plenumEnvironment() };
  }
  const { cwd, env } = peerEnvironment(options.peerKernels);
  const isRanking = model === options.more.reranker;
  const clients = isRanking ? 16 : more('clients');
  const args = ['-m', model, '--port', String(port), '--threads', threads];
  args.push('--threads-batch', threads, isRanking ? '--reranking' : '--embedding');
  args.push('-np', String(clients), '-c', String(CONTEXT_TOKENS * clients));
  return { file: options.llamaServer ?? '', args, cwd, env: { ...process.env, ...env } };
}

async function start(kind: ServerKind, model: string): Promise<RunningServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = await launch(commandOf(kind, model, port), url, kind);
  return { ...server, kernels: loadedKernels([server.pid, ...descendants(server.pid)]) };
}

async function post(server: RunningServer, path: string, body: unknown): Promise<number> {
  const response = await fetch(new URL(path, server.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${server.kind} ${path}: ${response.status} ${text}`);
  return JSON.parse(text).usage.total_tokens;
}

function words(count: number, seed: number): string {
  const prng = new Prng(seed);
  return Array.from({ length: count }, () => prng.pick(WORDS)).join(' ');
}

/** User and system time of a process and its children, in milliseconds. Linux. */
function cpuMs(pid: number): number {
  let ticks = 0;
  for (const one of [pid, ...descendants(pid)]) {
    const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return (ticks * 1000) / CLOCK_TICKS_PER_SECOND;
}

async function rated(server: RunningServer, work: () => Promise<number>): Promise<Rate> {
  const cpuBefore = cpuMs(server.pid);
  const from = performance.now();
  const tokens = await work();
  const ms = performance.now() - from;
  const cpu = cpuMs(server.pid) - cpuBefore;
  return { tokensPerSecond: (tokens / ms) * 1000, cpuMsPerKiloToken: (cpu / tokens) * 1000 };
}

function modelName(model: string): string {
  return basename(model).replace(/\.gguf$/i, '');
}

async function embed(server: RunningServer, repetition: number): Promise<Rate> {
  const model = modelName(options.model);
  const one = (seed: number): Promise<number> =>
    post(server, '/v1/embeddings', { model, input: words(more('words'), seed) });
  await one(0);
  const client = async (n: number): Promise<number> => {
    let tokens = 0;
    for (let i = 1; i <= more('requests'); i++) tokens += await one(repetition * 1e6 + n * 1e3 + i);
    return tokens;
  };
  return rated(server, async () => {
    const all = Array.from({ length: more('clients') }, (_, n) => client(n));
    return (await Promise.all(all)).reduce((a, b) => a + b, 0);
  });
}

async function rank(server: RunningServer, repetition: number): Promise<Rate> {
  const model = modelName(options.more.reranker ?? '');
  const documents = (count: number): string[] =>
    Array.from({ length: count }, (_, i) => words(more('document-words'), repetition * 1e4 + i));
  const query = words(8, repetition);
  await post(server, '/v1/rerank', { model, query, documents: documents(1) });
  return rated(server, () =>
    post(server, '/v1/rerank', { model, query, documents: documents(more('documents')) }),
  );
}

type Results = Record<ServerKind, Rate[]>;

async function compared(
  { repetitions }: BenchOptions,
  model: string,
  measure: (server: RunningServer, repetition: number) => Promise<Rate>,
): Promise<Results> {
  const results: Results = { plenum: [], 'llama-server': [] };
  const kinds = subjectsOf(options);
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    for (const kind of repetition % 2 === 1 ? kinds : kinds.toReversed()) {
      progress(`${kind}, ${basename(model)}, run ${repetition} of ${repetitions}`);
      const server = await start(kind, model);
      try {
        results[kind].push(await measure(server, repetition));
      } finally {
        await server.stop();
      }
    }
  }
  return results;
}

function rows(name: string, results: Results): string[][] {
  const values = (kind: ServerKind, pick: (rate: Rate) => number): number[] =>
    results[kind].map(pick);
  const row = (what: string, pick: (rate: Rate) => number, isCost: boolean): string[] => {
    const [own, peer] = [values('plenum', pick), values('llama-server', pick)];
    const ratios = isCost ? pairedRatios(peer, own) : pairedRatios(own, peer);
    return [`${name}, ${what}`, formatValues(own), formatValues(peer), formatValues(ratios, 2)];
  };
  return [
    row('tokens/s', (rate) => rate.tokensPerSecond, false),
    row('CPU ms per 1,000 tokens', (rate) => rate.cpuMsPerKiloToken, true),
  ];
}

const embedding = await compared(options, options.model, embed);
const { reranker = '' } = options.more;
const ranking = reranker === '' ? null : await compared(options, reranker, rank);
const table = [
  ...rows(`embeddings, ${more('clients')} clients`, embedding),
  ...(ranking === null ? [] : rows(`rerank, ${more('documents')} documents`, ranking)),
];
printResult(
  options,
  {
    title: 'Vectors',
    facts: [
      ...commonFacts(options, { contextTokens: CONTEXT_TOKENS, parallel: more('clients') }),
      'ratio: above 1 this server is faster, or takes less processor time',
    ],
    table: markdownTable(['what', 'plenum', 'llama-server', 'ratio'], table),
  },
  { embedding, ranking },
);
