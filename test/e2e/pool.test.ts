/**
 * One server with a model of each class, every one of them under load, and the host of each killed
 * in turn: only its own requests fail, with a code; it is back, says what it said before, and the
 * ledger balances.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { writeTinyBert } from '../../src/engine/llama/encoder-fixture.ts';
import { type PoolBody, type PoolModelBody, poolSchema } from '../../src/wire/admin.ts';
import {
  configuration,
  startServer,
  stopAll,
  type TestServer,
  temporaryFolder,
  until,
  untilIdle,
} from './server.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const LABELS = ['safe', 'spam', 'threat'];
const CLIENTS_EACH = 2;
/**
 * Of such lengths that the scores of this random reranker are far enough apart: what a document
 * gets in a batch and alone differs by up to 0.0002, by the processor's kernels.
 */
const DOCUMENTS = ['a river', 'stone '.repeat(8), 'sea '.repeat(30), 'bread', 'rain '.repeat(60)];
const words = (count: number): string => 'of rivers and stones '.repeat(count / 4);

/** What is asked of each model under load: work for some tens of milliseconds. */
const LOAD = {
  chat: {
    path: '/v1/chat/completions',
    body: {
      messages: [{ role: 'user', content: 'on and on' }],
      max_completion_tokens: 200,
      ignore_eos: true,
    },
  },
  embedder: { path: '/v1/embeddings', body: { input: Array(32).fill(words(40)) } },
  ranker: { path: '/v1/rerank', body: { query: 'water', documents: Array(32).fill(words(40)) } },
  judge: { path: '/v1/moderations', body: { input: Array(32).fill(words(40)) } },
} as const;
type Id = keyof typeof LOAD;
const IDS = Object.keys(LOAD) as readonly Id[];
/** How a request may end whose host was killed, or is not back. */
const OF_A_DEAD_HOST = ['host_crashed', 'model_unavailable', 'model_loading'];

let server: TestServer;
beforeAll(async () => {
  const folder = await temporaryFolder();
  const [ranker, judge] = [join(folder, 'ranker.gguf'), join(folder, 'judge.gguf')];
  await Promise.all([writeTinyBert(ranker, []), writeTinyBert(judge, LABELS)]);
  const models = [
    { id: 'chat', model: 'synthetic:tiny', context: 1024, parallel: CLIENTS_EACH },
    { id: 'embedder', model: 'synthetic:tiny-bert', class: 'embed' },
    { id: 'ranker', model: ranker, class: 'rerank' },
    { id: 'judge', model: judge, class: 'guard' },
  ];
  const pool = { memory: '2GB', floors: { embed: '150MB', guard: '150MB' } };
  // JSON is YAML.
  const text = JSON.stringify({ pool, defaults: { engine: { threads: 1 } }, models });
  server = await startServer(await configuration(text));
});
afterAll(stopAll);

const pool = async (): Promise<PoolBody> =>
  poolSchema.parse(await (await fetch(`${server.url}/admin/pool`)).json());

async function member(id: Id): Promise<PoolModelBody> {
  const found = (await pool()).models.find((model) => model.id === id);
  if (found === undefined) throw new Error(`${id} is not in the pool`);
  return found;
}

/** `200`, or the code of the error. */
async function asked(id: Id): Promise<string> {
  const { path, body } = LOAD[id];
  const reply = await server.post(path, { model: id, ...body });
  const json = (await reply.json()) as { error?: { code?: string } };
  return reply.status === 200 ? '200' : (json.error?.code ?? `status ${reply.status}`);
}

/** Clients that ask without a pause, each model's own, and how their requests ended. */
class Load {
  readonly ends: Record<Id, string[]> = { chat: [], embedder: [], ranker: [], judge: [] };
  #goesOn = true;
  readonly #clients: readonly Promise<void>[];

  constructor() {
    this.#clients = IDS.flatMap((id) =>
      Array.from({ length: CLIENTS_EACH }, () => this.#client(id)),
    );
  }

