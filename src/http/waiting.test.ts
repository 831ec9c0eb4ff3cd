/** What a client hears while its request waits, and what ends when nobody behind ends it. */
import OpenAI from 'openai';
import { afterEach, expect, test } from 'vitest';
import {
  accepted,
  delta,
  FixtureBackend,
  FixtureGeneration,
  finished,
  fixtureFamily,
  helloWorld,
  refusal,
  started,
} from './fixture-backend.ts';
import { type FixtureServerOptions, fixtureServer } from './fixture-server.ts';
import { KEEP_ALIVE } from './sse.ts';

const CHAT = '/v1/chat/completions';
const messages = [{ role: 'user' as const, content: 'hi' }];
const silent = () => new FixtureBackend({ script: () => undefined });
/** Far shorter than any machine takes to prefill, and long enough for a reply to be ready. */
const KEEP_ALIVE_MS = 100;

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});

async function open(options: FixtureServerOptions) {
  const limits = { streamKeepAliveMs: KEEP_ALIVE_MS, ...options.limits };
  const server = fixtureServer({ ...options, limits });
  const port = await server.listen();
  cleanup.push(() => server.app.close());
  const url = `http://127.0.0.1:${port}`;
  return {
    ...server,
    url,
    ask: async (body: object, path = CHAT) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
  };
}

/** Ends nothing when it is cancelled, as a process that hangs. */
class HungGeneration extends FixtureGeneration {
  override cancel(code: 'client_closed' | 'slow_reader'): void {
    this.cancels.push(code);
  }
}
class HungBackend extends FixtureBackend {
  override generate(request: ConstructorParameters<typeof FixtureGeneration>[0]) {
    const generation = new HungGeneration(request);
    this.generations.push(generation);
    this.script(generation);
    return generation;
  }
}

test('a stream that is accepted and waits is opened and kept alive by comments', async () => {
  const backend = silent();
  const server = await open({ backend });
  const pending = server.ask({ messages, stream: true });
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted());
  const reply = await pending;
  expect(reply.status).toBe(200);
  expect(reply.headers.get('content-type')).toContain('text/event-stream');
  let text = '';
  for await (const bytes of reply.body?.values() ?? []) {
    text += Buffer.from(bytes).toString();
    if (text === KEEP_ALIVE.repeat(3)) backend.generations[0]?.push(...helloWorld().slice(1));
  }
  expect(text.startsWith(KEEP_ALIVE.repeat(3))).toBe(true);
  expect(text.replaceAll(KEEP_ALIVE, '')).toMatch(/^data: \{.*Hello.*\[DONE\]\n\n$/s);
});

test('a pause in mid-stream is bridged as well', async () => {
  const backend = silent();
  const server = await open({ backend });
  const pending = server.ask({ messages, stream: true });
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted(), started(), delta('a'));
  let text = '';
  for await (const bytes of (await pending).body?.values() ?? []) {
    text += Buffer.from(bytes).toString();
    if (text.endsWith(KEEP_ALIVE)) backend.generations[0]?.push(finished());
  }
  expect(text).toMatch(/"content":"a".*: keep-alive.*\[DONE\]/s);
});

test('a refusal keeps its status while it is not known whether a request is accepted', async () => {
  const backend = silent();
  const server = await open({ backend, limits: { streamKeepAliveMs: 3_600_000 } });
  const pending = server.ask({ messages, stream: true });
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(refusal('queue_full', 4000));
  const reply = await pending;
  expect([reply.status, reply.headers.get('retry-after')]).toEqual([429, '4']);
});

test('where even that takes long, the stream opens, and a refusal is its last event', async () => {
  const backend = silent();
  const server = await open({ backend });
  const reply = await server.ask({ messages, stream: true });
  expect(reply.status).toBe(200);
  backend.generations[0]?.push(refusal('queue_full', 4000));
  expect((await reply.text()).replaceAll(KEEP_ALIVE, '')).toMatch(
    /^data: \{"error":.*"code":"queue_full"\}\}\n\n$/,
  );
  await expect.poll(() => server.lines.join('')).toContain('"outcome":"refused:queue_full"');
});

