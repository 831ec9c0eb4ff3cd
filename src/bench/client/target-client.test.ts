/**
 * Every way in which a server can misbehave ends in a record with its kind, and in no other
 * way.
 */

import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type RequestRecord, recordSchema } from '../result.ts';
import type { Call } from './call.ts';
import {
  type Behaviour,
  DONE,
  delta,
  fixtureTarget,
  ROLE,
  reply,
  startStream,
  USAGE,
} from './fixture-target.ts';
import { REQUEST_LIMITS, type RequestLimits } from './limits.ts';
import { ClientMeter } from './meter.ts';
import { QUIRKS } from './stream-reader.ts';
import { TargetClient } from './target-client.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const CALL: Call = {
  index: 3,
  kind: 'chat',
  conversation: 1,
  turn: 0,
  path: '/v1/chat/completions',
  body: '{"stream":true}',
  outputTokensMax: 2,
  items: 0,
};
const EMBED: Call = { ...CALL, kind: 'embed', path: '/v1/embeddings', items: 2 };

/** Long enough to be kept by a good server on a busy machine, short enough to be waited for. */
const LIMITS: RequestLimits = { ...REQUEST_LIMITS, connectMsMax: 5000 };
const SHORT: Partial<RequestLimits> = { firstMsMax: 60 };
/** Headers must have come by then, on a busy machine too. */
const HEADERS_COME: Partial<RequestLimits> = { firstMsMax: 1500 };

interface Sent {
  readonly record: RequestRecord;
  readonly client: TargetClient;
}

async function send(
  behave: Behaviour,
  { limits = {}, call = CALL }: { limits?: Partial<RequestLimits>; call?: Call } = {},
): Promise<Sent> {
  const target = await fixtureTarget(behave);
  closers.push(() => target.close());
  return sendTo(target.url, { limits, call });
}

async function sendTo(
  url: string,
  { limits = {}, call = CALL }: { limits?: Partial<RequestLimits>; call?: Call } = {},
): Promise<Sent> {
  const client = new TargetClient({ url, apiKey: 'k', limits: { ...LIMITS, ...limits } });
  const meter = new ClientMeter();
  closers.push(() => client.close());
  closers.push(() => meter.stop());
  const epoch = performance.now();
  client.begin(epoch, meter);
  const record = await client.send(call, epoch);
  expect(recordSchema.parse(record)).toEqual(record);
  return { record, client };
}

const streaming =
  (...parts: readonly string[]): Behaviour =>
  (response) => {
    startStream(response);
    response.end(parts.join(''));
  };

