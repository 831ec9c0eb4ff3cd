/**
 * What coming and going costs: the first token of a host that was killed and of a model that is
 * loaded on demand, both with the file in the page cache; and how fast the system has an unloaded
 * host's bytes back.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { manage, poolModel, postJson, type Served, serveYaml, until } from './lib/admin.ts';
import { benchOptions, machine, markdownTable, printResult, progress } from './lib/options.ts';
import { memoryUse } from './lib/processes.ts';
import { formatValues } from './lib/stats.ts';
import { temporaryFolder } from './lib/temporary.ts';

const options = benchOptions({
  name: 'residency',
  what: 'restarts, loads on demand and unloads of one model',
  modelless: true,
  more: {
    reference: ['synthetic:smollm2-360m@q8_0', 'the model'],
    context: ['2048', 'tokens of context'],
    home: ['', 'folder that keeps the synthetic file (default: a temporary one)'],
  },
});
const home = options.more.home || temporaryFolder();
const SETTLE_MS = 300;
const LIMIT_MS = 60_000;

interface Round {
  readonly restartMs: number;
  readonly loadMs: number;
  readonly heldBytes: number;
  /** Of the host, this long after the order to unload; 0 = it is gone. */
  readonly left: readonly { readonly atMs: number; readonly bytes: number }[];
  readonly unloadMs: number;
}

async function firstToken(url: string): Promise<boolean> {
  const body = { model: 'm', prompt: 'a b c', max_tokens: 1, temperature: 0, ignore_eos: true };
  const reply = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  await reply.arrayBuffer();
  return reply.ok;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** From the kill of the host to the first token of the next one, asked for all the time. */
async function restart(url: string): Promise<number> {
  const { pid } = await poolModel(url, 'm');
  return timed(async () => {
    process.kill(pid ?? 0, 'SIGKILL');
    await until(async () => ((await firstToken(url)) ? true : null), LIMIT_MS);
  });
}

/** Bytes of a process; 0 when it is gone. */
function bytesOf(pid: number): number {
  try {
    return memoryUse(pid).pssBytes;
  } catch (error) {
    if (error instanceof Error) return 0;
    throw error;
  }
}

async function unload(url: string): Promise<Pick<Round, 'heldBytes' | 'left' | 'unloadMs'>> {
  const { pid } = await poolModel(url, 'm');
  const heldBytes = bytesOf(pid ?? 0);
  const from = performance.now();
  const ordered = manage(url, 'm', 'unload').then(() => performance.now() - from);
  const left: Round['left'][number][] = [];
  await until(async () => {
    const bytes = bytesOf(pid ?? 0);
    left.push({ atMs: performance.now() - from, bytes });
    return bytes === 0 ? true : null;
  }, LIMIT_MS);
  return { heldBytes, left, unloadMs: await ordered };
}

async function round(server: Served): Promise<Round> {
  const { url } = server;
  const restartMs = await restart(url);
  await delay(SETTLE_MS);
  const gone = await unload(url);
  await delay(SETTLE_MS);
  const loadMs = await timed(() => firstToken(url));
  await delay(SETTLE_MS);
  return { restartMs, loadMs, ...gone };
}

const yaml =
  `models:\n  - {model: "${options.more.reference}", id: m, context: ${options.more.context}, ` +
  `engine: {threads: ${options.threads}}}\n`;
const server = await serveYaml(yaml, home);
const rounds: Round[] = [];
try {
  await postJson(`${server.url}/v1/completions`, { model: 'm', prompt: 'a', max_tokens: 1 });
  for (let repetition = 1; repetition <= options.repetitions; repetition++) {
    progress(`round ${repetition} of ${options.repetitions}`);
    rounds.push(await round(server));
  }
} finally {
  await server.stop();
}

const goneMs = rounds.map(({ left }) => left.at(-1)?.atMs ?? Number.NaN);
const kernel = execFileSync('uname', ['-sr'], { encoding: 'utf8' }).trim();
printResult(
  options,
  {
    title: 'Coming and going of one model',
    facts: [
      `${machine()}, ${kernel}, ${options.threads} engine threads`,
      `${options.more.reference}, ${options.more.context} tokens of context × 4`,
      'the file is in the page cache; time is a client’s, over HTTP',
    ],
    table: markdownTable(
      ['what', 'median [range]'],
      [
        ['kill of the host to the first token, ms', formatValues(rounds.map((r) => r.restartMs))],
        ['request of an unloaded model, ms', formatValues(rounds.map((r) => r.loadMs))],
        ['bytes of the host before, MB', formatValues(rounds.map((r) => r.heldBytes / 1e6))],
        ['unload until no byte is counted, ms', formatValues(goneMs)],
        ['unload until it is answered, ms', formatValues(rounds.map((r) => r.unloadMs))],
      ],
    ),
  },
  rounds,
);
