import OpenAI, {
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from 'openai';
import { afterEach, expect, test } from 'vitest';
import {
  accepted,
  delta,
  FixtureBackend,
  finished,
  fixtureModel,
  refusal,
  started,
  tokenLogprob,
} from './fixture-backend.ts';
import { type FixtureServerOptions, fixtureServer } from './fixture-server.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0)) await close();
});

async function client(options: FixtureServerOptions = {}) {
  const server = fixtureServer(options);
  const port = await server.listen();
  cleanup.push(() => server.app.close());
  const openai = new OpenAI({
    apiKey: 'any',
    baseURL: `http://127.0.0.1:${port}/v1`,
    maxRetries: 0,
  });
  return { ...server, openai };
}

const messages = [{ role: 'user' as const, content: 'hi' }];
const silent = () => new FixtureBackend({ script: () => undefined });

test('chat, whole', async () => {
  const { openai } = await client();
  const reply = await openai.chat.completions.create({ model: 'tiny', messages });
  expect(reply.choices[0]?.message.content).toBe('Hello world');
  expect(reply.usage?.prompt_tokens_details?.cached_tokens).toBe(3);
  expect(reply._request_id).toMatch(/^req-/);
});

test('chat, streamed with usage, through the helper that gathers it', async () => {
  const { openai } = await client();
  const stream = openai.chat.completions.stream({
    model: 'tiny',
    messages,
    stream_options: { include_usage: true },
  });
  const texts: string[] = [];
  stream.on('content', (text) => texts.push(text));
  const final = await stream.finalChatCompletion();
  expect(texts).toEqual(['Hello', ' world']);
  expect(final.choices[0]?.finish_reason).toBe('stop');
  expect(final.usage?.total_tokens).toBe(9);
});

test('a reply is sent back as a message as it came, whole and gathered', async () => {
  const { openai, backend } = await client();
  const whole = await openai.chat.completions.create({ model: 'tiny', messages });
  const gathered = await openai.chat.completions.stream({ model: 'tiny', messages }).finalMessage();
  const parsed = await openai.chat.completions.parse({ model: 'tiny', messages });
  for (const message of [whole.choices[0]?.message, gathered, parsed.choices[0]?.message]) {
    if (message === undefined) throw new Error('no message');
    await openai.chat.completions.create({ model: 'tiny', messages: [...messages, message] });
    expect(backend.generations.at(-1)?.request.prompt).toMatchObject({
      messages: [{ content: 'hi' }, { role: 'assistant', content: 'Hello world' }],
    });
  }
});

test('a tier that is asked for is answered with the one there is', async () => {
  const { openai } = await client();
  const ask = { model: 'tiny', messages, store: true, metadata: { run: '7' }, user: 'ann' };
  const whole = await openai.chat.completions.create({ ...ask, service_tier: 'priority' });
  expect(whole.service_tier).toBe('default');
  expect(await openai.chat.completions.create(ask)).not.toHaveProperty('service_tier');
  const chunks = await openai.chat.completions.create({
    ...ask,
    service_tier: 'flex',
    stream: true,
  });
  for await (const chunk of chunks) expect(chunk.service_tier).toBe('default');
});

test('logprobs, streamed', async () => {
  const backend = new FixtureBackend({
    script: (generation) =>
      generation.push(
        accepted(),
        started(),
        delta('a', [tokenLogprob('a', -0.1, 1)]),
        delta('b', [tokenLogprob('b', -0.2, 1)]),
        finished(),
      ),
  });
  const { openai } = await client({ backend });
  const final = await openai.chat.completions
    .stream({ model: 'tiny', messages, logprobs: true, top_logprobs: 1 })
    .finalChatCompletion();
  const content = final.choices[0]?.logprobs?.content;
  expect(content?.map((entry) => entry.logprob)).toEqual([-0.1, -0.2]);
});

