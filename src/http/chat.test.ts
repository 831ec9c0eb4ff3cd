import { expect, test } from 'vitest';
import { chatResponseSchema } from '../wire/openai-chat.ts';
import type { ClientRequest } from './backend.ts';
import { FixtureBackend, fixtureModel } from './fixture-backend.ts';
import { fixtureServer } from './fixture-server.ts';

const messages = [{ role: 'user', content: 'hi' }];
const CHAT = '/v1/chat/completions';

async function requestFor(body: object): Promise<ClientRequest> {
  const server = fixtureServer();
  const reply = await server.post(CHAT, { messages, ...body });
  expect(reply.statusCode, reply.body).toBe(200);
  const [generation] = server.backend.generations;
  if (generation === undefined) throw new Error('nothing reached the backend');
  return generation.request;
}

async function refused(body: object) {
  const server = fixtureServer();
  const reply = await server.post(CHAT, { messages, ...body });
  expect(server.backend.generations).toEqual([]);
  return { status: reply.statusCode, ...reply.json().error };
}

test('a whole reply has exactly the fields of OpenAI', async () => {
  const reply = await fixtureServer().post(CHAT, { model: 'tiny', messages });
  const body = chatResponseSchema.parse(reply.json());
  expect(body.id).toMatch(/^chatcmpl-[0-9a-f]{24}$/);
  expect(body.model).toBe('org/tiny:Q4');
  expect(body.choices).toEqual([
    {
      index: 0,
      message: { role: 'assistant', content: 'Hello world', refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ]);
  expect(body.usage).toMatchObject({
    prompt_tokens: 7,
    completion_tokens: 2,
    total_tokens: 9,
    prompt_tokens_details: { cached_tokens: 3 },
  });
  expect(reply.headers['server-timing']).toMatch(
    /^queue;dur=1\.5, prefill;dur=20\.0, cached;desc="3", decode;dur=30\.0, total;dur=[\d.]+$/,
  );
});

test('defaults are the ones of OpenAI and what it lacks is neutral', async () => {
  const request = await requestFor({});
  expect(request).toMatchObject({
    model: 'org/tiny:Q4',
    maxTokens: null,
    stop: [],
    promptLogprobs: null,
    deadlineMs: null,
    prompt: { kind: 'chat', messages: [{ role: 'user', content: 'hi' }], templateArgs: {} },
    sampling: {
      temperature: 1,
      topP: 1,
      topK: 0,
      minP: 0,
      seed: null,
      frequencyPenalty: 0,
      presencePenalty: 0,
      repeatPenalty: 1,
      repeatLastN: 64,
      logitBias: [],
      ignoreEos: false,
      logprobs: null,
    },
  });
});

test('what a request leaves open is the model’s default, then OpenAI’s', async () => {
  const samplingDefaults = { temperature: 0.2, topP: 0.9, topK: 40, minP: 0.1, repeatPenalty: 1.1 };
  const models = [{ ...fixtureModel('m'), samplingDefaults }];
  const server = fixtureServer({ backend: new FixtureBackend({ models }) });
  await server.post(CHAT, { messages });
  await server.post(CHAT, { messages, temperature: 1, top_k: 0, repeat_penalty: 1 });
  await server.post('/v1/completions', { prompt: 'x', top_p: 1 });
  expect(server.backend.generations.map(({ request }) => request.sampling)).toMatchObject([
    { ...samplingDefaults, frequencyPenalty: 0 },
    { temperature: 1, topP: 0.9, topK: 0, minP: 0.1, repeatPenalty: 1 },
    { ...samplingDefaults, topP: 1 },
  ]);
  const { meta } = (await server.get('/v1/models')).json().data[0];
  expect(meta.sampling).toEqual({
    temperature: 0.2,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.1,
    repeat_penalty: 1.1,
  });
});

test('every field reaches the backend', async () => {
  const request = await requestFor({
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.05,
    repetition_penalty: 1.1,
    repeat_last_n: -1,
    frequency_penalty: -2,
    presence_penalty: 2,
    logit_bias: { '15': -100, '16': 3.5 },
    seed: 42,
    stop: ['a', 'b'],
    max_completion_tokens: 9,
    ignore_eos: true,
    logprobs: true,
    top_logprobs: 20,
    deadline_ms: 5000,
    chat_template_kwargs: { enable_thinking: false },
  });
  expect(request).toMatchObject({
    maxTokens: 9,
    stop: ['a', 'b'],
    deadlineMs: 5000,
    prompt: { templateArgs: { enable_thinking: false } },
    sampling: {
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      repeatPenalty: 1.1,
      repeatLastN: -1,
      frequencyPenalty: -2,
      presencePenalty: 2,
      logitBias: [
        [15, -100],
        [16, 3.5],
      ],
      seed: 42,
      ignoreEos: true,
      logprobs: 20,
    },
  });
});

test('text parts are joined and developer is system', async () => {
  const { prompt } = await requestFor({
    messages: [
      { role: 'developer', content: 'be brief' },
      {
        role: 'user',
        name: 'ann',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'assistant', content: 'c', refusal: null, tool_calls: [], annotations: [] },
    ],
  });
  expect(prompt).toMatchObject({
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'a\nb', name: 'ann' },
      { role: 'assistant', content: 'c' },
    ],
  });
});

