/** A guard in the path, through the front door: what a client sees of it. */
import OpenAI from 'openai';
import { afterEach, describe, expect, test } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import type { GuardPolicy, Verdict } from '../wire/guard.ts';
import { chatChunkSchema, chatResponseSchema } from '../wire/openai-chat.ts';
import {
  accepted,
  delta,
  FixtureBackend,
  finished,
  fixtureFamily,
  fixtureModel,
  fixtureVerdict,
  started,
} from './fixture-backend.ts';
import { events, fixtureServer } from './fixture-server.ts';

const CHAT = '/v1/chat/completions';
const POLICY: GuardPolicy = {
  model: 'guard',
  input: true,
  output: true,
  action: 'block',
  threshold: 0.5,
  windowTokens: 2,
  timeoutMs: 5000,
};

function guarded(
  policy: Partial<GuardPolicy> = {},
  words: readonly string[] = ['Hello', ' world'],
) {
  const models = fixtureFamily().map((model) =>
    model.id === 'tiny' ? { ...model, guard: { ...POLICY, ...policy } } : model,
  );
  const script: ConstructorParameters<typeof FixtureBackend>[0] = {
    models,
    script: (generation) =>
      generation.push(accepted(), started(), ...words.map((word) => delta(word)), finished()),
  };
  return fixtureServer({ backend: new FixtureBackend(script) });
}

const ask = (content: string, extra: object = {}) => ({
  model: 'tiny',
  messages: [{ role: 'user', content }],
  ...extra,
});

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0)) await close();
});

function textOf(body: string): string {
  return events(body)
    .filter((event) => event !== '[DONE]')
    .flatMap((event) => chatChunkSchema.parse(event).choices)
    .map((choice) => choice.delta.content ?? '')
    .join('');
}

describe('block', () => {
  test('a clean chat is as without a guard', async () => {
    const server = guarded();
    const reply = await server.post(CHAT, ask('hi'));
    const { choices } = chatResponseSchema.parse(reply.json());
    expect(choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello world', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ]);
    expect(server.backend.judgements.map(({ subject }) => subject.kind)).toEqual([
      'input',
      'output',
    ]);
    expect(server.backend.judgements[1]?.subject).toEqual({
      kind: 'output',
      messages: [{ role: 'user', content: 'hi', name: undefined }],
      answer: 'Hello world',
      freshFrom: 0,
    });
  });

  test('an unsafe input gives no text at all, streamed and whole', async () => {
    const server = guarded();
    const whole = await server.post(CHAT, ask('bad'));
    expect(whole.json().choices[0]).toMatchObject({
      message: { content: '' },
      finish_reason: 'content_filter',
      moderation: { model: 'guard', flagged: true, input: { flagged: true }, output: null },
    });
    const stream = await server.post(CHAT, ask('bad', { stream: true }));
    expect(textOf(stream.body)).toBe('');
    expect(stream.body).toContain('"finish_reason":"content_filter","moderation":{');
    expect(stream.body.endsWith('data: [DONE]\n\n')).toBe(true);
    const page = (await server.get('/metrics')).body;
    expect(page).toContain('outcome="finished:content_filter"} 2');
    expect(page).toContain(
      'plenum_guard_verdicts_total{model="tiny",guard="guard",stage="input",verdict="flagged"} 2',
    );
  });

  test('unsafe output ends the stream before the window that has it', async () => {
    const server = guarded({}, ['one', ' two', ' bad', ' four', ' five']);
    const reply = await server.post(CHAT, ask('hi', { stream: true }));
    expect(textOf(reply.body)).not.toContain('bad');
    expect('one two'.startsWith(textOf(reply.body))).toBe(true);
    expect(reply.body).toContain('"finish_reason":"content_filter"');
    const page = (await server.get('/metrics')).body;
    expect(page).toMatch(/guard_verdicts_total\{.*stage="output",verdict="flagged"\} 1/);
  });

  test('judgement and prompt begin together; the first delta waits for the verdict', async () => {
    const server = guarded({ output: false });
    const pending = Promise.withResolvers<Verdict>();
    server.backend.judging = () => pending.promise;
    let body: string | null = null;
    const reply = server.post(CHAT, ask('hi', { stream: true })).then((done) => {
      body = done.body;
    });
    await expect.poll(() => server.backend.judgements.length).toBe(1);
    expect(server.backend.generations.length).toBe(1);
    expect(body).toBeNull();
    pending.resolve(fixtureVerdict(0));
    await reply;
    expect(textOf(body ?? '')).toBe('Hello world');
    expect((await server.get('/metrics')).body).toContain(
      'plenum_guard_hold_seconds_count{model="tiny"} 1',
    );
  });

  test('a guard that cannot judge fails closed, with a status', async () => {
    const server = guarded();
    server.backend.judging = () =>
      Promise.reject(new PlenumError('model_loading', 'being loaded', { retryAfterMs: 3000 }));
    for (const stream of [true, false]) {
      const reply = await server.post(CHAT, ask('hi', { stream }));
      expect(reply.statusCode).toBe(503);
      expect(reply.headers['retry-after']).toBe('3');
      expect(reply.json().error).toMatchObject({
        code: 'guard_unavailable',
        message: expect.stringContaining('being loaded'),
      });
    }
    const page = (await server.get('/metrics')).body;
    expect(page).toContain('outcome="failed:guard_unavailable"} 2');
    expect(page).toMatch(/stage="input",verdict="unavailable"\} 2/);
  });

  test('a guard that fails in mid-stream ends it with an error and no unjudged text', async () => {
    const server = guarded({ input: false }, ['one', ' two', ' three', ' four', ' five']);
    let calls = 0;
    server.backend.judging = () => {
      calls += 1;
      if (calls === 1) return Promise.resolve(fixtureVerdict(0));
      return Promise.reject(new PlenumError('host_crashed', 'gone'));
    };
    const reply = await server.post(CHAT, ask('hi', { stream: true }));
    expect(reply.body).toContain('"code":"guard_unavailable"');
    expect(reply.body).not.toContain('five');
    expect(reply.body).not.toContain('[DONE]');
  });

  test('a guard that does not answer in time counts as unavailable', async () => {
    const server = guarded({ timeoutMs: 20 });
    server.backend.judging = ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    const reply = await server.post(CHAT, ask('hi'));
    expect(reply.statusCode).toBe(503);
    expect(reply.json().error.message).toContain('within 20 ms');
  });

  test('a score that is no number does not pass', async () => {
    const server = guarded();
    server.backend.judging = () => Promise.resolve(fixtureVerdict(Number.NaN));
    expect((await server.post(CHAT, ask('hi'))).statusCode).toBe(503);
  });

  test('choices of one prompt share its verdict, each has its own on the output', async () => {
    const server = guarded();
    const reply = await server.post(CHAT, ask('hi', { n: 3 }));
    expect(reply.json().choices.length).toBe(3);
    const kinds = server.backend.judgements.map(({ subject }) => subject.kind).sort();
    expect(kinds).toEqual(['input', 'output', 'output', 'output']);
  });

  test('completions of texts and of tokens are judged too', async () => {
    const server = guarded();
    const tokens = [...Buffer.from('bad')];
    for (const prompt of ['bad', tokens]) {
      const reply = await server.post('/v1/completions', { model: 'tiny', prompt });
      expect(reply.json().choices[0]).toMatchObject({
        text: '',
        finish_reason: 'content_filter',
      });
    }
  });

  test('a client that goes away ends the generation and the judgement', async () => {
    const server = guarded();
    let aborted = false;
    server.backend.script = () => undefined;
    server.backend.judging = ({ signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          aborted = true;
        });
      });
    const port = await server.listen();
    cleanup.push(() => server.app.close());
    const baseURL = `http://127.0.0.1:${port}/v1`;
    const openai = new OpenAI({ apiKey: 'any', baseURL, maxRetries: 0 });
    const controller = new AbortController();
    const { signal } = controller;
    const messages = [{ role: 'user' as const, content: 'hi' }];
    const asked = openai.chat.completions.create({ model: 'tiny', messages }, { signal });
    const failed = expect(asked).rejects.toThrow(/abort/i);
    await expect.poll(() => server.backend.judgements.length).toBe(1);
    controller.abort();
    await failed;
    await expect.poll(() => server.backend.generations[0]?.cancels).toEqual(['client_closed']);
    await expect.poll(() => aborted).toBe(true);
  });
});