test('completions, whole and streamed', async () => {
  const { openai } = await client();
  const whole = await openai.completions.create({ model: 'tiny', prompt: 'x', echo: true });
  expect(whole.choices[0]?.text).toBe('xHello world');
  let text = '';
  const stream = await openai.completions.create({ model: 'tiny', prompt: 'x', stream: true });
  for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
  expect(text).toBe('Hello world');
});

test('models are listed and retrieved, ids with slashes too', async () => {
  const { openai } = await client();
  const ids: string[] = [];
  for await (const model of openai.models.list()) ids.push(model.id);
  expect(ids).toEqual(['org/tiny:Q4']);
  expect((await openai.models.retrieve('org/tiny:Q4')).id).toBe('org/tiny:Q4');
});

test('errors are the client’s own classes, with code and param', async () => {
  const { openai, backend } = await client();
  const ask = (extra: object = {}) =>
    openai.chat.completions.create({ model: 'tiny', messages, ...extra });
  await expect(ask({ temperature: 9 })).rejects.toThrow(BadRequestError);
  await expect(ask({ temperature: 9 })).rejects.toMatchObject({
    status: 400,
    code: 'invalid_request',
    param: 'temperature',
    type: 'invalid_request_error',
  });
  await expect(ask({ model: 'none' })).rejects.toThrow(NotFoundError);
  backend.script = (generation) => generation.push(refusal('queue_full', 1));
  await expect(ask()).rejects.toThrow(RateLimitError);
  await expect(ask({ stream: true })).rejects.toThrow(RateLimitError);
  backend.script = (generation) => generation.push(refusal('host_crashed'));
  await expect(ask()).rejects.toThrow(InternalServerError);
  backend.modelList[0] = { ...fixtureModel('tiny'), state: 'starting' };
  await expect(ask()).rejects.toMatchObject({ status: 503, code: 'model_loading' });
});

test('a missing key is an AuthenticationError, a good one opens', async () => {
  const apiKeys = [{ name: 'a', plain: 'right' }];
  const { openai } = await client({ config: { apiKeys } });
  await expect(openai.models.list()).rejects.toThrow(AuthenticationError);
  const good = openai.withOptions({ apiKey: 'right' });
  expect((await good.models.list()).data.length).toBe(1);
});

test('a failure in mid-stream raises in the client', async () => {
  const backend = silent();
  const { openai } = await client({ backend });
  const stream = await (async () => {
    const pending = openai.chat.completions.create({ model: 'tiny', messages, stream: true });
    await expect.poll(() => backend.generations.length).toBe(1);
    backend.generations[0]?.push(accepted(), started(), delta('a'));
    return pending;
  })();
  const texts: (string | null | undefined)[] = [];
  const read = async () => {
    for await (const chunk of stream) {
      texts.push(chunk.choices[0]?.delta.content);
      backend.generations[0]?.push(refusal('host_crashed'));
    }
  };
  await expect(read()).rejects.toMatchObject({ code: 'host_crashed' });
  expect(texts).toContain('a');
});

test('abort cancels the generation, streamed or not', async () => {
  const backend = silent();
  const { openai } = await client({ backend });
  const controller = new AbortController();
  const stream = openai.chat.completions.create(
    { model: 'tiny', messages, stream: true },
    { signal: controller.signal },
  );
  await expect.poll(() => backend.generations.length).toBe(1);
  backend.generations[0]?.push(accepted(), started(), delta('a'));
  for await (const chunk of await stream) {
    expect(chunk.choices[0]?.delta.role).toBe('assistant');
    break;
  }
  await expect.poll(() => backend.generations[0]?.cancels).toContain('client_closed');
  const whole = openai.chat.completions.create(
    { model: 'tiny', messages },
    { signal: controller.signal },
  );
  const failed = expect(whole).rejects.toThrow(/abort/i);
  await expect.poll(() => backend.generations.length).toBe(2);
  controller.abort();
  await failed;
  await expect.poll(() => backend.generations[1]?.cancels).toEqual(['client_closed']);
});
