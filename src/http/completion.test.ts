import { expect, test } from 'vitest';
import { completionChunkSchema, completionResponseSchema } from '../wire/openai-completion.ts';
import {
  accepted,
  delta,
  FixtureBackend,
  finished,
  started,
  tokenLogprob,
} from './fixture-backend.ts';
import { events, fixtureServer } from './fixture-server.ts';

const COMPLETIONS = '/v1/completions';

test('a whole reply has exactly the fields of OpenAI, and 16 tokens are the default', async () => {
  const server = fixtureServer();
  const reply = await server.post(COMPLETIONS, { prompt: 'Once' });
  const body = completionResponseSchema.parse(reply.json());
  expect(body.id).toMatch(/^cmpl-/);
  expect(body.choices).toEqual([
    { index: 0, text: 'Hello world', logprobs: null, finish_reason: 'stop' },
  ]);
  expect(server.backend.generations[0]?.request).toMatchObject({
    maxTokens: 16,
    prompt: { kind: 'text', text: 'Once' },
  });
});

test('max_tokens of -1 is as many as fit', async () => {
  const server = fixtureServer();
  await server.post(COMPLETIONS, { prompt: 'Once', max_tokens: -1 });
  expect(server.backend.generations[0]?.request.maxTokens).toBeNull();
});

test.each([
  ['a', [{ kind: 'text', text: 'a' }]],
  [
    ['a', 'b'],
    [{ text: 'a' }, { text: 'b' }],
  ],
  [[1, 2], [{ kind: 'tokens', tokens: Int32Array.of(1, 2) }]],
  [
    [[1], [2, 3]],
    [{ tokens: Int32Array.of(1) }, { tokens: Int32Array.of(2, 3) }],
  ],
])('a prompt may be %j', async (prompt, expected) => {
  const server = fixtureServer();
  const reply = await server.post(COMPLETIONS, { prompt });
  expect(reply.statusCode).toBe(200);
  const prompts = server.backend.generations.map((one) => one.request.prompt);
  expect(prompts).toMatchObject(expected);
  expect(reply.json().usage.prompt_tokens).toBe(7 * expected.length);
});

test.each([
  [{}, 'prompt', 'missing'],
  [{ prompt: null }, 'prompt', 'string'],
  [{ prompt: [] }, 'prompt', 'list'],
  [{ prompt: [1, 'a'] }, 'prompt', 'list'],
  [{ prompt: [-1] }, 'prompt', 'token ids'],
  [{ prompt: [[]] }, 'prompt', 'token ids'],
  [{ prompt: new Array(65).fill('a') }, 'prompt', '64'],
  [{ prompt: new Array(64).fill('a'), n: 3 }, 'n', '192'],
  [{ prompt: 'a', logprobs: 6 }, 'logprobs', 'from 0 to 5'],
  [{ prompt: 'a', logprobs: true }, 'logprobs', 'whole number'],
  [{ prompt: 'a', max_tokens: 0 }, 'max_tokens', 'score'],
  [{ prompt: 'a', max_tokens: 0, echo: true }, 'max_tokens', 'score'],
])('bad bodies are refused with the field: %j', async (body, param, words) => {
  const server = fixtureServer();
  const reply = await server.post(COMPLETIONS, body);
  expect(reply.statusCode).toBe(400);
  expect(reply.json().error).toMatchObject({ code: 'invalid_request', param });
  expect(reply.json().error.message).toContain(words);
  expect(server.backend.generations).toEqual([]);
});

test.each([
  ['suffix', 'x'],
  ['best_of', 2],
])('%s is refused by name', async (param, value) => {
  const reply = await fixtureServer().post(COMPLETIONS, { prompt: 'a', [param]: value });
  expect(reply.json().error).toMatchObject({ code: 'unsupported_parameter', param });
});

