/** Encoders asked for what they are not: other endpoints, any JSON, too much of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errorBodySchema } from '../wire/openai-error.ts';
import { EMBED, family, MODERATE, RERANK, refused } from './fixture-encoders.ts';
import { fixtureServer } from './fixture-server.ts';

describe('a model of another kind', () => {
  const chat = { messages: [{ role: 'user', content: 'hi' }] };
  test.each([
    ['/v1/chat/completions', chat, 'embedder', '/v1/embeddings', 'tiny'],
    ['/v1/completions', { prompt: 'x' }, 'ranker', '/v1/rerank', 'tiny'],
    [EMBED, { input: 'x' }, 'tiny', '/v1/chat/completions', 'embedder'],
    [RERANK, { query: 'x', documents: ['y'] }, 'embedder', '/v1/embeddings', 'ranker'],
    [MODERATE, { input: 'x' }, 'ranker', '/v1/rerank', 'guard'],
  ])('%s names the right endpoint', async (path, body, model, right, other) => {
    const error = await refused(path, { model, ...body });
    expect(error).toMatchObject({ status: 400, code: 'wrong_endpoint', param: 'model' });
    expect(error.message).toContain(`answers on ${right}`);
    expect(error.message).toContain(`There it is ${other}.`);
  });

  test('an endpoint that no model serves says which are served', async () => {
    const server = fixtureServer();
    expect(await refused(EMBED, { input: 'x' }, server)).toMatchObject({
      status: 404,
      code: 'model_not_found',
      message: expect.stringContaining('org/tiny:Q4'),
    });
  });

  test('the list of models says what each is for', async () => {
    const reply = await family().get('/v1/models');
    const metas = reply.json().data.map((one: { meta: object }) => one.meta);
    expect(metas).toMatchObject([
      { class: 'chat', endpoints: ['/v1/chat/completions', '/v1/completions'], embedding: null },
      {
        class: 'embed',
        endpoints: [EMBED],
        embedding: { dimensions: 8, pooling: 'mean', shorter_dimensions: [4] },
      },
      { class: 'rerank', endpoints: [RERANK], embedding: null },
      { class: 'guard', endpoints: [MODERATE] },
    ]);
  });
});

const { value: anything } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, '', 'text', '\ud800', 'embedder', 'ranker', 'guard'),
    fc.integer(),
    fc.double(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.constantFrom('input', 'query', 'documents', 'model', 'top_n', 'type', 'text', '__proto__'),
      tie('value'),
      { maxKeys: 5 },
    ),
  ),
}));

test('any JSON gets an orderly answer', async () => {
  const server = family();
  const path = fc.constantFrom(EMBED, RERANK, MODERATE);
  const good = { input: 'a', query: 'q', documents: ['d'] };
  await fc.assert(
    fc.asyncProperty(path, anything, fc.boolean(), async (url, body, mix) => {
      const isObject = typeof body === 'object' && body !== null;
      const payload = mix && isObject ? { ...good, ...body } : body;
      const reply = await server.post(url, JSON.stringify(payload));
      if (reply.statusCode === 200) return;
      expect(reply.statusCode, reply.body).toBeLessThan(500);
      expect(errorBodySchema.parse(reply.json()).error.code).not.toBe('internal');
    }),
    { numRuns: 300 },
  );
});

test('ten megabytes are one clear refusal', async () => {
  const error = await refused(EMBED, { input: 'x'.repeat(10_000_000) });
  expect(error).toMatchObject({ status: 413, code: 'body_too_large' });
});