describe('annotate', () => {
  test('holds nothing back and says what it thinks in the last chunk', async () => {
    const server = guarded({ action: 'annotate' }, ['one', ' bad']);
    const reply = await server.post(CHAT, ask('hi', { stream: true }));
    expect(textOf(reply.body)).toBe('one bad');
    const last = events(reply.body).at(-2);
    expect(last).toMatchObject({
      choices: [
        {
          finish_reason: 'stop',
          moderation: { flagged: true, input: { flagged: false }, output: { flagged: true } },
        },
      ],
    });
  });

  test('a guard that cannot judge is null', async () => {
    const server = guarded({ action: 'annotate' });
    server.backend.judging = () => Promise.reject(new PlenumError('host_crashed', 'gone'));
    const reply = await server.post(CHAT, ask('hi'));
    expect(reply.json().choices[0]).toMatchObject({
      message: { content: 'Hello world' },
      moderation: null,
    });
  });
});

describe('keys', () => {
  const keyed = (guard: GuardPolicy | 'off') =>
    fixtureServer({
      backend: new FixtureBackend({
        models: fixtureFamily().map((model) =>
          guard === 'off' && model.id === 'tiny' ? { ...model, guard: POLICY } : model,
        ),
      }),
      config: {
        apiKeys: [
          { name: 'ann', plain: 'key-ann', guard },
          { name: 'bob', plain: 'key-bob' },
        ],
      },
    });
  const reason = async (server: ReturnType<typeof keyed>, key: string) =>
    (await server.post(CHAT, ask('bad'), { authorization: `Bearer ${key}` })).json().choices[0]
      .finish_reason;

  test('a key’s guard stands in the place of the model’s', async () => {
    const strict = keyed(POLICY);
    expect(await reason(strict, 'key-ann')).toBe('content_filter');
    expect(await reason(strict, 'key-bob')).toBe('stop');
    const off = keyed('off');
    expect(await reason(off, 'key-ann')).toBe('stop');
    expect(await reason(off, 'key-bob')).toBe('content_filter');
  });
});

test('a guard that is no served model for moderation is found at start', () => {
  const withGuard = (model: string) => ({
    backend: new FixtureBackend({
      models: [{ ...fixtureModel('a'), guard: { ...POLICY, model } }, fixtureModel('b')],
    }),
  });
  expect(() => fixtureServer(withGuard('none'))).toThrow(/model "a" cannot judge/);
  expect(() => fixtureServer(withGuard('b'))).toThrow(/answers on \/v1\/chat/);
});
