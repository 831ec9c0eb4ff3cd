/** POST /v1/rerank and /rerank: documents by their relevance to a query. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { PlenumError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
  type RerankRequest,
  type RerankResponse,
  rerankRequestSchema,
  rerankResponseSchema,
} from '../wire/openai-rerank.ts';
import { type Computing, checkLength, compute } from './computing.ts';
import { modelFor } from './endpoint.ts';
import type { FrontDoor } from './front-door.ts';
import { COMPUTE_ROUTE, errorResponses, jsonResponse } from './openapi.ts';
import { rowOf, sigmoid } from './vector.ts';

const PATHS = ['/v1/rerank', '/rerank'] as const;

export function rerankRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { limits } = door.config;
  for (const path of PATHS) {
    app.withTypeProvider<ZodTypeProvider>().post(
      path,
      {
        config: { generation: true },
        schema: {
          summary: 'Documents by their relevance to a query',
          description:
            'The shape of Jina’s and Cohere’s APIs. Results come most relevant first; equally ' +
            'relevant ones in the order of the request.',
          tags: ['encoding'],
          body: rerankRequestSchema(limits),
          response: {
            200: jsonResponse('The ranking.', rerankResponseSchema),
            ...errorResponses(COMPUTE_ROUTE),
          },
        },
      },
      (request, reply) => {
        const model = modelFor('/v1/rerank', door.backend.models(), request.body.model);
        const deadlineMs = request.body.deadline_ms ?? door.config.limits.deadlineMsDefault;
        return serve({ door, request, reply, model, deadlineMs }, request.body);
      },
    );
  }
}

async function serve(computing: Computing, body: RerankRequest): Promise<RerankResponse> {
  const { door, request, model } = computing;
  const { limits } = door.config;
  const { query } = body;
  checkLength(query, limits.inputCharsMax, 'query');
  const documents = body.documents.map((document, index) => {
    const text = typeof document === 'string' ? document : document.text;
    checkLength(text, limits.inputCharsMax, `documents[${index}]`);
    return text;
  });
  const { values, width, promptTokens } = await compute(computing, async (signal) => {
    const reply = await door.backend.encode({
      requestId: request.id,
      model: model.id,
      task: 'rank',
      inputs: documents.map((document) => ({ kind: 'pair', query, document })),
      deadlineMs: computing.deadlineMs,
      signal,
    });
    return { ...reply, promptTokens: reply.tokenCounts.reduce((sum, count) => sum + count, 0) };
  });
  const ranked = documents
    .map((text, index) => ({ text, index, logit: rankOf(rowOf(values, width, index), index) }))
    // By the logit: the logistic function makes large ones equal. The sort is stable.
    .sort((a, b) => b.logit - a.logit)
    .slice(0, body.top_n ?? documents.length);
  return {
    id: newId('rerank'),
    model: model.id,
    results: ranked.map(({ text, index, logit }) => ({
      index,
      relevance_score: sigmoid(logit),
      ...(body.return_documents === true ? { document: { text } } : {}),
    })),
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}

function rankOf(row: Float32Array, index: number): number {
  const [logit] = row;
  if (logit !== undefined && !Number.isNaN(logit)) return logit;
  throw new PlenumError('engine_failed', `the rank of document ${index} is not a number`);
}
