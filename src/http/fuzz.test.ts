import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorBodySchema } from '../wire/openai-error.ts';
import { fixtureServer } from './fixture-server.ts';

const server = fixtureServer();
const PATHS = ['/v1/chat/completions', '/v1/completions', '/tokenize', '/detokenize'];

/** Whatever is sent, the answer is 200 or one refusal in the one shape; never a fault of ours. */
async function expectOrderly(path: string, body: string): Promise<void> {
  const reply = await server.post(path, body);
  if (reply.statusCode === 200) return;
  expect(reply.statusCode, reply.body).toBeGreaterThanOrEqual(400);
  expect(reply.statusCode, reply.body).toBeLessThan(500);
  const { error } = errorBodySchema.parse(reply.json());
  expect(error.code).not.toBe('internal');
  expect(error.message.length).toBeLessThan(1000);
}

const FIELDS = [
  'model',
  'messages',
  'prompt',
  'content',
  'tokens',
  'role',
  'type',
  'text',
  'stop',
  'n',
  'seed',
  'stream',
  'stream_options',
  'logit_bias',
  'temperature',
  'tools',
  'logprobs',
  'echo',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
];

const { value: anyBody } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false, '', 'user', 'text', '\ud800', '\udc00x', '\u0000', 'tiny'),
    fc.integer(),
    fc.double(),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...FIELDS), fc.string({ maxLength: 8 })), tie('value'), {
      maxKeys: 5,
    }),
  ),
}));

test('any JSON gets an orderly answer from every endpoint', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), anyBody, (path, body) =>
      expectOrderly(path, JSON.stringify(body)),
    ),
    { numRuns: 400 },
  );
});

test('any one field of a good body may be anything', async () => {
  const good = { messages: [{ role: 'user', content: 'hi' }] };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...FIELDS), anyBody, (field, value) =>
      expectOrderly('/v1/chat/completions', JSON.stringify({ ...good, [field]: value })),
    ),
    { numRuns: 400 },
  );
});

test('any bytes get an orderly answer', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), fc.string({ unit: 'binary' }), expectOrderly),
    { numRuns: 200 },
  );
});

const chat = (extra: string): string => `{"messages":[{"role":"user","content":"hi"}],${extra}}`;

test.each([
  ['100,000 stop strings', chat(`"stop":${JSON.stringify(new Array(100_000).fill('a'))}`), 'stop'],
  ['100,000 messages', `{"messages":[${new Array(100_000).fill('1').join()}]}`, 'messages'],
  [
    '100,000 parts that are none',
    `{"messages":[{"role":"user","content":[${new Array(100_000).fill('1').join()}]}]}`,
    null,
  ],
  ['100,000 unknown fields', `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":1`)}}`, null],
  ['100,000 levels of lists', chat(`"user":${'['.repeat(100_000)}${']'.repeat(100_000)}`), null],
  ['40 levels', chat(`"chat_template_kwargs":${'{"a":'.repeat(40)}1${'}'.repeat(40)}`), null],
  [
    'a lone surrogate',
    '{"messages":[{"role":"user","content":"a\\ud800b"}]}',
    'messages[0].content',
  ],
  ['a lone surrogate in stop', chat('"stop":["ok","\\udc00"]'), 'stop[1]'],
  ['__proto__ at the top', chat('"__proto__":{"temperature":0}'), '__proto__'],
  [
    '__proto__ inside',
    chat('"chat_template_kwargs":{"a":{"__proto__":{"x":1}}}'),
    'chat_template_kwargs.a.__proto__',
  ],
  ['a list that only looks like text', '{"messages":[["role","user"]]}', 'messages[0]'],
])('%s: one clear refusal', async (_name, body, param) => {
  const reply = await server.post('/v1/chat/completions', body);
  expect(reply.statusCode).toBe(400);
  const { error } = errorBodySchema.parse(reply.json());
  if (param !== null) expect(error.param).toBe(param);
  expect(error.message.length).toBeLessThan(1000);
  expect(({} as Record<string, unknown>).temperature).toBeUndefined();
});

test('a long list of tokens is fine, and one wrong token in it is one clear refusal', async () => {
  const prompt: (number | string)[] = new Array<number>(200_000).fill(7);
  expect((await server.post('/v1/completions', { prompt })).statusCode).toBe(200);
  prompt.push('x');
  const reply = await server.post('/v1/completions', { prompt });
  expect(reply.statusCode).toBe(400);
});
