/** The conversation of `plenum chat`: history, commands, errors, Ctrl-C. */
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ChatSession, endLine, printable } from './chat-session.ts';
import {
  answer,
  delta,
  type FakeServer,
  fakeContext,
  fakeServer,
  reply,
  startStream,
} from './fixture.ts';

let server: FakeServer | undefined;
afterEach(async () => {
  await server?.close();
});

const bodySchema = z.object({
  messages: z.array(z.object({ role: z.string(), content: z.string() })),
});

/** Messages of each request as `role:content`. */
const sent = (): string[] =>
  (server?.seen ?? []).map(({ body }) =>
    bodySchema
      .parse(body)
      .messages.map(({ role, content }) => `${role}:${content}`)
      .join(' '),
  );

async function converse(lines: readonly string[], context = fakeContext({ tty: true })) {
  const left = [...lines];
  const session = new ChatSession(context, {
    server: { url: server?.url ?? '', apiKey: null },
    model: 'm',
    system: null,
    parameters: {},
  });
  await session.run({ ask: async () => left.shift() ?? null, close: () => undefined });
  return context;
}

describe('a conversation', () => {
  it('sends what was said before, and prints replies and their numbers', async () => {
    let count = 0;
    server = await fakeServer((response) => answer(response, `reply ${++count}`));
    const context = await converse(['one', '', 'two', '/exit', 'never']);
    expect(sent()).toEqual(['user:one', 'user:one assistant:reply 1 user:two']);
    expect(context.out).toMatch(/reply 1\n3 tokens, .*first token after .*8 of 12 prompt tokens/);
    expect(context.out).toContain('reply 2\n');
  });

  it('forgets with /reset, and with /system sets the system prompt', async () => {
    server = await fakeServer((response) => answer(response, 'ok'));
    await converse(['one', '/reset', 'two', '/system Be kind.', 'three', '/system', 'four']);
    expect(sent()).toEqual(['user:one', 'user:two', 'system:Be kind. user:three', 'user:four']);
  });

  it('lists its commands, and names one that there is not', async () => {
    server = await fakeServer((response) => answer(response, 'ok'));
    const context = await converse(['/help', '/rest']);
    expect(context.out).toContain('/system TEXT');
    expect(context.out).toContain('There is no command /rest');
    expect(sent()).toEqual([]);
  });

  it('goes on after an error, without the question that failed', async () => {
    let count = 0;
    server = await fakeServer((response) => {
      count += 1;
      if (count === 1) reply(response, 429, { error: { message: 'full', code: 'queue_full' } });
      else answer(response, 'ok');
    });
    const context = await converse(['one', 'two']);
    expect(context.err).toMatch(/^plenum: .*: full \(queue_full\)\n$/);
    expect(sent()).toEqual(['user:one', 'user:two']);
  });

  it('keeps what was said when Ctrl-C stops a reply', async () => {
    const context = fakeContext({ tty: true });
    let count = 0;
    server = await fakeServer((response) => {
      count += 1;
      if (count > 1) return answer(response, 'ok');
      startStream(response);
      response.write(delta('half an'));
      // The interruption comes once the text has been printed.
      const write = context.stdout.write;
      Object.assign(context.stdout, {
        write: (text: string) => {
          write(text);
          if (text === 'half an') context.interrupt();
        },
      });
    });
    await converse(['one', 'two'], context);
    expect(context.out).toContain('half an\nstopped\n');
    expect(context.err).toBe('');
    expect(sent()).toEqual(['user:one', 'user:one assistant:half an user:two']);
  });
});

describe('what is printed', () => {
  it('cannot command the terminal', () => {
    expect(printable('a\u001b[2J\u0007\tb\nc\u009b1m')).toBe('a[2J\tb\nc1m');
  });

  it('says of a reply only what the server told', () => {
    const nothing = {
      finishReason: null,
      promptTokens: null,
      cachedTokens: null,
      completionTokens: null,
      ttftMs: null,
      tokensPerSecond: null,
    };
    expect(endLine(nothing)).toBe('');
    const some = { ...nothing, completionTokens: 5, tokensPerSecond: 12.34, ttftMs: 310 };
    expect(endLine({ ...some, finishReason: 'length' })).toBe(
      '5 tokens, 12.3 tok/s, first token after 310 ms, cut off: the length limit is reached',
    );
  });
});