describe('a good stream', () => {
  it('gives times, pieces and counts, and does not take a role for text', async () => {
    const { record, client } = await send(
      streaming(ROLE, delta('a'), delta('b'), delta('', 'length'), USAGE, DONE),
    );
    expect(record).toMatchObject({
      index: 3,
      outcome: 'ok',
      finish: 'length',
      promptTokens: 12,
      cachedTokens: 8,
      outputTokens: 2,
      outputTokensFrom: 'usage',
      chunks: 2,
      error: null,
    });
    expect(record.gapsMs).toHaveLength(1);
    expect(record.firstTokenMs).toBeGreaterThanOrEqual(record.headersMs ?? Infinity);
    expect([...client.quirks]).toEqual([QUIRKS.roleFirst]);
    expect(client.pieces).toBe(2);
  });

  it('counts its first token when it arrives, not when the stream ends', async () => {
    const { record } = await send((response) => {
      startStream(response);
      response.write(delta('a'));
      setTimeout(() => response.end(delta('b', 'stop') + DONE), 80);
    });
    expect(record.endMs - (record.firstTokenMs ?? 0)).toBeGreaterThan(60);
    expect(record.gapMaxMs).toBeGreaterThan(60);
  });

  it('is read whatever the borders of its packets', async () => {
    const whole = Buffer.from(
      `: hello\r\n\r\n${ROLE}${delta('é😀').replaceAll('\n', '\r\n')}` +
        `${delta('b', 'stop')}${USAGE}${DONE}`,
    );
    for (const size of [1, 2, 3, 7, 64]) {
      const { record, client } = await send((response) => {
        startStream(response);
        for (let i = 0; i < whole.length; i += size) response.write(whole.subarray(i, i + size));
        response.end();
      });
      expect(record).toMatchObject({ outcome: 'ok', chunks: 2, promptTokens: 12 });
      expect(client.quirks).toContain(QUIRKS.comments);
    }
  });

  it('counts pieces where there is no usage, and lacks a last empty line, [DONE] or a finish', async () => {
    const { record, client } = await send(streaming(delta('a'), delta('b', 'stop').trimEnd()));
    expect(record).toMatchObject({ outcome: 'ok', outputTokens: 2, outputTokensFrom: 'chunks' });
    expect(client.quirks).toEqual(new Set([QUIRKS.noUsage, QUIRKS.noDone]));
    const other = await send(streaming(delta('a'), DONE));
    expect(other.record.outcome).toBe('ok');
    expect(other.client.quirks).toContain(QUIRKS.noFinish);
  });

  it('counts reasoning, tool calls and plain completions as text, and llama.cpp’s timings', async () => {
    const chunk = (choice: object): string => `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
    const timings = { timings: { prompt_n: 4, cache_n: 3, predicted_n: 9 } };
    const { record } = await send(
      streaming(
        chunk({ delta: { reasoning_content: 'x' } }),
        chunk({ delta: { tool_calls: [{ function: { arguments: '{' } }] } }),
        chunk({ text: 'y', finish_reason: null }),
        chunk({ delta: {}, finish_reason: 'stop' }),
        `data: ${JSON.stringify({ choices: [], ...timings })}\n\n`,
        DONE,
      ),
    );
    expect(record).toMatchObject({ chunks: 3, promptTokens: 7, cachedTokens: 3, outputTokens: 9 });
  });

  it('ends at [DONE] where the connection stays open, and the next request is served', async () => {
    const { record, client } = await send((response) => {
      startStream(response);
      response.write(delta('a') + delta('b', 'stop') + DONE);
    });
    expect(record.outcome).toBe('ok');
    expect((await client.send(CALL, performance.now())).outcome).toBe('ok');
  });

  it('carries the key', async () => {
    const target = await fixtureTarget(streaming(delta('a', 'stop'), DONE));
    closers.push(() => target.close());
    await sendTo(target.url);
    expect(target.seen[0]?.authorization).toBe('Bearer k');
  });
});

const later = (): void => undefined;

describe('a misbehaving server', () => {
  const rows: [kind: string, what: string, behave: Behaviour, limits: Partial<RequestLimits>][] = [
    ['no_answer', 'never answers', later, SHORT],
    ['stalled', 'sends headers and no text', (response) => startStream(response), HEADERS_COME],
    [
      'stalled',
      'hangs in the middle',
      (response) => {
        startStream(response);
        response.write(delta('a'));
      },
      { stallMsMax: 60 },
    ],
    [
      'stalled',
      'sends keep-alive comments and no text',
      (response) => {
        startStream(response);
        const timer = setInterval(() => response.write(': ping\n\n'), 10);
        response.on('close', () => clearInterval(timer));
      },
      HEADERS_COME,
    ],
    [
      'too_long',
      'goes on beyond the time of a whole request',
      (response) => {
        startStream(response);
        response.write(delta('a'));
        const timer = setInterval(() => response.write(': ping\n\n'), 10);
        response.on('close', () => clearInterval(timer));
      },
      { totalMsMax: 80 },
    ],
    [
      'endless',
      'streams far more than was asked for',
      (response) => {
        startStream(response);
        const more = (): void => {
          if (!response.destroyed) response.write(delta('x').repeat(50), () => setImmediate(more));
        };
        more();
      },
      {},
    ],
    [
      'endless',
      'sends more bytes than the limit',
      (response) => {
        startStream(response);
        response.write(delta('x'.repeat(4000)));
      },
      { bytesMax: 1000 },
    ],
    [
      'connection_lost',
      'drops the connection in the middle',
      (response) => {
        startStream(response);
        response.write(delta('a'), () => response.destroy());
      },
      {},
    ],
    ['connection_lost', 'drops it before an answer', (response) => response.destroy(), {}],
    ['ended_early', 'ends a stream without its end', streaming(delta('a')), {}],
    ['ended_early', 'sends an empty stream', streaming(''), {}],
    ['empty', 'sends a role, an end and no text', streaming(ROLE, delta('', 'stop'), DONE), {}],
    ['garbage', 'sends events that are not JSON', streaming('data: {"choices":[\n\n', DONE), {}],
    ['garbage', 'sends lines that are no events', streaming('{"a":1}\n{"b":2}\n'), {}],
    [
      'garbage',
      'does not speak HTTP at all',
      (response) => {
        response.socket?.end('SSH-2.0-OpenSSH_9.6\r\n');
      },
      {},
    ],
    [
      'error_event',
      'reports an error in the middle of a stream',
      streaming(delta('a'), 'data: {"error":{"message":"out of memory","code":500}}\n\n'),
      {},
    ],
    [
      'error_event',
      'names an event error',
      streaming('event: error\ndata: {"message":"overflow"}\n\n'),
      {},
    ],
    [
      'wrong_content_type',
      'answers a stream with a page',
      (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      {},
    ],
    ['wrong_content_type', 'does not stream', (response) => reply(response, 200, {}), {}],
    ['http_error', 'answers 500', (response) => reply(response, 500, { error: 'x' }), {}],
    ['http_error', 'redirects', (response) => response.writeHead(302).end(), {}],
    ['overloaded', 'answers 503', (response) => reply(response, 503, {}), {}],
    [
      'http_error',
      'refuses with an endless body',
      (response) => {
        response.writeHead(400);
        response.write('x'.repeat(40_000));
      },
      {},
    ],
  ];
  it.each(rows)('%s: %s', async (kind, _what, behave, limits) => {
    const { record, client } = await send(behave, { limits });
    expect(record).toMatchObject({ outcome: 'error', error: { kind } });
    expect(record.error?.message).not.toBe('');
    // The client is none the worse for it: it still ends every request.
    const next = await client.send(CALL, performance.now());
    expect(next.error?.kind).toBe(kind);
  });

  it('rate_limited: answers 429 with Retry-After, in seconds or as a date', async () => {
    const refuse = (after: string): Behaviour => {
      return (response) => {
        response.setHeader('retry-after', after);
        reply(response, 429, { error: { message: 'queue full' } });
      };
    };
    const { record } = await send(refuse('2'));
    expect(record).toMatchObject({
      retryAfterMs: 2000,
      error: { kind: 'rate_limited', message: 'HTTP 429: queue full', status: 429 },
    });
    const dated = await send(refuse(new Date(Date.now() + 60_000).toUTCString()));
    expect(dated.record.retryAfterMs).toBeGreaterThan(50_000);
    expect((await send(refuse('soon'))).record.retryAfterMs).toBeNull();
  });

  it('connect_failed: nobody listens', async () => {
    const target = await fixtureTarget(later);
    await target.close();
    const { record } = await sendTo(target.url);
    expect(record.error).toMatchObject({ kind: 'connect_failed', status: null });
  });

  it('no_answer: the socket is dead: it takes the request and says nothing', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => undefined));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const { record } = await sendTo(`http://127.0.0.1:${port}`, { limits: SHORT });
    expect(record.error?.kind).toBe('no_answer');
  });

  it('sends again once where a kept connection was closed as it was used', async () => {
    const { record, client } = await send((response, { index }) => {
      if (index === 1) response.socket?.destroy();
      else
        streaming(delta('a', 'stop'), DONE)(response, {
          path: '',
          body: '',
          index,
          authorization: '',
        });
    });
    expect(record.outcome).toBe('ok');
    expect((await client.send(CALL, performance.now())).outcome).toBe('ok');
    expect(client.quirks).toContain(QUIRKS.reconnects);
  });

  it('is aborted where the caller wants no more', async () => {
    const target = await fixtureTarget(later);
    closers.push(() => target.close());
    const client = new TargetClient({ url: target.url, apiKey: null, limits: LIMITS });
    closers.push(() => client.close());
    const sending = client.send(CALL, performance.now());
    client.abortAll();
    expect(await sending).toMatchObject({ outcome: 'aborted', error: null });
  });
});

describe('an answer that comes whole', () => {
  const data = [{ embedding: [1] }, { embedding: [2] }];

  it('is good with as many entries as were asked for', async () => {
    const usage = { prompt_tokens: 5, total_tokens: 5 };
    const { record } = await send((response) => reply(response, 200, { data, usage }), {
      call: EMBED,
    });
    expect(record).toMatchObject({
      outcome: 'ok',
      promptTokens: 5,
      firstTokenMs: null,
      gapsMs: null,
    });
    const ranks = { results: [{ index: 0 }, { index: 1 }] };
    expect(
      (await send((response) => reply(response, 200, ranks), { call: EMBED })).record.outcome,
    ).toBe('ok');
  });

  const bad: [kind: string, body: string][] = [
    ['empty', '{}'],
    ['garbage', '{"data":[{}]}'],
    ['garbage', '{"data":['],
    ['garbage', '[]'],
    ['error_event', '{"error":{"message":"no"}}'],
  ];
  it.each(bad)('%s: %s', async (kind, body) => {
    const { record } = await send(
      (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(body),
      { call: EMBED },
    );
    expect(record.error?.kind).toBe(kind);
  });
});