test('choices are indexed prompt-major', async () => {
  const backend = new FixtureBackend();
  backend.script = (generation) => {
    const { prompt, sampling } = generation.request;
    const name = prompt.kind === 'text' ? prompt.text : '';
    generation.push(accepted(), started(), delta(`${name}${sampling.seed}`), finished());
  };
  const reply = await fixtureServer({ backend }).post(COMPLETIONS, {
    prompt: ['a', 'b'],
    n: 2,
    seed: 1,
  });
  const texts = completionResponseSchema.parse(reply.json()).choices.map((choice) => choice.text);
  expect(texts).toEqual(['a1', 'a2', 'b1', 'b2']);
});

test('echo begins with the prompt, as text or from tokens', async () => {
  const server = fixtureServer();
  const text = await server.post(COMPLETIONS, { prompt: 'Once ', echo: true });
  expect(text.json().choices[0].text).toBe('Once Hello world');
  const tokens = await server.post(COMPLETIONS, { prompt: [79, 75], echo: true });
  expect(tokens.json().choices[0].text).toBe('OKHello world');
  const stream = await server.post(COMPLETIONS, { prompt: 'Once ', echo: true, stream: true });
  const chunks = events(stream.body).slice(0, -1);
  const texts = chunks.map((chunk) => completionChunkSchema.parse(chunk).choices[0]?.text);
  expect(texts).toEqual(['Once ', 'Hello', ' world', '']);
});

function scoringBackend(): FixtureBackend {
  return new FixtureBackend({
    script: (generation) =>
      generation.push(
        accepted(),
        started(),
        {
          kind: 'prompt',
          text: 'Añb',
          logprobs: [null, tokenLogprob('ñ', -1, 1), tokenLogprob('b', -2, 1)],
        },
        delta('__proto__', [tokenLogprob('__proto__', -0.5, 0)]),
        finished('length'),
      ),
  });
}

test('echo with logprobs scores the prompt; offsets count characters', async () => {
  const backend = scoringBackend();
  const server = fixtureServer({ backend });
  const body = { prompt: 'Añb', echo: true, logprobs: 1, max_tokens: 1 };
  const reply = completionResponseSchema.parse((await server.post(COMPLETIONS, body)).json());
  expect(backend.generations[0]?.request).toMatchObject({
    promptLogprobs: 1,
    sampling: { logprobs: 1 },
  });
  expect(reply.choices[0]).toMatchObject({
    text: 'Añb__proto__',
    finish_reason: 'length',
    logprobs: {
      tokens: ['A', 'ñ', 'b', '__proto__'],
      token_logprobs: [null, -1, -2, -0.5],
      text_offset: [0, 1, 2, 3],
    },
  });
  const top = reply.choices[0]?.logprobs?.top_logprobs;
  expect(top?.[0]).toBeNull();
  expect(top?.[1]).toEqual({ ñ: -1, ñ0: -1 });
});

test('a token that is a part of a character is written as bytes', async () => {
  const part = { ...tokenLogprob('\ufffd', -1, 0), bytes: [0xe2, 0x80] };
  const rest = { ...tokenLogprob('\ufffd', -1, 0), bytes: [0x94] };
  const backend = new FixtureBackend({
    script: (generation) =>
      generation.push(accepted(), started(), delta('—', [part, rest]), finished()),
  });
  const reply = await fixtureServer({ backend }).post(COMPLETIONS, { prompt: 'a', logprobs: 0 });
  expect(reply.json().choices[0].logprobs).toEqual({
    tokens: ['bytes:\\xe2\\x80', 'bytes:\\x94'],
    token_logprobs: [-1, -1],
    top_logprobs: [{ 'bytes:\\xe2\\x80': -1 }, { 'bytes:\\x94': -1 }],
    text_offset: [0, 1],
  });
});

test('a stream of scored text continues its offsets from chunk to chunk', async () => {
  const body = { prompt: 'Añb', echo: true, logprobs: 1, stream: true };
  const reply = await fixtureServer({ backend: scoringBackend() }).post(COMPLETIONS, body);
  const chunks = events(reply.body)
    .slice(0, -1)
    .map((chunk) => completionChunkSchema.parse(chunk));
  expect(chunks.map((chunk) => chunk.choices[0]?.logprobs?.text_offset)).toEqual([
    [0, 1, 2],
    [3],
    undefined,
  ]);
});
