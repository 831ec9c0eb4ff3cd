/** The chat client against servers that frame a stream in every legal way, and in wrong ones. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import { type ChatEnd, firstModel, streamChat } from './chat-client.ts';
import {
  answer,
  DONE,
  delta,
  type FakeServer,
  fakeServer,
  reply,
  startStream,
  USAGE,
} from './fixture.ts';

let server: FakeServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function chat(
  signal: AbortSignal = AbortSignal.timeout(10_000),
): Promise<{ text: string; end: ChatEnd | null }> {
  const url = server?.url ?? '';
  const call = { model: 'm', messages: [], parameters: {}, signal };
  let text = '';
  let end: ChatEnd | null = null;
  for await (const event of streamChat({ url, apiKey: null }, call)) {
    if (event.kind === 'text') text += event.text;
    else end = event.end;
  }
  return { text, end };
}

async function failure(promise: Promise<unknown>): Promise<PlenumError> {
  const thrown = await promise.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  );
  if (thrown instanceof PlenumError) return thrown;
  throw thrown;
}

/** Writes the bytes in pieces, each in a packet of its own. */
const inPieces = (pieces: readonly Uint8Array[]) =>
  fakeServer(async (response) => {
    startStream(response);
    for (const piece of pieces) {
      await new Promise<void>((resolve) => response.write(piece, () => resolve()));
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  });

const STREAM = delta('héé') + delta(' “wörld” 🦋') + delta('', 'length') + USAGE + DONE;

describe('a reply', () => {
  it('is its text and the numbers of its end', async () => {
    server = await fakeServer((response) => answer(response, 'hello'));
    const { text, end } = await chat();
    expect(text).toBe('hello');
    expect(end).toMatchObject({
      finishReason: 'stop',
      promptTokens: 12,
      cachedTokens: 8,
      completionTokens: 3,
    });
    expect(end?.ttftMs).toBeGreaterThan(0);
  });

  it('is the same however its bytes are cut', async () => {
    const bytes = new TextEncoder().encode(STREAM);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 8 }), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        server = await inPieces(pieces.filter((piece) => piece.length > 0));
        try {
          const { text, end } = await chat();
          expect(text).toBe('héé “wörld” 🦋');
          expect(end?.finishReason).toBe('length');
        } finally {
          await server.close();
        }
      }),
      { numRuns: 25 },
    );
  });

  it.each([
    ['CRLF lines', STREAM.replaceAll('\n', '\r\n')],
    [
      'comments and other fields',
      `: ping\n\nretry: 3\nid: 1\n${STREAM.replaceAll('\n\n', '\n: c\n\n')}`,
    ],
    ['data over several lines', STREAM.replaceAll('"choices":', '\ndata: "choices":\ndata: ')],
    ['no space after the colon', STREAM.replaceAll('data: ', 'data:')],
    ['no [DONE] after the finish reason', delta('héé “wörld” 🦋') + delta('', 'length')],
  ])('may come with %s', async (_, stream) => {
    server = await inPieces([new TextEncoder().encode(stream)]);
    const { text, end } = await chat();
    expect(text).toBe('héé “wörld” 🦋');
    expect(end?.finishReason).toBe('length');
  });

  it('asks for usage, with the parameters and the key', async () => {
    server = await fakeServer((response) => answer(response, 'x'));
    const call = {
      model: 'm',
      messages: [{ role: 'user' as const, content: 'hi' }],
      parameters: { temperature: 0 },
      signal: AbortSignal.timeout(10_000),
    };
    const events = streamChat({ url: `${server.url}/v1/`, apiKey: 'k' }, call);
    for await (const event of events) expect(['text', 'end']).toContain(event.kind);
    expect(server.seen).toEqual([
      {
        path: '/v1/chat/completions',
        authorization: 'Bearer k',
        body: {
          model: 'm',
          messages: [{ role: 'user', content: 'hi' }],
          temperature: 0,
          stream: true,
          stream_options: { include_usage: true },
        },
      },
    ]);
  });

  it('ends with AbortError when it is aborted in mid-stream', async () => {
    const stop = new AbortController();
    server = await fakeServer((response) => {
      startStream(response);
      response.write(delta('a'), () => stop.abort());
    });
    await expect(chat(stop.signal)).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('an error of the server', () => {
  it.each([
    [429, { error: { message: 'full', code: 'queue_full' } }, 'queue_full', /: full$/],
    [400, { error: { message: 'x\ny', code: 'foreign' } }, 'invalid_request', /: x$/],
    [401, { error: 'no' }, 'invalid_api_key', /: no$/],
    [404, { error: { message: 'no such', code: null } }, 'not_found', /no such$/],
    [502, 'bad gateway', 'server_unreachable', /it answered 502: "bad gateway"$/],
  ])('%i keeps its code or gets that of its status', async (status, body, code, message) => {
    server = await fakeServer((response) => reply(response, status, body));
    const error = await failure(chat());
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('in mid-stream ends the reply with its own words', async () => {
    server = await fakeServer((response) => {
      startStream(response);
      const error = { message: 'The host died.', code: 'host_crashed' };
      response.end(`${delta('a')}data: ${JSON.stringify({ error })}\n\n`);
    });
    const error = await failure(chat());
    expect(error.code).toBe('host_crashed');
    expect(error.message).toMatch(/The host died\.$/);
  });

  it.each([
    ['a cut stream', delta('a'), /ended in the middle of the reply/],
    ['an event that is no chunk', 'data: 3\n\n', /unknown event: 3/],
    ['an event without end', `data: ${'x'.repeat(2 << 20)}`, /an event longer than 1048576/],
  ])('such as %s is named', async (_, stream, message) => {
    server = await inPieces([new TextEncoder().encode(stream)]);
    const error = await failure(chat());
    expect(error.code).toBe('server_unreachable');
    expect(error.message).toMatch(message);
  });

  it('that is a broken connection is named', async () => {
    server = await fakeServer((response) => {
      startStream(response);
      response.write(delta('a'), () => response.destroy());
    });
    expect((await failure(chat())).code).toBe('server_unreachable');
  });

  it('that is no stream is named', async () => {
    server = await fakeServer((response) => reply(response, 200, {}));
    expect((await failure(chat())).message).toMatch(/application\/json instead of an event stream/);
  });

  it('that is no server says how to start one', async () => {
    server = await fakeServer((response) => answer(response, ''));
    await server.close();
    const error = await failure(chat());
    expect(error.code).toBe('server_unreachable');
    expect(error.message).toMatch(/^no server answers at .*plenum serve/);
  });
});

describe('the model', () => {
  it('is the first that the server lists', async () => {
    server = await fakeServer((response) => answer(response, ''));
    const own = { url: server.url, apiKey: null };
    expect(await firstModel(own, AbortSignal.timeout(10_000))).toBe('m');
  });
});
