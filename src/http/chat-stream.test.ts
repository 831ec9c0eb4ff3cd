import { expect, test } from 'vitest';
import { chatChunkSchema, chatResponseSchema } from '../wire/openai-chat.ts';
import {
  accepted,
  delta,
  FixtureBackend,
  finished,
  refusal,
  started,
  tokenLogprob,
} from './fixture-backend.ts';
import { events, fixtureServer } from './fixture-server.ts';

const messages = [{ role: 'user', content: 'hi' }];
const CHAT = '/v1/chat/completions';

test('a stream is role, deltas, finish reason, [DONE]', async () => {
  const reply = await fixtureServer().post(CHAT, { messages, stream: true });
  expect(reply.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  expect(reply.headers['server-timing']).toMatch(/^queue;dur=1\.5, prefill;dur=.*cached;desc="3"$/);
  const list = events(reply.body);
  expect(list.pop()).toBe('[DONE]');
  const chunks = list.map((chunk) => chatChunkSchema.parse(chunk));
  expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
  expect(chunks.map((chunk) => [chunk.choices[0]?.delta, chunk.choices[0]?.finish_reason])).toEqual(
    [
      [{ role: 'assistant', content: '', refusal: null }, null],
      [{ content: 'Hello' }, null],
      [{ content: ' world' }, null],
      [{}, 'stop'],
    ],
  );
  expect(chunks.every((chunk) => !('usage' in chunk))).toBe(true);
});

test('include_usage adds one chunk without choices and null before it', async () => {
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  const reply = await fixtureServer().post(CHAT, body);
  const chunks = events(reply.body)
    .slice(0, -1)
    .map((chunk) => chatChunkSchema.parse(chunk));
  const last = chunks.pop();
  expect(last?.choices).toEqual([]);
  expect(last?.usage?.total_tokens).toBe(9);
  expect(chunks.map((chunk) => chunk.usage)).toEqual([null, null, null, null]);
});

test('n choices differ by seed, interleave by index and count their prompt once', async () => {
  const backend = new FixtureBackend({ script: () => undefined });
  const server = fixtureServer({ backend });
  const pending = server.post(CHAT, {
    messages,
    n: 2,
    seed: 5,
    stream: true,
    stream_options: { include_usage: true },
  });
  await expect.poll(() => backend.generations.length).toBe(2);
  const [first, second] = backend.generations;
  expect(backend.generations.map((one) => one.request.sampling.seed)).toEqual([5, 6]);
  first?.push(accepted(), started(0), delta('a'));
  second?.push(accepted(), started(6), delta('b'));
  first?.push(delta('c'), finished('length', { cachedTokens: 0 }));
  second?.push(finished('stop', { cachedTokens: 6 }));
  const chunks = events((await pending).body)
    .slice(0, -1)
    .map((chunk) => chatChunkSchema.parse(chunk));
  const text = (index: number) =>
    chunks
      .flatMap((chunk) => chunk.choices)
      .filter((choice) => choice.index === index)
      .map((choice) => choice.delta.content ?? choice.finish_reason)
      .join('|');
  expect(text(0)).toBe('|a|c|length');
  expect(text(1)).toBe('|b|stop');
  expect(chunks.at(-1)?.usage).toMatchObject({
    prompt_tokens: 7,
    completion_tokens: 4,
    prompt_tokens_details: { cached_tokens: 0 },
  });
});

test('logprobs have token, bytes and alternatives, whole and streamed', async () => {
  const score = tokenLogprob('é', Number.NEGATIVE_INFINITY, 2);
  const backend = new FixtureBackend({
    script: (generation) => generation.push(accepted(), started(), delta('é', [score]), finished()),
  });
  const server = fixtureServer({ backend });
  const body = { messages, logprobs: true, top_logprobs: 2 };
  const whole = chatResponseSchema.parse((await server.post(CHAT, body)).json());
  const expected = {
    token: 'é',
    logprob: -9999,
    bytes: [195, 169],
    top_logprobs: [
      { token: 'é0', logprob: -9999, bytes: [195, 169, 48] },
      { token: 'é1', logprob: -9999, bytes: [195, 169, 49] },
    ],
  };
  expect(whole.choices[0]?.logprobs).toEqual({ content: [expected], refusal: null });
  const stream = await server.post(CHAT, { ...body, stream: true });
  const chunk = chatChunkSchema.parse(events(stream.body)[1]);
  expect(chunk.choices[0]?.logprobs).toEqual({ content: [expected], refusal: null });
});

test('a refusal before the first event is a status with Retry-After, streams too', async () => {
  const backend = new FixtureBackend({
    script: (generation) => generation.push(refusal('queue_full', 2100)),
  });
  for (const stream of [false, true]) {
    const reply = await fixtureServer({ backend }).post(CHAT, { messages, stream });
    expect(reply.statusCode).toBe(429);
    expect(reply.headers['retry-after']).toBe('3');
    expect(reply.json().error).toEqual({
      message: 'fixture: queue_full',
      type: 'rate_limit_error',
      param: null,
      code: 'queue_full',
    });
  }
});

test('a failure after the first event ends the stream with an error and no [DONE]', async () => {
  const backend = new FixtureBackend({
    script: (generation) => generation.push(accepted(), started(), delta('He')),
  });
  const server = fixtureServer({ backend });
  const pending = server.post(CHAT, { messages, stream: true });
  await expect.poll(() => backend.generations.length).toBe(1);
  await new Promise((resolve) => setImmediate(resolve));
  backend.generations[0]?.push(refusal('host_crashed'));
  const list = events((await pending).body);
  expect(list.at(-1)).toEqual({
    error: {
      message: 'fixture: host_crashed',
      type: 'server_error',
      param: null,
      code: 'host_crashed',
    },
  });
  expect(list).not.toContain('[DONE]');
});

test('one choice that fails fails the request and cancels the others', async () => {
  const backend = new FixtureBackend();
  backend.script = (generation) =>
    generation.push(
      ...(backend.generations.length === 1
        ? [accepted(), started(), delta('a')]
        : [refusal('queue_full', 1)]),
    );
  const reply = await fixtureServer({ backend }).post(CHAT, { messages, n: 2 });
  expect(reply.statusCode).toBe(429);
  expect(backend.generations.every((one) => one.ended)).toBe(true);
});
