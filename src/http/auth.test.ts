import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { assertBindable, isLoopback, KeyRing } from './auth.ts';
import { fixtureServer } from './fixture-server.ts';

const apiKeys = [
  { name: 'ann', plain: 'secret-a' },
  { name: 'bob', sha256: createHash('sha256').update('secret-b').digest('hex') },
];

test('with keys, everything but health and the documents needs one', async () => {
  const server = fixtureServer({ config: { apiKeys } });
  for (const url of ['/v1/models', '/v1/models/tiny', '/ready', '/metrics', '/nowhere']) {
    const reply = await server.get(url);
    expect(reply.statusCode, url).toBe(401);
    expect(reply.headers['www-authenticate']).toBe('Bearer');
    expect(reply.json().error.code).toBe('invalid_api_key');
  }
  for (const url of ['/health', '/openapi.json', '/docs']) {
    expect((await server.get(url)).statusCode, url).toBe(200);
  }
  for (const url of ['/v1/chat/completions', '/v1/completions', '/tokenize', '/detokenize']) {
    expect((await server.post(url, {})).statusCode, url).toBe(401);
  }
});

test('keys in the clear and by digest open the door and are named in the log', async () => {
  const server = fixtureServer({ config: { apiKeys } });
  for (const [key, name] of [
    ['secret-a', 'ann'],
    ['secret-b', 'bob'],
  ]) {
    const reply = await server.get('/v1/models', { authorization: `Bearer ${key}` });
    expect(reply.statusCode).toBe(200);
    expect(server.lines.at(-1)).toContain(`"key":"${name}"`);
  }
});

test.each([
  '',
  'Bearer',
  'Bearer ',
  'Basic secret-a',
  'Bearer secret-',
  'Bearer secret-a secret-b',
  `Bearer ${'x'.repeat(5000)}`,
])('%j is not a key', async (authorization) => {
  const server = fixtureServer({ config: { apiKeys } });
  expect((await server.get('/v1/models', { authorization })).statusCode).toBe(401);
});

test('the key is judged before the body is read', async () => {
  const server = fixtureServer({ config: { apiKeys } });
  expect((await server.post('/v1/chat/completions', '{bad')).statusCode).toBe(401);
});

test('keys that cannot be sent or are no digest are refused at start', () => {
  expect(() => new KeyRing([{ name: 'a', plain: '' }])).toThrow(/1 to 512/);
  expect(() => new KeyRing([{ name: 'a', plain: 'a b' }])).toThrow(/without spaces/);
  expect(() => new KeyRing([{ name: 'a', sha256: 'abc' }])).toThrow(/64 hexadecimal/);
});

test.each(['127.0.0.1', '127.9.9.9', 'localhost', '::1', '[::1]', 'LOCALHOST'])(
  '%s is loopback and may be bound without keys',
  (host) => {
    expect(isLoopback(host)).toBe(true);
    expect(() => assertBindable(host, [], false)).not.toThrow();
  },
);

test.each(['0.0.0.0', '::', '192.168.1.4', 'example.org', '127.0.0.1.example.org'])(
  '%s is not bound without keys unless forced',
  (host) => {
    expect(() => assertBindable(host, [], false)).toThrow(
      expect.objectContaining({ code: 'bind_refused' }),
    );
    expect(() => assertBindable(host, apiKeys, false)).not.toThrow();
    expect(() => assertBindable(host, [], true)).not.toThrow();
  },
);

test('on loopback without keys, foreign Host names are refused (DNS rebinding)', async () => {
  const server = fixtureServer({ config: { allowedHosts: ['box.local'] } });
  for (const host of ['localhost:8686', '127.0.0.1', '[::1]:8686', 'box.local:1']) {
    expect((await server.get('/health', { host })).statusCode, host).toBe(200);
  }
  for (const host of ['evil.example', 'localhost.evil.example:8686', '127.0.0.1.evil.example']) {
    const reply = await server.get('/health', { host });
    expect(reply.statusCode, host).toBe(403);
    expect(reply.json().error.code).toBe('forbidden');
  }
});

test('with keys or another address the Host name is the client’s business', async () => {
  const keyed = fixtureServer({ config: { apiKeys } });
  expect((await keyed.get('/health', { host: 'a.example' })).statusCode).toBe(200);
  const wide = fixtureServer({ config: { host: '0.0.0.0' } });
  expect((await wide.get('/health', { host: 'a.example' })).statusCode).toBe(200);
});

test('CORS is off unless origins are configured', async () => {
  const origin = 'https://app.example';
  const off = await fixtureServer().get('/health', { origin });
  expect(off.headers['access-control-allow-origin']).toBeUndefined();
  const server = fixtureServer({ config: { corsOrigins: [origin], apiKeys } });
  const preflight = await server.app.inject({
    method: 'OPTIONS',
    url: '/v1/chat/completions',
    headers: { origin, 'access-control-request-method': 'POST' },
  });
  expect(preflight.statusCode).toBe(204);
  expect(preflight.headers['access-control-allow-origin']).toBe(origin);
  const stream = await server.post(
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'hi' }], stream: true },
    { origin, authorization: 'Bearer secret-a' },
  );
  expect(stream.headers['access-control-allow-origin']).toBe(origin);
  const foreign = await server.get('/health', { origin: 'https://evil.example' });
  expect(foreign.headers['access-control-allow-origin']).not.toBe('https://evil.example');
});
