/** GET /health, /ready, /metrics, /openapi.json and /docs. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ModelSample } from '../telemetry/metrics.ts';
import { healthSchema, type ReadyBody, readyQuerySchema, readySchema } from '../wire/readiness.ts';
import type { Backend, HostStatus } from './backend.ts';
import { renderDocs } from './docs-page.ts';
import { findModel } from './endpoint.ts';
import type { FrontDoor } from './front-door.ts';
import { errorResponses, jsonResponse, KEYED_ROUTE } from './openapi.ts';

export function probeRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { backend, telemetry, version } = door;
  const routes = app.withTypeProvider<ZodTypeProvider>();
  routes.get(
    '/health',
    {
      config: { open: true, probe: true },
      schema: {
        summary: 'The front door lives',
        tags: ['operation'],
        security: [],
        response: { 200: jsonResponse('It does.', healthSchema), ...errorResponses([]) },
      },
    },
    () => ({ status: 'ok', version }),
  );
  routes.get(
    '/ready',
    {
      config: { probe: true },
      schema: {
        summary: 'Whether requests can be answered, and per model why not',
        description:
          '200 while at least one model is ready and the server is not draining, else 503. ' +
          'With `?model=`, the same for that model alone.',
        tags: ['operation'],
        querystring: readyQuerySchema,
        response: {
          200: jsonResponse('Ready; or degraded: some model is not.', readySchema),
          503: jsonResponse('No model is ready, or the server drains.', readySchema),
          ...errorResponses([...KEYED_ROUTE, 'model_not_found', 'unknown_parameter']),
        },
      },
    },
    (request, reply) => {
      const body = readiness(backend, request.query.model);
      const ready = body.status === 'ready' || body.status === 'degraded';
      return reply.code(ready ? 200 : 503).send(body);
    },
  );
  telemetry.metrics.sampleFrom(() => backend.status().map(sampleOf));
  const { pool } = backend;
  if (pool !== undefined) telemetry.metrics.samplePoolFrom(() => pool.view());
  routes.get(
    '/metrics',
    {
      config: { probe: true },
      schema: {
        summary: 'Prometheus metrics',
        tags: ['operation'],
        response: {
          200: {
            description: 'The text format of Prometheus.',
            content: { 'text/plain': { schema: z.string() } },
          },
          ...errorResponses(KEYED_ROUTE),
        },
      },
    },
    async (_request, reply) => {
      const page = await telemetry.metrics.text();
      return reply.header('content-type', telemetry.metrics.contentType).send(page);
    },
  );
}

/** The document describes no deployment, so that it is readable without a key. */
export function documentRoutes(app: FastifyInstance): void {
  let page: string | null = null;
  app.get(
    '/openapi.json',
    {
      config: { open: true, probe: true },
      schema: {
        summary: 'This document',
        tags: ['operation'],
        security: [],
        response: {
          200: jsonResponse('OpenAPI 3.1.', z.record(z.string(), z.unknown())),
          ...errorResponses([]),
        },
      },
    },
    () => app.swagger(),
  );
  app.get(
    '/docs',
    {
      config: { open: true, probe: true },
      schema: {
        summary: 'This document as a page',
        tags: ['operation'],
        security: [],
        response: {
          200: { description: 'A page.', content: { 'text/html': { schema: z.string() } } },
          ...errorResponses([]),
        },
      },
    },
    (_request, reply) => {
      page ??= renderDocs(app.swagger());
      return reply
        .header('content-type', 'text/html; charset=utf-8')
        .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
        .send(page);
    },
  );
}

export function readiness(backend: Backend, only: string | undefined): ReadyBody {
  const wanted = only === undefined ? null : findModel(backend.models(), only).id;
  const statuses = backend
    .status()
    .filter((status) => wanted === null || status.model.id === wanted);
  // A model that comes when it is asked for answers, if later.
  const ready = statuses.filter(({ model }) => /^(ready|unload)/.test(model.state)).length;
  const whole = ready === statuses.length ? 'ready' : 'degraded';
  const status = backend.draining ? 'draining' : ready === 0 ? 'unready' : whole;
  return { status, models: statuses.map(readyModel) };
}

function readyModel(status: HostStatus): ReadyBody['models'][number] {
  const { model, report } = status;
  return {
    id: model.id,
    state: model.state,
    reason: model.reason,
    load_fraction: status.loadFraction,
    restarts: status.restarts,
    waiting: report?.waiting ?? null,
    running: report?.running ?? null,
    predicted_wait_ms: report?.predictedWaitMs ?? null,
    device: status.device,
  };
}

function sampleOf({ model, restarts, report }: HostStatus): ModelSample {
  return { model: model.id, ready: model.state === 'ready', restarts, report };
}
