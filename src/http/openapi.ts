/**
 * The OpenAPI document: made from the schemas that validate requests, and from the error table.
 * Reachable at /openapi.json; docs-page.ts makes it readable.
 */
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import type { ZodType } from 'zod';
import { ERROR_TABLE, type ErrorCode } from '../base/errors.ts';
import { errorBodySchema } from '../wire/openai-error.ts';

interface ResponseDoc {
  readonly description: string;
  readonly content: Readonly<Record<string, { readonly schema: ZodType }>>;
}

export function jsonResponse(description: string, schema: ZodType): ResponseDoc {
  return { description, content: { 'application/json': { schema } } };
}

/** A reply that is one object, or a stream of chunks. */
export function completionResponse(whole: ZodType, chunk: ZodType): ResponseDoc {
  return {
    description: 'The completion, whole or as a stream of chunks.',
    content: {
      'application/json': { schema: whole },
      'text/event-stream': { schema: chunk },
    },
  };
}

/** Errors that every route can give, and those of every route with a body. */
const ANY_ROUTE: readonly ErrorCode[] = ['invalid_request', 'forbidden', 'internal'];
export const KEYED_ROUTE: readonly ErrorCode[] = ['invalid_api_key'];
export const BODY_ROUTE: readonly ErrorCode[] = [
  ...KEYED_ROUTE,
  'invalid_json',
  'unknown_parameter',
  'request_timeout',
  'body_too_large',
  'headers_too_large',
  'unsupported_media_type',
  'too_many_streams',
];
export const MODEL_ROUTE: readonly ErrorCode[] = [
  'model_not_found',
  'model_loading',
  'model_unavailable',
  'pool_full',
  'model_does_not_fit',
  'memory_pressure',
];
/** Of every route that has a model compute something. */
export const COMPUTE_ROUTE: readonly ErrorCode[] = [
  ...BODY_ROUTE,
  ...MODEL_ROUTE,
  'unsupported_parameter',
  'context_length_exceeded',
  'wrong_endpoint',
  'queue_full',
  'wait_expired',
  'deadline_exceeded',
  'draining',
  'host_crashed',
  'engine_failed',
];
export const GENERATION_ROUTE: readonly ErrorCode[] = [
  ...COMPUTE_ROUTE,
  'cells_exhausted',
  'guard_unavailable',
];

/** Error replies by status, each naming its codes. */
export function errorResponses(codes: readonly ErrorCode[]): Record<number, ResponseDoc> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set([...codes, ...ANY_ROUTE])) {
    const { status } = ERROR_TABLE[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const docs: Record<number, ResponseDoc> = {};
  for (const [status, list] of byStatus) {
    const lines = list.map((code) => `\`${code}\`: ${ERROR_TABLE[code].meaning}`);
    docs[status] = jsonResponse(lines.join('\n'), errorBodySchema);
  }
  return docs;
}

/** Registers the collector; routes must be registered after it. */
export function registerOpenApi(
  app: FastifyInstance,
  options: { readonly version: string; readonly keys: boolean },
): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Plenum',
        version: options.version,
        description: 'OpenAI-compatible inference on this machine.',
      },
      components: {
        securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      },
      security: options.keys ? [{ key: [] }] : [],
    },
    transform: (document) => {
      const { schema, url } = jsonSchemaTransform(document);
      if (!url.endsWith('/*')) return { schema, url };
      // A wildcard is how the router takes ids with slashes; a client sees one parameter.
      const params = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] };
      return { schema: { ...schema, params }, url: url.replace('*', '{id}') };
    },
  });
}
