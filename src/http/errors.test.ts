import { expect, test } from 'vitest';
import { errorBodySchema } from '../wire/openai-error.ts';
import { FixtureBackend, fixtureModel } from './fixture-backend.ts';
import { fixtureServer } from './fixture-server.ts';
import { listen } from './server.ts';

const CHAT = '/v1/chat/completions';
const chat = { messages: [{ role: 'user', content: 'hi' }] };

test('unknown paths say so, with the nearest one', async () => {
  const reply = await fixtureServer().get('/v1/modles');
  expect(reply.statusCode).toBe(404);
  expect(errorBodySchema.parse(reply.json()).error).toMatchObject({
    code: 'not_found',
    type: 'not_found_error',
    param: null,
  });
  expect(reply.json().error.message).toContain('/v1/models');
});

test('a wrong method is 405 with the ones that are allowed', async () => {
  const server = fixtureServer();
  const get = await server.get(CHAT);
  expect([get.statusCode, get.headers.allow]).toEqual([405, 'POST']);
  const put = await server.app.inject({ method: 'DELETE', url: '/v1/models/org/tiny' });
  expect([put.statusCode, put.headers.allow]).toEqual([405, 'GET, HEAD']);
  expect(put.json().error.code).toBe('method_not_allowed');
});

test.each([
  ['text/plain', 415],
  ['application/x-www-form-urlencoded', 415],
  ['multipart/form-data; boundary=x', 415],
  ['', 415],
  ['application/json; charset=utf-8', 200],
])('content-type %j answers %d', async (type, status) => {
  const reply = await fixtureServer().post(CHAT, chat, { 'content-type': type });
  expect(reply.statusCode, reply.body).toBe(status);
  if (status === 415) expect(reply.json().error.code).toBe('unsupported_media_type');
});

test('a compressed body is refused, not misread', async () => {
  const reply = await fixtureServer().post(CHAT, chat, { 'content-encoding': 'gzip' });
  expect(reply.statusCode).toBe(415);
});

test.each(['', '{', '{"a":}', '[1,', 'nul', '"a', '{"a":1}x', '\u0000', "{'a':1}"])(
  'malformed JSON is named as such: %j',
  async (body) => {
    const reply = await fixtureServer().post(CHAT, body);
    expect(reply.statusCode).toBe(400);
    expect(['invalid_json', 'invalid_request']).toContain(reply.json().error.code);
  },
);

test('bytes that are not UTF-8 are named as such', async () => {
  const reply = await fixtureServer().app.inject({
    method: 'POST',
    url: CHAT,
    headers: { 'content-type': 'application/json' },
    payload: Buffer.from([0x22, 0xff, 0x22]),
  });
  expect(reply.json().error).toMatchObject({
    code: 'invalid_json',
    message: 'The body is not valid UTF-8.',
  });
});

test('a body above the limit is 413 and names the limit', async () => {
  const server = fixtureServer({ limits: { bodyBytesMax: 1000 } });
  const reply = await server.post(CHAT, {
    messages: [{ role: 'user', content: 'x'.repeat(1000) }],
  });
  expect(reply.statusCode).toBe(413);
  expect(reply.json().error.code).toBe('body_too_large');
  expect(reply.json().error.message).toMatch(
    /^The body has 10\d\d bytes, \d\d more than the limit of 1000 \(server.limits.body_bytes_max\)/,
  );
});

test('unknown models list the served ones', async () => {
  const server = fixtureServer();
  for (const reply of [
    await server.post(CHAT, { ...chat, model: 'gpt-4' }),
    await server.get('/v1/models/gpt-4'),
    await server.post('/tokenize', { model: 'gpt-4', content: 'x' }),
  ]) {
    expect(reply.statusCode).toBe(404);
    expect(reply.json().error).toMatchObject({ code: 'model_not_found', param: 'model' });
    expect(reply.json().error.message).toContain('org/tiny:Q4');
  }
});

test('what the backend throws keeps its status and its wait', async () => {
  const backend = new FixtureBackend({
    models: [{ ...fixtureModel('a'), state: 'starting', reason: 'loading' }],
  });
  const reply = await fixtureServer({ backend }).post(CHAT, chat);
  expect(reply.statusCode).toBe(503);
  expect(reply.headers['retry-after']).toBe('3');
  expect(reply.json().error.code).toBe('model_loading');
});

test('a draining server takes nothing new and closes connections', async () => {
  const server = fixtureServer();
  server.backend.draining = true;
  const reply = await server.post(CHAT, chat);
  expect(reply.statusCode).toBe(503);
  expect(reply.json().error.code).toBe('draining');
  expect(reply.headers['retry-after']).toBe('1');
  expect(reply.headers.connection).toBe('close');
});

test('a fault of ours tells the client its request id and the log the reason', async () => {
  const backend = new FixtureBackend({
    script: () => {
      throw new TypeError('inner secret');
    },
  });
  const server = fixtureServer({ backend });
  const reply = await server.post(CHAT, chat, { 'x-request-id': 'abc-1' });
  expect(reply.statusCode).toBe(500);
  expect(reply.json().error).toMatchObject({ code: 'internal', type: 'server_error' });
  expect(reply.json().error.message).toContain('abc-1');
  expect(reply.body).not.toContain('inner secret');
  expect(server.lines.join('')).toContain('inner secret');
});

test('beyond the limit of concurrent requests the answer is 429', async () => {
  const backend = new FixtureBackend({ script: () => undefined });
  const server = fixtureServer({ backend, limits: { concurrentRequestsMax: 1 } });
  const first = server.post(CHAT, chat);
  await expect.poll(() => backend.generations.length).toBe(1);
  const second = await server.post(CHAT, chat);
  expect(second.statusCode).toBe(429);
  expect(second.json().error.code).toBe('too_many_streams');
  expect(second.headers['retry-after']).toBe('1');
  backend.generations[0]?.cancel('client_closed');
  await first;
  backend.script = (generation) => generation.cancel('client_closed');
  await expect.poll(async () => (await server.post(CHAT, chat)).statusCode).not.toBe(429);
});

test('the request id of the client comes back; an unusable one is replaced', async () => {
  const server = fixtureServer();
  const given = await server.get('/health', { 'x-request-id': 'abc/1' });
  expect(given.headers['x-request-id']).toBe('abc/1');
  const long = await server.get('/health', { 'x-request-id': 'a'.repeat(129) });
  expect(long.headers['x-request-id']).toMatch(/^req-[0-9a-f]{24}$/);
});

test('listening where another listens is port_in_use', async () => {
  const first = fixtureServer();
  const port = await first.listen();
  const second = fixtureServer();
  const config = { host: '127.0.0.1', port, allowedHosts: [], apiKeys: [], corsOrigins: null };
  const { HTTP_DEFAULTS } = await import('./config.ts');
  await expect(
    listen(second.app, { ...HTTP_DEFAULTS, ...config }, { force: false }),
  ).rejects.toMatchObject({ code: 'port_in_use' });
  await expect(
    listen(second.app, { ...HTTP_DEFAULTS, host: '0.0.0.0' }, { force: false }),
  ).rejects.toMatchObject({ code: 'bind_refused' });
  await first.app.close();
});
