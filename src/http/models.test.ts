import { expect, test } from 'vitest';
import { modelListSchema, modelSchema } from '../wire/openai-models.ts';
import { healthSchema, readySchema } from '../wire/readiness.ts';
import { tokenizeResponseSchema } from '../wire/tokenize.ts';
import { FixtureBackend, fixtureModel } from './fixture-backend.ts';
import { fixtureServer } from './fixture-server.ts';

test('models are listed in OpenAI’s shape, in the order of the configuration', async () => {
  const backend = new FixtureBackend({ models: [fixtureModel('b'), fixtureModel('a/c:Q4')] });
  const reply = await fixtureServer({ backend }).get('/v1/models');
  const body = modelListSchema.parse(reply.json());
  expect(body.data.map((model) => model.id)).toEqual(['b', 'a/c:Q4']);
});

test.each(['org/tiny:Q4', 'org%2Ftiny%3AQ4', 'tiny'])(
  'one model is found by id, encoded or not, and by alias: %s',
  async (path) => {
    const reply = await fixtureServer().get(`/v1/models/${path}`);
    expect(modelSchema.parse(reply.json())).toMatchObject({ id: 'org/tiny:Q4', object: 'model' });
  },
);

test('a path that is far too long for a model id is not found', async () => {
  const reply = await fixtureServer().get(`/v1/models/${'a'.repeat(5000)}`);
  expect(reply.statusCode).toBe(404);
});

test('tokenize has the shape of llama.cpp’s server, with a count', async () => {
  const server = fixtureServer();
  const plain = tokenizeResponseSchema.parse(
    (await server.post('/tokenize', { content: 'Hi' })).json(),
  );
  expect(plain).toEqual({ tokens: [72, 105], count: 2, context_tokens: 2048 });
  expect(server.backend.tokenizeCalls[0]).toEqual({
    prompt: { kind: 'text', text: 'Hi' },
    addSpecial: false,
    parseSpecial: true,
    withPieces: false,
  });
  const pieces = await server.post('/tokenize', {
    content: 'é',
    add_special: true,
    parse_special: false,
    with_pieces: true,
  });
  expect(pieces.json().tokens).toEqual([
    { id: 195, piece: [195] },
    { id: 169, piece: [169] },
  ]);
  expect(server.backend.tokenizeCalls[1]).toMatchObject({ addSpecial: true, parseSpecial: false });
});

test('tokenize counts chat messages through the template', async () => {
  const messages = [{ role: 'user', content: 'Hi' }];
  const reply = await fixtureServer().post('/tokenize', { model: 'tiny', messages });
  expect(reply.json().count).toBe('<user>Hi'.length);
});

test.each([
  [{}, 'content'],
  [{ content: 'a', messages: [{ role: 'user', content: 'b' }] }, 'content'],
  [{ content: 3 }, 'content'],
  [{ messages: [{ role: 'user', content: 'b' }], add_special: true }, 'add_special'],
])('tokenize refuses %j', async (body, param) => {
  const reply = await fixtureServer().post('/tokenize', body);
  expect(reply.statusCode).toBe(400);
  expect(reply.json().error.param).toBe(param);
});

test('detokenize gives the text back', async () => {
  const server = fixtureServer();
  const reply = await server.post('/detokenize', { tokens: [72, 105] });
  expect(reply.json()).toEqual({ content: 'Hi' });
  const bad = await server.post('/detokenize', { tokens: [1, -1] });
  expect(bad.json().error).toMatchObject({ code: 'invalid_request', param: 'tokens' });
});

test('health says that the process lives', async () => {
  const reply = await fixtureServer().get('/health');
  expect(healthSchema.parse(reply.json())).toEqual({ status: 'ok', version: '1.2.3' });
});

test('ready is 200 while any model is, and says why another is not', async () => {
  const down = {
    ...fixtureModel('b'),
    state: 'backing_off' as const,
    reason: 'crashed 3 times; next try in 8 s',
  };
  const backend = new FixtureBackend({ models: [fixtureModel('a'), down] });
  const server = fixtureServer({ backend });
  const reply = await server.get('/ready');
  expect(reply.statusCode).toBe(200);
  expect(readySchema.parse(reply.json())).toMatchObject({
    status: 'degraded',
    models: [
      { id: 'a', state: 'ready', reason: null, waiting: 1, running: 2, predicted_wait_ms: 250 },
      { id: 'b', state: 'backing_off', reason: 'crashed 3 times; next try in 8 s' },
    ],
  });
  expect((await server.get('/ready?model=a')).statusCode).toBe(200);
  const alone = await server.get('/ready?model=b');
  expect([alone.statusCode, alone.json().status]).toEqual([503, 'unready']);
  expect((await server.get('/ready?model=c')).statusCode).toBe(404);
  expect((await server.get('/ready?modle=a')).json().error.code).toBe('unknown_parameter');
  backend.draining = true;
  expect((await server.get('/ready')).json().status).toBe('draining');
});
