/** POST /v1/chat/completions and POST /v1/completions. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { chatChunkSchema, chatRequestSchema, chatResponseSchema } from '../wire/openai-chat.ts';
import {
  completionChunkSchema,
  completionRequestSchema,
  completionResponseSchema,
} from '../wire/openai-completion.ts';
import type { FrontDoor } from './front-door.ts';
import { serveChat, serveCompletion } from './generate.ts';
import { chatJob, completionJob } from './job.ts';
import { completionResponse, errorResponses, GENERATION_ROUTE } from './openapi.ts';

const STREAM_NOTE =
  'With `stream`, server-sent events: chunks, then `data: [DONE]`. A failure after the first ' +
  'event ends the stream with `data: {"error": …}` and no `[DONE]`. A stream that has nothing to ' +
  'send for a while sends comments (`: keep-alive`).';

export function generationRoutes(app: FastifyInstance, door: FrontDoor): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const { limits } = door.config;
  routes.post(
    '/v1/chat/completions',
    {
      config: { generation: true },
      schema: {
        summary: 'Answer a chat',
        description: STREAM_NOTE,
        tags: ['generation'],
        body: chatRequestSchema(limits),
        response: {
          200: completionResponse(chatResponseSchema, chatChunkSchema),
          ...errorResponses([...GENERATION_ROUTE, 'template_missing', 'template_failed']),
        },
      },
    },
    (request, reply) => {
      const job = chatJob(request.body, door.backend.models(), limits);
      return serveChat({ door, request, reply, job });
    },
  );
  routes.post(
    '/v1/completions',
    {
      config: { generation: true },
      schema: {
        summary: 'Continue a text',
        description: STREAM_NOTE,
        tags: ['generation'],
        body: completionRequestSchema(limits),
        response: {
          200: completionResponse(completionResponseSchema, completionChunkSchema),
          ...errorResponses(GENERATION_ROUTE),
        },
      },
    },
    (request, reply) => {
      const job = completionJob(request.body, door.backend.models(), limits);
      return serveCompletion({ door, request, reply, job });
    },
  );
}