  /** Ends from now on, and not those so far. */
  mark(): void {
    for (const id of IDS) this.ends[id] = [];
  }

  served(id: Id): boolean {
    return this.ends[id].includes('200');
  }

  async stop(): Promise<void> {
    this.#goesOn = false;
    await Promise.all(this.#clients);
  }

  async #client(id: Id): Promise<void> {
    while (this.#goesOn) {
      const end = await asked(id);
      // Looked up afterwards: a mark may have come meanwhile.
      this.ends[id].push(end);
    }
  }
}

/** The same each time: a fixed set of documents in their order, a text's classes. */
async function fixedAnswers(): Promise<unknown> {
  const post = async (path: string, body: unknown): Promise<unknown> => {
    const reply = await server.post(path, body);
    expect(reply.status).toBe(200);
    return reply.json();
  };
  const ranking = (await post('/v1/rerank', {
    model: 'ranker',
    query: 'water',
    documents: DOCUMENTS,
  })) as { results: { index: number; relevance_score: number }[] };
  const alone: { index: number; score: number }[] = [];
  for (const [index, document] of DOCUMENTS.entries()) {
    const body = { model: 'ranker', query: 'water', documents: [document] };
    const { results } = (await post('/v1/rerank', body)) as typeof ranking;
    alone.push({ index, score: results[0]?.relevance_score ?? Number.NaN });
  }
  const order = alone.toSorted((a, b) => b.score - a.score).map(({ index }) => index);
  expect(ranking.results.map(({ index }) => index)).toEqual(order);
  const judged = (await post('/v1/moderations', { model: 'judge', input: words(8) })) as {
    results: { category_scores: Record<string, number> }[];
  };
  const scores = judged.results[0]?.category_scores ?? {};
  // The label of harmless text is no category.
  expect(Object.keys(scores)).toEqual(LABELS.slice(1));
  return { order, scores };
}

/** Kills its host under load, and sees only its own requests fail and it serve again. */
async function killed(victim: Id, load: Load): Promise<void> {
  await until('all serve', server.launched, () => IDS.every((id) => load.served(id)));
  const { pid, restarts } = await member(victim);
  load.mark();
  process.kill(pid ?? 0, 'SIGKILL');
  await until(`${victim} has failed and serves again`, server.launched, async () => {
    const now = await member(victim);
    const ends = load.ends[victim];
    const failure = ends.findIndex((end) => end !== '200');
    const isBack = now.restarts === restarts + 1 && now.pid !== null;
    return isBack && failure >= 0 && ends.slice(failure).includes('200');
  });
  for (const id of IDS) {
    const failed = load.ends[id].filter((end) => end !== '200');
    if (id === victim) expect(OF_A_DEAD_HOST).toEqual(expect.arrayContaining(failed));
    else expect(failed, `${id}, while ${victim} was killed`).toEqual([]);
  }
  load.mark();
}

it('the host of each model is killed under load, and only its own requests fail', async () => {
  const before = await fixedAnswers();
  const load = new Load();
  try {
    for (const victim of IDS) await killed(victim, load);
  } finally {
    await load.stop();
  }
  expect(IDS.map((id) => load.ends[id].filter((end) => end !== '200'))).toEqual([[], [], [], []]);
  expect(await fixedAnswers()).toEqual(before);
});

it('and afterwards the ledger balances and nothing is held', async () => {
  await untilIdle(server);
  const { models, reserved_bytes, available_bytes } = await pool();
  const sum = models.reduce((total, { needed_bytes }) => total + needed_bytes, 0);
  expect(reserved_bytes).toBe(sum);
  expect(reserved_bytes).toBeLessThanOrEqual(available_bytes);
  for (const model of models) {
    expect(model).toMatchObject({ state: 'resident', in_use: 0, waiting: 0, restarts: 1 });
  }
});
