/** Embeddings, rerank and moderations over the fixture backend: shapes, numbers, refusals. */
import OpenAI, { BadRequestError } from 'openai';
import { afterEach, describe, expect, test } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import { embeddingsResponseSchema } from '../wire/openai-embeddings.ts';
import { moderationsResponseSchema } from '../wire/openai-moderations.ts';
import { rerankResponseSchema } from '../wire/openai-rerank.ts';
import { encoderFacts, FixtureBackend, fixtureFamily, fixtureModel } from './fixture-backend.ts';
import { EMBED, family, MODERATE, RERANK, refused } from './fixture-encoders.ts';
import { fixtureServer } from './fixture-server.ts';
import { resultOf } from './moderations.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0)) await close();
});

async function client() {
  const server = family();
  const port = await server.listen();
  cleanup.push(() => server.app.close());
  const baseURL = `http://127.0.0.1:${port}/v1`;
  return { ...server, openai: new OpenAI({ apiKey: 'any', baseURL, maxRetries: 0 }) };
}

const norm = (vector: readonly number[]): number => Math.hypot(...vector);

describe('embeddings', () => {
  test('a reply has exactly OpenAI’s fields, of the first model that embeds', async () => {
    const server = family();
    const reply = await server.post(EMBED, { input: 'abc' });
    const body = embeddingsResponseSchema.parse(reply.json());
    expect(body).toMatchObject({ object: 'list', model: 'embedder' });
    expect(body.usage).toEqual({ prompt_tokens: 3, total_tokens: 3 });
    const [first] = body.data;
    expect(first).toMatchObject({ object: 'embedding', index: 0 });
    expect(norm(first?.embedding as number[])).toBeCloseTo(1, 6);
    expect(server.backend.encodes[0]).toMatchObject({
      model: 'embedder',
      task: 'embed',
      inputs: [{ kind: 'text', text: 'abc' }],
      deadlineMs: null,
    });
    expect(reply.headers['server-timing']).toMatch(/^queue;dur=1\.0, compute;dur=2\.0, total;/);
  });

  test.each([
    ['x', [{ kind: 'text', text: 'x' }]],
    [
      ['x', 'yy'],
      [
        { kind: 'text', text: 'x' },
        { kind: 'text', text: 'yy' },
      ],
    ],
    [[5, 6], [{ kind: 'tokens', tokens: Int32Array.of(5, 6) }]],
    [
      [[5], [6, 7]],
      [
        { kind: 'tokens', tokens: Int32Array.of(5) },
        { kind: 'tokens', tokens: Int32Array.of(6, 7) },
      ],
    ],
  ])('input %j is %j', async (input, inputs) => {
    const server = family();
    const reply = await server.post(EMBED, { input });
    expect(reply.json().data.length).toBe(inputs.length);
    expect(server.backend.encodes[0]?.inputs).toEqual(inputs);
  });

  test('base64 holds the same little-endian floats', async () => {
    const server = family();
    const ask = async (extra: object) =>
      (await server.post(EMBED, { input: 'abc', ...extra })).json().data[0].embedding;
    const bytes = Buffer.from(await ask({ encoding_format: 'base64' }), 'base64');
    const floats = Array.from({ length: 8 }, (_, i) => bytes.readFloatLE(4 * i));
    expect(floats).toEqual(await ask({ encoding_format: 'float' }));
  });

  test('vectors are as the model gives them when asked', async () => {
    const reply = await family().post(EMBED, { input: 'abc', normalize: false });
    expect(reply.json().data[0].embedding).toEqual([3, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('shorter vectors are cut, then normalised; only trained lengths', async () => {
    const reply = await family().post(EMBED, { input: 'abc', dimensions: 4 });
    const vector: number[] = reply.json().data[0].embedding;
    expect(vector.length).toBe(4);
    expect(norm(vector)).toBeCloseTo(1, 6);
    expect((vector[0] ?? 0) / (vector[3] ?? 1)).toBeCloseTo(1, 6);
    expect((await family().post(EMBED, { input: 'a', dimensions: 8 })).statusCode).toBe(200);
    expect(await refused(EMBED, { input: 'a', dimensions: 5 })).toMatchObject({
      status: 400,
      param: 'dimensions',
      message: expect.stringContaining('8 numbers and was trained for 4 beside'),
    });
    const none = { ...encoderFacts('embed'), matryoshkaDimensions: [] };
    const models = [{ ...fixtureModel('e'), class: 'embed' as const, encoder: none }];
    const server = fixtureServer({ backend: new FixtureBackend({ models }) });
    const error = await refused(EMBED, { input: 'a', dimensions: 4 }, server);
    expect(error.message).toContain('not trained for shorter');
  });

  test('input_type puts the configured prefix before each text', async () => {
    const [, embedder = fixtureModel('e')] = fixtureFamily();
    const models = [{ ...embedder, inputPrefixes: { query: 'q: ', document: '' } }];
    const server = fixtureServer({ backend: new FixtureBackend({ models }) });
    await server.post(EMBED, { input: ['a', 'b'], input_type: 'query' });
    await server.post(EMBED, { input: 'a', input_type: 'document' });
    expect(server.backend.encodes.map(({ inputs }) => inputs)).toEqual([
      [
        { kind: 'text', text: 'q: a' },
        { kind: 'text', text: 'q: b' },
      ],
      [{ kind: 'text', text: 'a' }],
    ]);
    const tokens = await server.post(EMBED, { input: [1], input_type: 'query' });
    expect(tokens.json().error).toMatchObject({ param: 'input_type' });
    expect(await refused(EMBED, { input: 'a', input_type: 'query' })).toMatchObject({
      param: 'input_type',
      message: expect.stringContaining('no query_prefix is configured'),
    });
  });

  test.each([
    [{ input: [] }, 'input', 'at least one'],
    [{ input: '' }, 'input', 'empty text'],
    [{ input: ['a', ''] }, 'input[1]', 'empty text'],
    [{ input: [[1], []] }, 'input[1]', 'empty list of tokens'],
    [{ input: 'abcdef' }, 'input', '6 characters; at most 5'],
    [{ input: ['a', 'abcdef'] }, 'input[1]', '6 characters; at most 5'],
    [{ input: ['a', 'b', 'c', 'd'] }, 'input', '4 entries; the limit is 3'],
    [{ input: ['a', 1] }, 'input', 'all of one kind'],
    [{ input: { a: 1 } }, 'input', 'must be a text'],
    [{ input: [-1] }, 'input', 'must be a text'],
    [{}, 'input', 'missing'],
    [{ input: 'a', encoding_format: 'int8' }, 'encoding_format', "'float' or 'base64'"],
    [{ input: 'a', dimensions: 0 }, 'dimensions', 'from 1'],
    [{ input: 'a', normalize: 1 }, 'normalize', 'true or false'],
    [{ input: 'a', input_type: 'passage' }, 'input_type', "'query' or 'document'"],
    [{ input: 'a', late_chunking: true }, 'late_chunking', 'not supported'],
    [{ input: 'a', dimension: 4 }, 'dimension', "Did you mean 'dimensions'"],
  ])('%j is refused by name', async (body, param, words) => {
    const server = family({ limits: { inputsMax: 3, inputCharsMax: 5 } });
    const error = await refused(EMBED, body, server);
    expect(error).toMatchObject({ status: 400, param });
    expect(error.message).toContain(words);
  });

  test('what the backend says reaches the client, a row of NaN is a failure', async () => {
    const server = family();
    server.backend.encoding = () =>
      Promise.reject(new PlenumError('context_length_exceeded', '9 tokens of 8'));
    const reply = await server.post(EMBED, { input: 'a' });
    expect([reply.statusCode, reply.json().error.code]).toEqual([400, 'context_length_exceeded']);
    server.backend.encoding = () =>
      Promise.resolve({
        values: Float32Array.of(Number.NaN),
        width: 1,
        tokenCounts: [1],
        queueMs: 0,
        computeMs: 0,
      });
    expect((await server.post(EMBED, { input: 'a' })).json().error.code).toBe('engine_failed');
  });

  test('the official client, which asks for base64', async () => {
    const { openai, backend } = await client();
    const reply = await openai.embeddings.create({ model: 'embedder', input: ['abc', 'd'] });
    expect(reply.data.map(({ embedding }) => embedding.length)).toEqual([8, 8]);
    expect(norm(reply.data[0]?.embedding ?? [])).toBeCloseTo(1, 6);
    const plain = await openai.embeddings.create({
      model: 'embedder',
      input: 'abc',
      encoding_format: 'float',
    });
    expect(plain.data[0]?.embedding).toEqual(reply.data[0]?.embedding);
    const empty = openai.embeddings.create({ model: 'embedder', input: [] });
    await expect(empty).rejects.toThrow(BadRequestError);
    expect(backend.encodes.length).toBe(2);
  });

  test('a client that goes away aborts the work', async () => {
    const { openai, backend, lines } = await client();
    let aborted = false;
    backend.encoding = ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(new PlenumError('client_closed', 'gone'));
        });
      });
    const controller = new AbortController();
    const { signal } = controller;
    const asked = openai.embeddings.create({ model: 'embedder', input: 'a' }, { signal });
    const failed = expect(asked).rejects.toThrow(/abort/i);
    await expect.poll(() => backend.encodes.length).toBe(1);
    controller.abort();
    await failed;
    await expect.poll(() => aborted).toBe(true);
    await expect.poll(() => lines.length).toBe(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ outcome: 'cancelled:client_closed' });
  });

  test('requests are counted with their tokens', async () => {
    const server = family();
    await server.post(EMBED, { input: ['a', 'b'] });
    const page = (await server.get('/metrics')).body;
    const model = 'model="embedder"';
    expect(page).toContain(`plenum_requests_total{${model},outcome="finished:stop"} 1`);
    expect(page).toContain(`plenum_prompt_tokens_total{${model},source="computed"} 6`);
  });
});

