/** A server of one model of each kind over the fixture backend, and what it refuses. */
import { expect } from 'vitest';
import { errorBodySchema } from '../wire/openai-error.ts';
import { FixtureBackend, fixtureFamily } from './fixture-backend.ts';
import { fixtureServer } from './fixture-server.ts';

export const EMBED = '/v1/embeddings';
export const RERANK = '/v1/rerank';
export const MODERATE = '/v1/moderations';

export function family(limits: Parameters<typeof fixtureServer>[0] = {}) {
  return fixtureServer({ backend: new FixtureBackend({ models: fixtureFamily() }), ...limits });
}

export async function refused(path: string, body: object, server = family()) {
  const reply = await server.post(path, body);
  expect(reply.statusCode, reply.body).toBeGreaterThanOrEqual(400);
  expect(server.backend.encodes).toEqual([]);
  expect(server.backend.judgements).toEqual([]);
  return { status: reply.statusCode, ...errorBodySchema.parse(reply.json()).error };
}
