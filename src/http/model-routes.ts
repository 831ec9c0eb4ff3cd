/** GET /v1/models, GET /v1/models/{id}, POST /tokenize, POST /detokenize. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { PlenumError } from '../base/errors.ts';
import type { EncoderFacts } from '../wire/encode.ts';
import type { TokenPiece } from '../wire/host.ts';
import type { ModelInfo, SamplingDefaults } from '../wire/model-info.ts';
import { type ModelBody, modelListSchema, modelSchema } from '../wire/openai-models.ts';
import {
  detokenizeRequestSchema,
  detokenizeResponseSchema,
  type TokenizeRequest,
  type TokenizeResponse,
  tokenizeRequestSchema,
  tokenizeResponseSchema,
} from '../wire/tokenize.ts';
import type { ClientPrompt } from './backend.ts';
import { endpointsOf, findModel } from './endpoint.ts';
import type { FrontDoor } from './front-door.ts';
import { chatPrompt } from './job.ts';
import { BODY_ROUTE, errorResponses, jsonResponse, KEYED_ROUTE, MODEL_ROUTE } from './openapi.ts';

export function modelRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { backend } = door;
  const routes = app.withTypeProvider<ZodTypeProvider>();
  routes.get(
    '/v1/models',
    {
      schema: {
        summary: 'The served models',
        tags: ['models'],
        response: {
          200: jsonResponse('In the order of the configuration.', modelListSchema),
          ...errorResponses(KEYED_ROUTE),
        },
      },
    },
    () => ({ object: 'list', data: backend.models().map((model) => modelBody(model)) }),
  );
  // A wildcard, because ids have slashes (`org/name`) and clients may or may not encode them.
  routes.get(
    '/v1/models/*',
    {
      schema: {
        summary: 'One model, by id or alias',
        tags: ['models'],
        params: z.object({ '*': z.string() }),
        response: {
          200: jsonResponse('The model.', modelSchema),
          ...errorResponses([...KEYED_ROUTE, 'model_not_found']),
        },
      },
    },
    (request) => modelBody(findModel(backend.models(), request.params['*'])),
  );
}

function modelBody(model: ModelInfo): ModelBody {
  return {
    id: model.id,
    object: 'model',
    created: model.created,
    owned_by: 'plenum',
    meta: {
      aliases: [...model.aliases],
      description: model.description,
      context_tokens: model.contextTokens,
      parallel: model.parallel,
      synthetic: model.synthetic,
      class: model.class,
      chat: model.hasChatTemplate,
      endpoints: [...endpointsOf(model)],
      embedding: embeddingBody(model.encoder),
      labels: [...(model.encoder?.labels ?? [])],
      sampling: samplingBody(model.samplingDefaults),
      state: model.state,
    },
  };
}

function embeddingBody(encoder: EncoderFacts | null): ModelBody['meta']['embedding'] {
  if (encoder === null || !encoder.tasks.includes('embed')) return null;
  const { dimensions, pooling, matryoshkaDimensions } = encoder;
  return { dimensions, pooling, shorter_dimensions: [...matryoshkaDimensions] };
}

function samplingBody(defaults: SamplingDefaults): Record<string, number> {
  const { temperature, topP: top_p, topK: top_k, minP: min_p, repeatPenalty } = defaults;
  const named = { temperature, top_p, top_k, min_p, repeat_penalty: repeatPenalty };
  const given = Object.entries(named).filter(
    (entry): entry is [string, number] => entry[1] !== undefined,
  );
  return Object.fromEntries(given);
}

export function tokenizeRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { backend, config } = door;
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const codes = [...BODY_ROUTE, ...MODEL_ROUTE, 'unsupported_parameter'] as const;
  routes.post(
    '/tokenize',
    {
      schema: {
        summary: 'Text or chat messages to tokens, and their count',
        description: 'The shapes of llama.cpp’s server; `model` and `messages` are additions.',
        tags: ['models'],
        body: tokenizeRequestSchema(config.limits),
        response: {
          200: jsonResponse('The tokens.', tokenizeResponseSchema),
          ...errorResponses([...codes, 'template_missing', 'template_failed']),
        },
      },
    },
    async (request): Promise<TokenizeResponse> => {
      const { body } = request;
      const prompt = tokenizePrompt(body);
      const model = findModel(backend.models(), body.model);
      const answer = await backend.tokenize(model.id, {
        prompt,
        addSpecial: body.add_special ?? false,
        parseSpecial: body.parse_special ?? true,
        withPieces: body.with_pieces ?? false,
      });
      return {
        tokens: answer.pieces === null ? [...answer.tokens] : answer.pieces.map(pieceBody),
        count: answer.tokens.length,
        context_tokens: answer.contextTokens,
      };
    },
  );
  routes.post(
    '/detokenize',
    {
      schema: {
        summary: 'Tokens to text',
        tags: ['models'],
        body: detokenizeRequestSchema(config.limits),
        response: {
          200: jsonResponse('The text.', detokenizeResponseSchema),
          ...errorResponses(codes),
        },
      },
    },
    async (request) => {
      const model = findModel(backend.models(), request.body.model);
      const tokens = Int32Array.from(request.body.tokens);
      return { content: await backend.detokenize(model.id, tokens) };
    },
  );
}

function tokenizePrompt(body: TokenizeRequest): ClientPrompt {
  const { content, messages, chat_template_kwargs } = body;
  if (messages !== undefined && content === undefined) {
    for (const param of ['add_special', 'parse_special'] as const) {
      if (body[param] === undefined) continue;
      throw new PlenumError(
        'invalid_request',
        `'${param}' goes with 'content'; the chat template decides for 'messages'.`,
        { param },
      );
    }
    return chatPrompt({ messages, chat_template_kwargs });
  }
  if (content !== undefined && messages === undefined) return { kind: 'text', text: content };
  throw new PlenumError(
    'invalid_request',
    "Exactly one of 'content' (text) and 'messages' (a chat) must be given.",
    { param: 'content' },
  );
}

/** A piece as text, or as bytes where it is a part of a character. */
function pieceBody(piece: TokenPiece): { id: number; piece: string | number[] } {
  const bytes = Buffer.from(piece.bytes);
  const text = bytes.toString('utf8');
  const whole = Buffer.from(text, 'utf8').equals(bytes);
  return { id: piece.id, piece: whole ? text : [...piece.bytes] };
}