describe('rerank', () => {
  const query = 'q';

  test('results come by relevance, ties in the order of the request', async () => {
    const server = family();
    const documents = ['a', { text: 'ccc' }, 'bb', 'ddd'];
    for (const path of [RERANK, '/rerank']) {
      const reply = await server.post(path, { query, documents });
      const body = rerankResponseSchema.parse(reply.json());
      expect(body.results.map(({ index }) => index)).toEqual([1, 3, 2, 0]);
      expect(body.results.map((one) => one.relevance_score)).toEqual(
        [2, 2, 1, 0].map((logit) => 1 / (1 + Math.exp(-logit))),
      );
      expect(body.results[0]).not.toHaveProperty('document');
      expect(body.usage).toEqual({ prompt_tokens: 12, total_tokens: 12 });
      expect(body.model).toBe('ranker');
    }
    expect(server.backend.encodes[0]?.inputs[1]).toEqual({ kind: 'pair', query, document: 'ccc' });
  });

  test('top_n and return_documents', async () => {
    const body = { query, documents: ['a', 'bb'], top_n: 1, return_documents: true };
    const reply = await family().post(RERANK, body);
    expect(reply.json().results).toEqual([
      { index: 1, relevance_score: expect.any(Number), document: { text: 'bb' } },
    ]);
    const more = await family().post(RERANK, { ...body, top_n: 100 });
    expect(more.json().results.length).toBe(2);
  });

  test('logits too large for the logistic function still rank', async () => {
    const server = family();
    server.backend.encoding = () =>
      Promise.resolve({
        values: Float32Array.of(100, 200, -500),
        width: 1,
        tokenCounts: [1, 1, 1],
        queueMs: 0,
        computeMs: 0,
      });
    const reply = await server.post(RERANK, { query, documents: ['a', 'b', 'c'] });
    expect(reply.json().results).toMatchObject([
      { index: 1, relevance_score: 1 },
      { index: 0, relevance_score: 1 },
      { index: 2, relevance_score: expect.closeTo(0) },
    ]);
  });

  test.each([
    [{ query, documents: [] }, 'documents', '1 to 3'],
    [{ query, documents: ['a', 'b', 'c', 'd'] }, 'documents', 'at most 3'],
    [{ query: '', documents: ['a'] }, 'query', 'empty'],
    [{ query: 'abcdef', documents: ['a'] }, 'query', 'at most 5'],
    [{ query, documents: ['a', 'abcdef'] }, 'documents[1]', 'at most 5'],
    [{ query, documents: ['a', 3] }, 'documents[1]', 'text'],
    [{ query, documents: ['a', { txt: 'b' }] }, 'documents[1].txt', 'Unknown'],
    [{ query, documents: ['a'], top_n: 0 }, 'top_n', 'from 1'],
    [{ documents: ['a'] }, 'query', 'missing'],
    [{ query }, 'documents', 'missing'],
    [{ query, documents: ['a'], rank_fields: ['x'] }, 'rank_fields', 'not supported'],
  ])('%j is refused by name', async (body, param, words) => {
    const server = family({ limits: { documentsMax: 3, inputCharsMax: 5 } });
    const error = await refused(RERANK, body, server);
    expect(error).toMatchObject({ status: 400, param });
    expect(error.message).toContain(words);
  });
});

