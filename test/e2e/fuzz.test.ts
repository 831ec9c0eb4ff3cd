/** Hostile and careless clients against the real command on the simulated engine. */
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { HTTP_DEFAULTS } from '../../src/http/config.ts';
import { chatRequestSchema } from '../../src/wire/openai-chat.ts';
import { completionRequestSchema } from '../../src/wire/openai-completion.ts';
import { errorBodySchema } from '../../src/wire/openai-error.ts';
import {
  configuration,
  isAlive,
  startServer,
  stopAll,
  type TestServer,
  untilIdle,
} from './server.ts';

vi.setConfig({ testTimeout: 60_000 });
const POLL = { timeout: 30_000, interval: 20 };
const BODY_BYTES_MAX = 1 << 20;
const CONTEXT = 16_384;
const CHAT = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'of the people' }];
let server: TestServer;

beforeAll(async () => {
  const yaml = `
server:
  limits:
    body_bytes_max: ${BODY_BYTES_MAX}
    stream_buffer_bytes_max: 65536
    request_header_timeout_ms: 400
    body_timeout_ms: 800
models:
  - { model: "sim:fixed_ms=0.2,per_token_ms=0", context: ${CONTEXT}, parallel: 16 }
`;
  server = await startServer(await configuration(yaml));
});
afterAll(stopAll);

/** A connection that keeps what it received. */
function dial(): { socket: Socket; received: () => string; closed: () => boolean } {
  const socket = connect(server.port, '127.0.0.1');
  const state = { text: '', closed: false };
  socket.setEncoding('utf8').on('data', (chunk) => {
    state.text += chunk;
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    state.closed = true;
  });
  onTestFinished(() => {
    socket.destroy();
  });
  return { socket, received: () => state.text, closed: () => state.closed };
}

function rawPost(body: object): string {
  const text = JSON.stringify(body);
  const length = Buffer.byteLength(text);
  const head = `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json`;
  return `${head}\r\ncontent-length: ${length}\r\n\r\n${text}`;
}

/** The server answers others, and its only host is the first one still. */
async function expectUnharmed(): Promise<void> {
  const reply = await server.post(CHAT, { messages, max_tokens: 2 });
  expect(reply.status).toBe(200);
  expect(server.launched.hostPids().filter(isAlive).length).toBe(1);
  expect(server.launched.log('host died')).toEqual([]);
  expect(server.launched.log('internal error')).toEqual([]);
}

/** 200, or one refusal in the one shape; never a fault of ours. */
async function expectOrderly(path: string, body: string): Promise<void> {
  const reply = await server.post(path, body);
  const text = await reply.text();
  // A deadline that the request itself set may pass on a busy machine: 504, or an event.
  const expired = body.includes('"deadline_ms"') && text.includes('"code":"deadline_exceeded"');
  if (reply.status === 200) {
    if (!expired) expect(text).not.toContain('data: {"error"');
    return;
  }
  if (expired) {
    expect(reply.status, text).toBe(504);
  } else {
    expect(reply.status, text).toBeGreaterThanOrEqual(400);
    expect(reply.status, text).toBeLessThan(500);
  }
  const { error } = errorBodySchema.parse(JSON.parse(text));
  expect(error.message.length).toBeLessThan(1000);
}

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const chat = (extra: string) =>
  `{"messages":[{"role":"user","content":"hi"}],"max_tokens":2,${extra}}`;

it.each([
  ['nothing', '', 400],
  ['half an object', '{"messages": [', 400],
  ['no JSON', 'model=starter', 400],
  ['a list', '[]', 400],
  ['100,000 levels', chat(`"user":${nested(100_000)}`), 400],
  ['100,000 stop strings', chat(`"stop":${JSON.stringify(Array(100_000).fill('a'))}`), 400],
  ['a lone surrogate', '{"messages":[{"role":"user","content":"a\\ud800b"}]}', 400],
  ['a lone surrogate as a stop string', chat('"stop":"\\udc00"'), 400],
  ['an unknown model', chat('"model":"nobody"'), 404],
  ['a model whose name is a path', chat('"model":"../../etc/passwd"'), 404],
  ['a number of no finite size', chat('"temperature":1e999'), 400],
  ['__proto__', chat('"__proto__":{"stream":true}'), 400],
  ['a body beyond the limit', chat(`"user":"${'x'.repeat(BODY_BYTES_MAX)}"`), 413],
])('%s is refused', async (_name, body, status) => {
  const reply = await server.post(CHAT, body);
  expect(reply.status).toBe(status);
  errorBodySchema.parse(await reply.json());
  await expectUnharmed();
});

it('a body without an announced length is cut off at the limit', async () => {
  const one = dial();
  const head = rawPost({}).replace(/content-length: .*/s, 'transfer-encoding: chunked\r\n\r\n');
  const chunk = `10000\r\n${' '.repeat(65_536)}\r\n`;
  one.socket.write(head + chunk.repeat((2 * BODY_BYTES_MAX) / 65_536));
  await expect.poll(one.received, POLL).toMatch(/^HTTP\/1\.1 413 /);
  await expect.poll(one.closed, POLL).toBe(true);
  await expectUnharmed();
});

const interesting = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, '', 'text', '\u0000', '\ud800', 'sim', -0, -1, 0),
  fc.constantFrom<unknown>(1, 2, 5, 16, 0.5, 1e-308, 1e308, 2 ** 31 - 1, 2 ** 31, 2 ** 53 - 1),
  fc.jsonValue({ maxDepth: 3 }),
  fc.array(fc.integer({ min: -2, max: 5000 }), { maxLength: 5 }),
  fc.dictionary(fc.integer({ min: 0, max: 5000 }).map(String), fc.double({ min: -120, max: 120 })),
);

