/**
 * POST /v1/embeddings: inputs with their prefixes to the encoder, its rows cut, normalised and
 * written as the client asked.
 */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { PlenumError } from '../base/errors.ts';
import type { EncodeInput } from '../wire/encode.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import {
  type EmbeddingInput,
  type EmbeddingsRequest,
  type EmbeddingsResponse,
  embeddingsRequestSchema,
  embeddingsResponseSchema,
} from '../wire/openai-embeddings.ts';
import { isTokenList } from '../wire/openai-fields.ts';
import { type Computing, checkLength, compute } from './computing.ts';
import type { HttpLimits } from './config.ts';
import { modelFor } from './endpoint.ts';
import type { FrontDoor } from './front-door.ts';
import { COMPUTE_ROUTE, errorResponses, jsonResponse } from './openapi.ts';
import { base64Of, rowOf, unit } from './vector.ts';

export function embeddingsRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { limits } = door.config;
  app.withTypeProvider<ZodTypeProvider>().post(
    '/v1/embeddings',
    {
      config: { generation: true },
      schema: {
        summary: 'Vectors of texts',
        description:
          'One vector per input, of length 1 by default. Inputs of requests that arrive together ' +
          'are computed together.',
        tags: ['encoding'],
        body: embeddingsRequestSchema(limits),
        response: {
          200: jsonResponse('The vectors, in the order of the inputs.', embeddingsResponseSchema),
          ...errorResponses(COMPUTE_ROUTE),
        },
      },
    },
    (request, reply) => {
      const model = modelFor('/v1/embeddings', door.backend.models(), request.body.model);
      const deadlineMs = request.body.deadline_ms ?? door.config.limits.deadlineMsDefault;
      return serve({ door, request, reply, model, deadlineMs }, request.body);
    },
  );
}

async function serve(computing: Computing, body: EmbeddingsRequest): Promise<EmbeddingsResponse> {
  const { door, request, model } = computing;
  const { limits } = door.config;
  const inputs = inputsOf(body.input, limits).map((input, index) =>
    prefixed(input, index, { model, type: body.input_type ?? null }),
  );
  checkDimensions(model, body.dimensions ?? null);
  const encoded = await compute(computing, async (signal) => {
    const reply = await door.backend.encode({
      requestId: request.id,
      model: model.id,
      task: 'embed',
      inputs,
      deadlineMs: computing.deadlineMs,
      signal,
    });
    return { ...reply, promptTokens: reply.tokenCounts.reduce((sum, count) => sum + count, 0) };
  });
  const { values, width, promptTokens } = encoded;
  const cut = body.dimensions ?? width;
  // Asked again: what the model can do is known for sure only when it has answered.
  checkDimensions({ ...model, encoder: encoderOf(door, model) }, body.dimensions ?? null);
  const vectors = inputs.map((_, index) => {
    const vector = rowOf(values, width, index).subarray(0, cut);
    if (!vector.every(Number.isFinite)) {
      throw new PlenumError('engine_failed', `the vector of input ${index} is not finite`);
    }
    return body.normalize === false ? vector : unit(vector);
  });
  const base64 = body.encoding_format === 'base64';
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: base64 ? base64Of(vector) : Array.from(vector),
    })),
    model: model.id,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}

const encoderOf = (door: FrontDoor, model: ModelInfo): ModelInfo['encoder'] =>
  door.backend.models().find(({ id }) => id === model.id)?.encoder ?? null;

const invalid = (message: string, param: string): PlenumError =>
  new PlenumError('invalid_request', message, { param });

/** Throws `invalid_request` naming the input that is empty or too long by its index. */
function inputsOf(input: EmbeddingInput, limits: HttpLimits): EncodeInput[] {
  if (typeof input === 'string') return [textInput(input, 'input', limits)];
  const { length } = input;
  if (length === 0)
    throw invalid("'input' is an empty list; it needs at least one entry.", 'input');
  if (isTokenList(input)) return [{ kind: 'tokens', tokens: Int32Array.from(input) }];
  if (length > limits.inputsMax) {
    throw invalid(`'input' has ${length} entries; the limit is ${limits.inputsMax}.`, 'input');
  }
  return input.map((item, index) => {
    const param = `input[${index}]`;
    if (typeof item === 'string') return textInput(item, param, limits);
    const tokens = Int32Array.from(item as readonly number[]);
    if (tokens.length === 0) throw invalid(`'${param}' is an empty list of tokens.`, param);
    return { kind: 'tokens', tokens };
  });
}

function textInput(text: string, param: string, limits: HttpLimits): EncodeInput {
  if (text === '') throw invalid(`'${param}' is an empty text: it has no vector.`, param);
  checkLength(text, limits.inputCharsMax, param);
  return { kind: 'text', text };
}

function prefixed(
  input: EncodeInput,
  index: number,
  { model, type }: { model: ModelInfo; type: 'query' | 'document' | null },
): EncodeInput {
  if (type === null) return input;
  if (input.kind !== 'text') {
    throw invalid(
      `'input_type' goes with texts; input ${index} is a list of tokens.`,
      'input_type',
    );
  }
  const prefix = model.inputPrefixes[type];
  if (prefix !== null) return { kind: 'text', text: prefix + input.text };
  throw invalid(
    `'input_type' is '${type}', and no ${type}_prefix is configured for the model '${model.id}'. ` +
      `Leave it out, or set embedding.${type}_prefix of the model (empty if it needs none).`,
    'input_type',
  );
}

function checkDimensions({ id, encoder }: ModelInfo, asked: number | null): void {
  if (asked === null || encoder === null || asked === encoder.dimensions) return;
  if (encoder.matryoshkaDimensions.includes(asked)) return;
  const shorter = encoder.matryoshkaDimensions;
  const own = `The model '${id}' gives vectors of ${encoder.dimensions} numbers`;
  const why =
    shorter.length === 0
      ? `${own} and was not trained for shorter ones.`
      : `${own} and was trained for ${shorter.join(', ')} beside that.`;
  throw invalid(`'dimensions' cannot be ${asked}. ${why}`, 'dimensions');
}