describe('moderations', () => {
  test('one result per text, the parts of one input together', async () => {
    const server = family();
    const reply = await server.post(MODERATE, { input: ['fine', 'bad'] });
    const body = moderationsResponseSchema.parse(reply.json());
    expect(body.id).toMatch(/^modr-/);
    expect(body.results).toEqual([
      {
        flagged: false,
        categories: { violence: false, hate: false },
        category_scores: { violence: 0.1, hate: 0.025 },
        category_applied_input_types: { violence: ['text'], hate: ['text'] },
      },
      {
        flagged: true,
        categories: { violence: true, hate: false },
        category_scores: { violence: 0.9, hate: 0.225 },
        category_applied_input_types: { violence: ['text'], hate: ['text'] },
      },
    ]);
    const part = (text: string) => ({ type: 'text', text });
    const parts = await server.post(MODERATE, { input: [part('very'), part('bad')] });
    expect(parts.json().results.length).toBe(1);
    expect(server.backend.judgements.at(-1)).toMatchObject({
      model: 'guard',
      detail: true,
      subject: { kind: 'input', messages: [{ role: 'user', content: 'very\nbad' }] },
    });
  });

  test('more texts than are judged at once come back in order', async () => {
    const input = Array.from({ length: 40 }, (_, i) => (i % 7 === 3 ? 'bad' : 'fine'));
    const reply = await family().post(MODERATE, { input });
    const flags = reply.json().results.map((result: { flagged: boolean }) => result.flagged);
    expect(flags).toEqual(input.map((text) => text === 'bad'));
  });

  test('a flagged text names its likeliest category though each is below the threshold', () => {
    const categories = [
      { name: 'a', score: 0.2 },
      { name: 'b', score: 0.4 },
    ];
    const verdict = { score: 0.6, categories, promptTokens: 1 };
    expect(resultOf(verdict, 0.5)).toMatchObject({
      flagged: true,
      categories: { a: false, b: true },
    });
    expect(resultOf(verdict, 0.7)).toMatchObject({
      flagged: false,
      categories: { a: false, b: false },
    });
  });

  test.each([
    [{ input: '' }, 'input', 'empty'],
    [{ input: [] }, 'input', '1 to 3'],
    [{ input: ['a', ''] }, 'input[1]', 'empty'],
    [{ input: 'abcdef' }, 'input', 'at most 5'],
    [{ input: ['a', 'b', 'c', 'd'] }, 'input', 'at most 3'],
    [{ input: 3 }, 'input', 'must be a text'],
    [{ input: ['a', { type: 'text', text: 'b' }] }, 'input', 'mixes'],
    [{}, 'input', 'missing'],
    [
      { input: [{ type: 'image_url', image_url: { url: 'x' } }] },
      'input[0].type',
      'only text can be judged',
    ],
  ])('%j is refused by name', async (body, param, words) => {
    const server = family({ limits: { inputsMax: 3, inputCharsMax: 5 } });
    const error = await refused(MODERATE, body, server);
    expect(error).toMatchObject({ status: 400, param });
    expect(error.message).toContain(words);
  });

  test('the official client', async () => {
    const { openai } = await client();
    const reply = await openai.moderations.create({ input: 'bad' });
    expect(reply.results[0]?.flagged).toBe(true);
    expect(reply.model).toBe('guard');
  });
});
