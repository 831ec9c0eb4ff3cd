import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { accepted, delta, FixtureBackend, finished, started } from './fixture-backend.ts';
import { type FixtureServerOptions, fixtureServer } from './fixture-server.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0).reverse()) await close();
});

async function open(options: FixtureServerOptions = {}) {
  const server = fixtureServer(options);
  const port = await server.listen();
  cleanup.push(() => server.app.close());
  return {
    ...server,
    /** A connection that keeps what it received. */
    dial: (): { socket: Socket; received: () => string; closed: () => boolean } => {
      const socket = connect(port, '127.0.0.1');
      let text = '';
      let closed = false;
      socket.setEncoding('utf8');
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('error', () => {
        closed = true;
      });
      socket.on('close', () => {
        closed = true;
      });
      cleanup.push(() => socket.destroy());
      return { socket, received: () => text, closed: () => closed };
    },
  };
}

const head = (path: string): string =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;

function post(body: object, path = '/v1/chat/completions'): string {
  const text = JSON.stringify(body);
  return `${head(path)}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

const chat = { messages: [{ role: 'user', content: 'hi' }] };
const silent = () => new FixtureBackend({ script: () => undefined });

/** The JSON body of the only reply on a socket. */
const bodyOf = (raw: string) => JSON.parse(raw.slice(raw.indexOf('\r\n\r\n') + 4));

test.each([
  ['queued, not streaming', false, [accepted()]],
  ['queued, streaming', true, [accepted()]],
  ['before it was accepted', false, []],
  ['computing, not streaming', false, [accepted(), started(), delta('a')]],
  ['in mid-stream', true, [accepted(), started(), delta('a')]],
])('a client that goes away cancels at once: %s', async (_name, stream, sent) => {
  const backend = silent();
  const server = await open({ backend });
  const client = server.dial();
  client.socket.write(post({ ...chat, stream }));
  await expect.poll(() => backend.generations.length).toBe(1);
  const [generation] = backend.generations;
  generation?.push(...sent);
  if (stream && sent.length > 2) await expect.poll(client.received).toContain('"content":"a"');
  expect(generation?.cancels).toEqual([]);
  client.socket.destroy();
  await expect.poll(() => generation?.cancels).toEqual(['client_closed']);
  await expect.poll(() => server.lines.join('')).toContain('"outcome":"cancelled:client_closed"');
});

test('a client that leaves cancels all of its choices', async () => {
  const backend = silent();
  const server = await open({ backend });
  const client = server.dial();
  client.socket.write(post({ ...chat, n: 3, stream: true }));
  await expect.poll(() => backend.generations.length).toBe(3);
  client.socket.destroy();
  await expect.poll(() => backend.generations.filter((one) => one.ended).length).toBe(3);
});

test('a client that stays is not cancelled, and the connection is used again', async () => {
  const server = await open();
  const client = server.dial();
  client.socket.write(post({ ...chat, stream: true }));
  await expect.poll(client.received).toContain('[DONE]');
  client.socket.write(post(chat));
  await expect.poll(client.received).toContain('"object":"chat.completion"');
  expect(server.backend.generations.map((one) => one.cancels)).toEqual([[], []]);
});

test('closing waits for the streams under way and not for the keep-alive of their sockets', async () => {
  const backend = silent();
  const server = await open({ backend });
  const client = server.dial();
  client.socket.write(post({ ...chat, stream: true }));
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted(), started(), delta('a'));
  await expect.poll(client.received).toContain('"content":"a"');
  let closed = false;
  const closing = server.app.close().then(() => {
    closed = true;
  });
  backend.generations[0]?.push(delta('b'));
  await expect.poll(client.received).toContain('"content":"b"');
  expect(closed).toBe(false);
  backend.generations[0]?.push(finished());
  await closing;
  expect(client.received()).toContain('[DONE]');
});

test('a reader that is slower than its buffer is given up', async () => {
  const backend = silent();
  const server = await open({ backend, limits: { streamBufferBytesMax: 100_000 } });
  const client = server.dial();
  client.socket.pause();
  client.socket.write(post({ ...chat, stream: true }));
  await expect.poll(() => backend.generations.length).toBe(1);
  const [generation] = backend.generations;
  generation?.push(accepted(), started());
  const text = 'x'.repeat(50_000);
  for (let i = 0; i < 2000 && generation?.ended === false; i++) {
    generation.push(delta(text));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(generation?.cancels[0]).toBe('slow_reader');
  client.socket.resume();
  await expect.poll(client.closed).toBe(true);
  await expect.poll(() => server.lines.join('')).toContain('"outcome":"cancelled:slow_reader"');
});

test('a reader that stops reading at all is given up after the stall limit', async () => {
  const backend = silent();
  const server = await open({
    backend,
    limits: { streamBufferBytesMax: 100_000_000, stalledReaderMs: 50 },
  });
  const client = server.dial();
  client.socket.pause();
  client.socket.write(post({ ...chat, stream: true }));
  await expect.poll(() => backend.generations.length).toBe(1);
  const [generation] = backend.generations;
  generation?.push(accepted(), started(), delta('x'.repeat(20_000_000)));
  await expect.poll(() => generation?.cancels[0]).toBe('slow_reader');
});

test('a reader that is slow but reads gets every byte', async () => {
  const backend = silent();
  const server = await open({ backend, limits: { streamBufferBytesMax: 50_000_000 } });
  const client = server.dial();
  client.socket.pause();
  client.socket.write(post({ ...chat, stream: true }));
  await expect.poll(() => backend.generations.length).toBe(1);
  const [generation] = backend.generations;
  generation?.push(accepted(), started());
  for (let i = 0; i < 100; i++) {
    generation?.push(delta('y'.repeat(100_000)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  generation?.push(finished());
  client.socket.resume();
  await expect.poll(client.received, { timeout: 10_000 }).toContain('[DONE]');
  expect(client.received().match(/y{100000}/g)?.length).toBe(100);
});

/** Every access line so far, as [method, status, code]. */
const outcomes = (server: { lines: readonly string[] }) =>
  server.lines
    .map((line) => JSON.parse(line))
    .filter((line) => line.msg === 'request')
    .map(({ method, status, code }) => [method, status, code]);

test('half-open: headers that never end are answered 408 and closed', async () => {
  const server = await open({ limits: { requestHeaderTimeoutMs: 50, bodyTimeoutMs: 5000 } });
  const client = server.dial();
  client.socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n');
  await expect.poll(client.closed).toBe(true);
  expect(client.received()).toMatch(/^HTTP\/1\.1 408 /);
  expect(bodyOf(client.received()).error.code).toBe('request_timeout');
  expect(outcomes(server)).toEqual([['none', 408, 'request_timeout']]);
});

test('half-open: a body that never ends is answered 408 and closed', async () => {
  const server = await open({ limits: { requestHeaderTimeoutMs: 50, bodyTimeoutMs: 50 } });
  const client = server.dial();
  client.socket.write(post(chat).slice(0, -5));
  await expect.poll(client.closed).toBe(true);
  expect(bodyOf(client.received()).error.code).toBe('request_timeout');
  expect(server.backend.generations).toEqual([]);
  await expect.poll(() => outcomes(server)).toEqual([['POST', 408, 'request_timeout']]);
});

test('the body timeout does not touch a reply that takes longer', async () => {
  const backend = silent();
  const server = await open({ backend, limits: { requestHeaderTimeoutMs: 20, bodyTimeoutMs: 20 } });
  const client = server.dial();
  client.socket.write(post({ ...chat, stream: true }));
  await expect.poll(() => backend.generations.length).toBe(1);
  const other = server.dial();
  other.socket.write('GET /health HTTP/1.1\r\n');
  await expect.poll(other.closed).toBe(true);
  backend.generations[0]?.push(accepted(), started(), delta('late'), finished());
  await expect.poll(client.received).toContain('[DONE]');
});

test.each([
  ['garbage', 'this is no HTTP\r\n\r\n', 400, 'invalid_request'],
  ['a TLS hello', '\x16\x03\x01\x02\x00\x01', 400, 'invalid_request'],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'huge headers',
    `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
])('%s is answered in our own shape', async (_name, raw, status, code) => {
  const server = await open();
  const client = server.dial();
  client.socket.write(raw, 'latin1');
  await expect.poll(client.closed).toBe(true);
  expect(client.received()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(bodyOf(client.received()).error.code).toBe(code);
  expect(outcomes(server)).toEqual([['none', status, code]]);
  const page = (await server.get('/metrics')).body;
  expect(page).toContain(
    `plenum_http_responses_total{route="none",method="none",status="${status}"} 1`,
  );
});

test.each([
  ['a chunk that is none', `${head('/v1/completions')}transfer-encoding: chunked\r\n\r\nzz\r\n`],
  ['a body cut short', post(chat).slice(0, -5)],
])('%s ends its own request, once', async (_name, raw) => {
  const server = await open();
  const client = server.dial();
  client.socket.end(raw);
  await expect.poll(client.closed).toBe(true);
  expect(client.received()).toMatch(/^HTTP\/1\.1 400 /);
  await expect.poll(() => outcomes(server)).toEqual([['POST', 400, 'invalid_request']]);
});

test('what comes after a request on its connection is a request of its own', async () => {
  const server = await open();
  const client = server.dial();
  client.socket.write(post(chat));
  await expect.poll(client.received).toContain('"object":"chat.completion"');
  client.socket.write('garbage\r\n\r\n');
  await expect.poll(client.closed).toBe(true);
  expect(outcomes(server)).toEqual([
    ['POST', 200, undefined],
    ['none', 400, 'invalid_request'],
  ]);
});

test('headers that are cut off are a request that its client gave up', async () => {
  const server = await open();
  const client = server.dial();
  client.socket.write('GET / HTTP/1.1\r\nho', () => client.socket.resetAndDestroy());
  await expect.poll(() => outcomes(server)).toEqual([['none', 499, 'client_closed']]);
});

test('a connection that closes between requests is no request', async () => {
  const server = await open();
  const silent = server.dial();
  silent.socket.resetAndDestroy();
  const client = server.dial();
  client.socket.write(post(chat));
  await expect.poll(client.received).toContain('"object":"chat.completion"');
  client.socket.resetAndDestroy();
  const connections = () =>
    new Promise<number>((resolve) => {
      server.app.server.getConnections((_error, count) => resolve(count));
    });
  await expect.poll(connections).toBe(0);
  expect(outcomes(server)).toEqual([['POST', 200, undefined]]);
});

test.each([
  ['a tunnel', 'CONNECT a:1 HTTP/1.1\r\nhost: localhost\r\n\r\n', ['CONNECT', 405]],
  ['a path that cannot be read', 'GET /%zz HTTP/1.1\r\nhost: localhost\r\n\r\n', ['GET', 400]],
  [
    'an unknown expectation',
    'GET /nowhere HTTP/1.1\r\nhost: localhost\r\nexpect: tea\r\n\r\n',
    ['GET', 404],
  ],
  ['a method of others', 'PROPFIND / HTTP/1.1\r\nhost: localhost\r\n\r\n', ['PROPFIND', 404]],
])('%s is answered and written down, once', async (_name, raw, [method, status]) => {
  const server = await open();
  const client = server.dial();
  client.socket.write(raw);
  await expect.poll(client.received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  await expect.poll(() => outcomes(server).length).toBe(1);
  expect(outcomes(server)).toEqual([[method, status, expect.any(String)]]);
});

test('a connection beyond the limit is counted and said', async () => {
  const server = await open({ limits: { connectionsMax: 1 } });
  const first = server.dial();
  first.socket.write(post(chat));
  await expect.poll(first.received).toContain('chat.completion');
  const second = server.dial();
  await expect.poll(second.closed).toBe(true);
  expect((await server.get('/metrics')).body).toContain('plenum_connections_dropped_total 1');
  expect(server.lines.join('')).toContain('the limit is reached');
});

test('a body that is announced too large is refused before it is sent', async () => {
  const server = await open();
  const client = server.dial();
  client.socket.write(`${head('/v1/completions')}content-length: 99999999\r\n\r\n{`);
  await expect.poll(client.received).toContain('body_too_large');
  expect(client.received()).toMatch(/^HTTP\/1\.1 413 /);
  await expect.poll(client.closed).toBe(true);
});

test('a chunked body is cut off at the limit', async () => {
  const server = await open({ limits: { bodyBytesMax: 10_000 } });
  const client = server.dial();
  client.socket.write(`${head('/v1/completions')}transfer-encoding: chunked\r\n\r\n`);
  const chunk = `1000\r\n${'a'.repeat(0x1000)}\r\n`;
  client.socket.write(chunk.repeat(5));
  await expect.poll(client.received).toContain('body_too_large');
});

test('a client that goes away while it sends its body leaves nothing behind', async () => {
  const server = await open();
  const client = server.dial();
  client.socket.write(post(chat).slice(0, -5));
  await expect.poll(() => client.socket.bytesWritten).toBeGreaterThan(0);
  await new Promise((resolve) => setImmediate(resolve));
  client.socket.destroy();
  const page = async () => (await server.get('/metrics')).body;
  await expect.poll(page).toContain('plenum_open_requests 0');
  expect(server.backend.generations).toEqual([]);
});