test('values that ask for nothing are accepted, as official clients send them', async () => {
  await requestFor({
    tools: [],
    tool_choice: 'none',
    parallel_tool_calls: true,
    functions: null,
    response_format: { type: 'text' },
    modalities: ['text'],
    audio: null,
    prediction: null,
    service_tier: 'auto',
    store: true,
    metadata: { a: 'b' },
    user: 'u',
    safety_identifier: 's',
    prompt_cache_key: 'k',
    stop: null,
    temperature: null,
    logit_bias: null,
    max_tokens: null,
    seed: null,
    stream: null,
    stream_options: null,
    logprobs: null,
    top_logprobs: null,
    n: null,
    best_of: 1,
    verbosity: 'medium',
  });
});

test.each([
  ['tools', [{ type: 'function' }]],
  ['tool_choice', 'required'],
  ['functions', [{}]],
  ['response_format', { type: 'json_object' }],
  ['modalities', ['text', 'audio']],
  ['audio', {}],
  ['prediction', {}],
  ['web_search_options', {}],
  ['reasoning_effort', 'high'],
  ['best_of', 2],
  ['grammar', 'root ::= "a"'],
  ['mirostat', 2],
])('%s is refused by name as not supported', async (param, value) => {
  const error = await refused({ [param]: value });
  expect(error).toMatchObject({ status: 400, code: 'unsupported_parameter', param });
  expect(error.message).toContain(param);
});

test.each([
  [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }],
  [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }],
  [{ role: 'tool', content: 'x', tool_call_id: 'y' }],
  [{ role: 'assistant', content: 'x', tool_calls: [{}] }],
])('a message that needs more than text is refused by name: %j', async (message) => {
  const error = await refused({ messages: [message] });
  expect(error).toMatchObject({ status: 400, code: 'unsupported_parameter' });
  expect(error.param).toMatch(/^messages\[0\]\./);
});

test.each([
  [{ temperature: 2.1 }, 'temperature', 'from 0 to 2'],
  [{ temperature: '1' }, 'temperature', '"1"'],
  [{ top_p: -0.1 }, 'top_p', 'from 0 to 1'],
  [{ top_k: 1.5 }, 'top_k', 'whole number'],
  [{ min_p: 2 }, 'min_p', 'from 0 to 1'],
  [{ frequency_penalty: 3 }, 'frequency_penalty', 'from -2 to 2'],
  [{ presence_penalty: -3 }, 'presence_penalty', 'from -2 to 2'],
  [{ repeat_penalty: 0 }, 'repeat_penalty', '0.01'],
  [{ repeat_penalty: 1.1, repetition_penalty: 1.2 }, 'repeat_penalty', 'contradict'],
  [{ repeat_last_n: -2 }, 'repeat_last_n', 'from -1'],
  [{ logit_bias: { '1': 101 } }, 'logit_bias.1', 'from -100 to 100'],
  [{ logit_bias: { one: 1 } }, 'logit_bias.one', 'token ids'],
  [{ logit_bias: [1] }, 'logit_bias', 'token ids'],
  [{ seed: 1.5 }, 'seed', 'whole number'],
  [{ n: 0 }, 'n', 'from 1 to 16'],
  [{ n: 17 }, 'n', 'from 1 to 16'],
  [{ stop: [''] }, 'stop[0]', '1 to 256'],
  [{ stop: 3 }, 'stop', 'at most 16 strings'],
  [{ stop: [1] }, 'stop[0]', '1 to 256'],
  [{ stop: 'x'.repeat(257) }, 'stop', 'of 257 characters'],
  [{ max_tokens: 0 }, 'max_completion_tokens', 'at least 1'],
  [{ max_tokens: -2 }, 'max_tokens', 'from 1'],
  [{ max_tokens: 1, max_completion_tokens: 2 }, 'max_tokens', 'contradict'],
  [{ logprobs: 1 }, 'logprobs', 'true or false'],
  [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs', 'from 0 to 20'],
  [{ top_logprobs: 1 }, 'top_logprobs', 'logprobs'],
  [{ stream_options: { include_usage: true } }, 'stream_options', 'stream'],
  [{ deadline_ms: 0 }, 'deadline_ms', 'from 1'],
  [{ model: '' }, 'model', 'name of a model'],
  [{ messages: [] }, 'messages', '1 to 4096'],
  [{ messages: 'hi' }, 'messages', 'list'],
  [{ messages: [{ role: 'user' }] }, 'messages[0].content', 'missing'],
  [{ messages: [{ role: 'king', content: 'x' }] }, 'messages[0].role', '"king"'],
  [{ messages: [{ role: 'user', content: [] }] }, 'messages[0].content', 'list'],
  [{ messages: [3] }, 'messages[0]', 'object'],
])('out of range is refused with field, value and range: %j', async (body, param, words) => {
  const error = await refused(body);
  expect(error).toMatchObject({ status: 400, code: 'invalid_request', param });
  expect(error.message).toContain(words);
});

test('unknown fields are refused with the nearest known one, at every level', async () => {
  expect(await refused({ temprature: 1 })).toMatchObject({
    code: 'unknown_parameter',
    param: 'temprature',
    message: "Unknown parameter 'temprature'. Did you mean 'temperature'?",
  });
  const nested = { messages: [{ role: 'user', content: [{ type: 'text', text: 'a', txt: 1 }] }] };
  expect((await refused(nested)).message).toContain("'messages[0].content[0].text'");
  expect(
    (await refused({ stream: true, stream_options: { include_usge: true } })).message,
  ).toContain("'stream_options.include_usage'");
});