test('the official client skips the comments', async () => {
  const backend = silent();
  const server = await open({ backend });
  const openai = new OpenAI({ apiKey: 'x', baseURL: `${server.url}/v1`, maxRetries: 0 });
  const pending = openai.chat.completions.create({ model: 'tiny', messages, stream: true });
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted());
  const stream = await pending;
  backend.generations[0]?.push(started(), delta('Hello'));
  const texts: (string | null | undefined)[] = [];
  for await (const chunk of stream) {
    const text = chunk.choices[0]?.delta.content;
    if (text === 'Hello') {
      const alive = backend.generations[0];
      setTimeout(() => alive?.push(delta(' world'), finished()), KEEP_ALIVE_MS * 2);
    }
    texts.push(text);
  }
  expect(texts).toEqual(['', 'Hello', ' world', undefined]);
});

test.each([
  ['whole', false, 504],
  ['streamed, before it opens', true, 504],
])('a deadline ends a request whose host hangs: %s', async (_name, stream, status) => {
  const backend = new HungBackend({ script: () => undefined });
  const server = await open({ backend, limits: { streamKeepAliveMs: 3_600_000 } });
  const pending = server.ask({ messages, stream, deadline_ms: 20 });
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted(), started());
  const reply = await pending;
  expect(reply.status).toBe(status);
  expect(await reply.json()).toMatchObject({ error: { code: 'deadline_exceeded' } });
  expect(backend.generations[0]?.cancels).toEqual(['client_closed']);
  await expect.poll(() => server.lines.length).toBe(1);
  expect(server.lines[0]).toContain('"outcome":"expired:deadline_exceeded"');
});

test('a deadline in mid-stream is the last event, and what comes later is not heard', async () => {
  const backend = new HungBackend({ script: () => undefined });
  const server = await open({ backend });
  const pending = server.ask({ messages, stream: true, deadline_ms: 20 });
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted(), started(), delta('a'));
  const text = await (await pending).text();
  expect(text.replaceAll(KEEP_ALIVE, '')).toMatch(
    /"content":"a".*data: \{"error":.*"deadline_exceeded"\}\}\n\n$/s,
  );
  backend.generations[0]?.push(delta('late'), finished());
  const page = await (await fetch(`${server.url}/metrics`)).text();
  expect(page).toContain('outcome="expired:deadline_exceeded"} 1');
  expect(page).toMatch(/plenum_generated_tokens_total\{[^}]*\} 1\n/);
  expect(page).not.toContain('finished:');
});

test('a host that ends it within its last word is believed for its tokens', async () => {
  const backend = new FixtureBackend({ script: (one) => one.push(accepted(), started()) });
  const server = await open({ backend });
  const reply = await server.ask({ messages, deadline_ms: 20 });
  expect(reply.status).toBe(504);
  const page = await (await fetch(`${server.url}/metrics`)).text();
  expect(page).toMatch(/plenum_generated_tokens_total\{[^}]*\} 2\n/);
});

test.each([
  ['/v1/embeddings', { model: 'embedder', input: 'x' }],
  ['/v1/rerank', { model: 'ranker', query: 'x', documents: ['y'] }],
  ['/v1/moderations', { model: 'guard', input: 'x' }],
])('a deadline ends a request to an encoder that hangs: %s', async (path, body) => {
  const backend = new FixtureBackend({ models: fixtureFamily() });
  backend.encoding = () => new Promise(() => undefined);
  backend.judging = () => new Promise(() => undefined);
  const server = await open({ backend });
  const reply = await server.ask({ ...body, deadline_ms: 20 }, path);
  expect(reply.status).toBe(504);
  expect(await reply.json()).toMatchObject({ error: { code: 'deadline_exceeded' } });
  await expect.poll(() => server.lines.length).toBe(1);
  expect(server.lines[0]).toContain('"outcome":"expired:deadline_exceeded"');
});

test('a client of an encoder that hangs may leave, and that is how it ended', async () => {
  const backend = new FixtureBackend({ models: fixtureFamily() });
  backend.encoding = () => new Promise(() => undefined);
  const server = await open({ backend });
  const controller = new AbortController();
  const gone = fetch(`${server.url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'embedder', input: 'x' }),
    signal: controller.signal,
  });
  const failed = expect(gone).rejects.toThrow();
  await expect.poll(() => backend.encodes.length).toBe(1);
  controller.abort();
  await failed;
  await expect.poll(() => server.lines.join('')).toContain('"outcome":"cancelled:client_closed"');
});
