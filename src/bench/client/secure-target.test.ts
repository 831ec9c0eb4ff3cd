/**
 * Targets with https, and sockets that misbehave below HTTP: each ends in a record with its kind,
 * whichever side of a handshake it breaks on.
 */
import { once } from 'node:events';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterEach, expect, it } from 'vitest';
import { type RequestRecord, recordSchema } from '../result.ts';
import type { Call } from './call.ts';
import { DONE, delta, goodTarget, startStream } from './fixture-target.ts';
import { REQUEST_LIMITS, type RequestLimits } from './limits.ts';
import { TargetClient } from './target-client.ts';

/** Of nobody: signed by itself, for localhost and 127.0.0.1, from 2020 to 2120. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoBM2pzXNoFLdukSU
K8xdIlpChrkovu23QRHIUggYTcGhRANCAAQkizovTFPLcVTt0tOVpGnI2mSrZJyE
lCdO+55jrntb/EsqUwupAXy1MDNskskvB148S+9fsmg5h1OXF323ApiW
-----END PRIVATE KEY-----`;
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCSLOi9MU8txVO3S
05WkacjaZKtknISUJ077nmOue1v8SypTC6kBfLUwM2ySyS8HXjxL71+yaDmHU5cX
fbcCmJajTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBSkdh7T9CVFrLklxetC2uswBbEegjAKBggqhkjOPQQD
AgNIADBFAiAMNPDQWplJOE25Quc86GVyO4eaVIA23mHppuF18IpScgIhAMa5J5Jv
mxFC8JBgu1fJMtoXWFwZyl0QoWJ40sDbJHXT
-----END CERTIFICATE-----`;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const CALL: Call = {
  ...{ index: 0, kind: 'chat', conversation: null, turn: null, items: 0 },
  ...{ path: '/v1/chat/completions', body: '{"stream":true}', outputTokensMax: 2 },
};
const EMBED: Call = { ...CALL, kind: 'embed', path: '/v1/embeddings', items: 2 };

/** The port of a server that is ended, with its sockets, after the test. */
async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('error', () => undefined));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function clientOf(url: string, limits: Partial<RequestLimits> = {}): TargetClient {
  const client = new TargetClient({ url, apiKey: null, limits: { ...REQUEST_LIMITS, ...limits } });
  closers.push(() => client.close());
  client.begin(performance.now(), null);
  return client;
}

async function sent(client: TargetClient, call = CALL): Promise<RequestRecord> {
  const record = await client.send(call, performance.now());
  expect(recordSchema.parse(record)).toEqual(record);
  return record;
}

const secureServer = (): Server =>
  createSecureServer({ key: KEY, cert: CERTIFICATE }, (request, response) => {
    request.resume().on('end', () => {
      const { url = '' } = request;
      goodTarget(response, { path: url, body: CALL.body, authorization: undefined, index: 0 });
    });
  });

it('https: is measured like any other, by name and by address', async () => {
  const trusted = getCACertificates('default');
  setDefaultCACertificates([...trusted, CERTIFICATE]);
  closers.push(() => setDefaultCACertificates(trusted));
  const port = await listening(secureServer());
  const client = clientOf(`https://127.0.0.1:${port}`);
  for (let i = 0; i < 2; i++) {
    expect(await sent(client)).toMatchObject({ outcome: 'ok', chunks: 2, promptTokens: 12 });
  }
  const byName = await sent(clientOf(`https://localhost:${port}`));
  expect(byName).toMatchObject({ outcome: 'ok', chunks: 2 });
});

it('connect_failed: https to a server whose certificate nobody vouches for', async () => {
  const port = await listening(secureServer());
  const { error } = await sent(clientOf(`https://127.0.0.1:${port}`));
  expect(error).toMatchObject({ kind: 'connect_failed', status: null });
  expect(error?.message).toMatch(/self-signed certificate/);
});

it('connect_failed: https to a server that speaks plain HTTP', async () => {
  const server = createServer((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n'));
  });
  const port = await listening(server);
  const client = clientOf(`https://127.0.0.1:${port}`);
  for (let i = 0; i < 2; i++) {
    const { outcome, error } = await sent(client);
    expect([outcome, error?.kind]).toEqual(['error', 'connect_failed']);
    expect(error?.message).not.toBe('');
  }
});

it('connect_failed: https to a socket that takes the greeting and says nothing', async () => {
  const port = await listening(createServer());
  const { error } = await sent(clientOf(`https://127.0.0.1:${port}`, { connectMsMax: 60 }));
  expect(error).toMatchObject({ kind: 'connect_failed', message: 'no connection in 60 ms' });
});

it('plain HTTP to a server that wants https is an error row, not good and not aborted', async () => {
  const port = await listening(secureServer());
  const { outcome, error } = await sent(clientOf(`http://127.0.0.1:${port}`));
  expect(outcome).toBe('error');
  // The server may close without a word or send an alert, which is not HTTP.
  expect(['connection_lost', 'garbage']).toContain(error?.kind);
});

/** Answers every request with these bytes, then does `then` with the socket. */
const rawServer = (bytes: string, then: (socket: Socket) => void): Server =>
  createServer((socket) => {
    socket.once('data', () => socket.write(bytes, () => then(socket)));
  });

const STREAM_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n';

it('connection_lost: a reset in the middle of a stream', async () => {
  const text = `${STREAM_HEAD}content-length: 9999\r\n\r\n${delta('a')}`;
  const port = await listening(rawServer(text, (socket) => socket.resetAndDestroy()));
  const { error } = await sent(clientOf(`http://127.0.0.1:${port}`));
  expect(error?.kind).toBe('connection_lost');
});

it('connection_lost: a body that ends before the length that it announced', async () => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n';
  const port = await listening(rawServer(`${head}{"data":[`, (socket) => socket.end()));
  const { error } = await sent(clientOf(`http://127.0.0.1:${port}`), EMBED);
  expect(error?.kind).toBe('connection_lost');
});

it('connection_lost: a chunked stream that ends inside a chunk', async () => {
  const text = `${STREAM_HEAD}transfer-encoding: chunked\r\n\r\n400\r\n${delta('a')}`;
  const port = await listening(rawServer(text, (socket) => socket.end()));
  const { error } = await sent(clientOf(`http://127.0.0.1:${port}`));
  expect(error?.kind).toBe('connection_lost');
});

it('garbage: chunks whose length is no number', async () => {
  const text = `${STREAM_HEAD}transfer-encoding: chunked\r\n\r\nzz\r\n${delta('a')}`;
  const port = await listening(rawServer(text, () => undefined));
  const { error } = await sent(clientOf(`http://127.0.0.1:${port}`));
  expect(error).toMatchObject({ kind: 'garbage', message: expect.stringMatching(/not HTTP/) });
});

it('no usage at all, a comment between all events and a byte order mark are no errors', async () => {
  const events = `\uFEFF: hi\n\n${delta('a')}: ping\n\n${delta('b', 'stop')}: ping\n\n${DONE}`;
  const server = createSecureServer({ key: KEY, cert: CERTIFICATE }, (request, response) => {
    request.resume().on('end', () => {
      startStream(response);
      response.end(events);
    });
  });
  const trusted = getCACertificates('default');
  setDefaultCACertificates([...trusted, CERTIFICATE]);
  closers.push(() => setDefaultCACertificates(trusted));
  const port = await listening(server);
  const record = await sent(clientOf(`https://127.0.0.1:${port}`));
  expect(record).toMatchObject({ outcome: 'ok', chunks: 2, outputTokensFrom: 'chunks' });
  expect(record.promptTokens).toBeNull();
});