it.each([
  [CHAT, { messages }, Object.keys(chatRequestSchema(HTTP_DEFAULTS.limits).shape)],
  [
    '/v1/completions',
    { prompt: 'of the' },
    Object.keys(completionRequestSchema(HTTP_DEFAULTS.limits).shape),
  ],
])('any fields of %s may be anything', async (path, good, fields) => {
  const changes = fc.dictionary(fc.constantFrom(...fields), interesting, {
    maxKeys: 4,
    minKeys: 1,
  });
  await fc.assert(
    fc.asyncProperty(changes, (change) =>
      expectOrderly(path, JSON.stringify({ ...good, max_tokens: 3, ...change })),
    ),
    { numRuns: 250 },
  );
  await expectUnharmed();
});

it('connections that never finish their request are closed, and do others no harm', async () => {
  const begun = [
    'POST /v1/chat/compl',
    `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\n`,
    rawPost({ messages }).slice(0, -5),
  ];
  const open = Array.from({ length: 60 }, (_, i) => {
    const one = dial();
    one.socket.write(begun[i % begun.length] ?? '');
    return one;
  });
  await expectUnharmed();
  await expect.poll(() => open.filter((one) => !one.closed()).length, POLL).toBe(0);
  for (const one of open) expect(one.received()).toMatch(/^HTTP\/1\.1 408 /);
});

it('what is no HTTP gets one refusal', async () => {
  const one = dial();
  one.socket.write('\u0016\u0003\u0001 hello\r\n\r\n');
  await expect.poll(one.closed, POLL).toBe(true);
  expect(one.received()).toMatch(/^HTTP\/1\.1 400 /);
});

it('pipelined requests are answered each, in order', async () => {
  const one = dial();
  const counts = Array.from({ length: 12 }, (_, i) => i + 1);
  const bodies = counts.map((max_tokens) => ({ messages, max_tokens, ignore_eos: true }));
  one.socket.write(bodies.map((body) => rawPost(body)).join(''));
  const replies = () => [...one.received().matchAll(/"completion_tokens":(\d+)/g)];
  await expect.poll(() => replies().length, POLL).toBe(counts.length);
  expect(replies().map(([, count]) => Number(count))).toEqual(counts);
});

it('a client that does not read is given up, within bounded memory, others unharmed', async () => {
  const residentBefore = await server.metric('plenum_process_resident_bytes', { process: 'front' });
  const body = { messages, stream: true, ignore_eos: true, logprobs: true, top_logprobs: 20 };
  const deaf = Array.from({ length: 3 }, () => {
    const one = dial();
    one.socket.pause();
    one.socket.write(rawPost({ ...body, temperature: 0, max_tokens: CONTEXT - 200 }));
    return one;
  });
  const slow = { outcome: 'cancelled:slow_reader' };
  const given = async (): Promise<number> => {
    const reply = await server.post(CHAT, { messages, max_tokens: 5 });
    expect(reply.status).toBe(200);
    return server.metric('plenum_requests_total', slow);
  };
  await expect.poll(given, POLL).toBe(deaf.length);
  const residentAfter = await server.metric('plenum_process_resident_bytes', { process: 'front' });
  // Each may leave 64 KiB unread here; what the streams would be in full is over 60 MB.
  expect(residentAfter - residentBefore).toBeLessThan(150e6);
  await untilIdle(server);
  await expectUnharmed();
});

const abortPlan = fc.record({
  words: fc.integer({ min: 1, max: 400 }),
  stream: fc.boolean(),
  n: fc.integer({ min: 1, max: 3 }),
  /** Chunks to read before leaving; null = leave after a while without reading. */
  chunks: fc.option(fc.integer({ min: 0, max: 30 })),
  turns: fc.integer({ min: 0, max: 40 }),
});

type AbortPlan = typeof abortPlan extends fc.Arbitrary<infer Plan> ? Plan : never;

async function runAndLeave(plan: AbortPlan): Promise<void> {
  const { words, stream, n, chunks, turns } = plan;
  const controller = new AbortController();
  const content = 'of the people '.repeat(words);
  const body = { messages: [{ role: 'user', content }], ignore_eos: true, max_tokens: 3000 };
  const work = async (): Promise<void> => {
    const { signal } = controller;
    const reply = await server.post(CHAT, { ...body, stream, n }, { signal });
    const reader = reply.body?.getReader();
    for (let read = 0; read < (chunks ?? 1000); read++) await reader?.read();
    controller.abort();
  };
  const leave = async (): Promise<void> => {
    if (stream && chunks !== null) return;
    for (let turn = 0; turn < turns; turn++) await fetch(`${server.url}/health`);
    controller.abort();
  };
  await Promise.allSettled([work(), leave()]);
  expect(controller.signal.aborted).toBe(true);
}

it('after many aborts at random moments nothing is held, running or waiting', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(abortPlan, { minLength: 30, maxLength: 40 }), async (plans) => {
      await Promise.all(plans.map(runAndLeave));
      await untilIdle(server);
      const total = await server.metric('plenum_kv_cells');
      expect(total).toBe(CONTEXT * 16);
      await expectUnharmed();
    }),
    { numRuns: 3, endOnFailure: true },
  );
});
