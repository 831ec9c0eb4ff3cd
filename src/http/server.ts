/**
 * The front door as a Fastify instance: limits, request ids, keys, errors and routes put together.
 * It owns no model and no process; everything behind it is the Backend it is given. The order in
 * which a request is judged: host name, key, concurrency, size, JSON, schema, model, backend.
 */
import type { IncomingMessage } from 'node:http';
import cors from '@fastify/cors';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { systemClock } from '../base/clock.ts';
import { ERROR_TABLE, PlenumError } from '../base/errors.ts';
import { isRequestId, newId } from '../base/ids.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { adminRoutes } from './admin-routes.ts';
import { assertBindable, hostGuard, KeyRing, requireAdmin } from './auth.ts';
import type { Backend } from './backend.ts';
import { parseBody } from './body.ts';
import type { HttpConfig } from './config.ts';
import { embeddingsRoutes } from './embeddings.ts';
import { installErrorHandlers, sendError, toClientError } from './errors.ts';
import { Exchange, record } from './exchange.ts';
import type { FrontDoor } from './front-door.ts';
import { generationRoutes } from './generation-routes.ts';
import { assertGuards } from './guarded.ts';
import { modelRoutes, tokenizeRoutes } from './model-routes.ts';
import { moderationsRoutes } from './moderations.ts';
import { registerOpenApi } from './openapi.ts';
import { documentRoutes, probeRoutes } from './operation-routes.ts';
import { Connections } from './parser-errors.ts';
import { rerankRoutes } from './rerank.ts';
import { FlushQueue } from './sse.ts';
import { requestValidator } from './validate.ts';

export interface ServerOptions {
  readonly backend: Backend;
  readonly config: HttpConfig;
  readonly telemetry: Telemetry;
  readonly version: string;
}

const MODEL_ID_CHARS_MAX = 512;
const TCP_KEEPALIVE_MS = 30_000;

/** Throws `config_invalid` for API keys that cannot be, and for guards that are none. */
export function createServer(options: ServerOptions): FastifyInstance {
  assertGuards(options.backend.models(), options.config.apiKeys);
  const door: FrontDoor = { ...options, clock: systemClock, flushQueue: new FlushQueue() };
  const connections = new Connections(door);
  const app = bareServer(door, connections);
  app.setValidatorCompiler(requestValidator(door.config.limits));
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  installParser(app);
  installExchange(app, door, connections);
  installGuards(app, door);
  installErrorHandlers(app, door);
  installQuickClose(app);
  registerOpenApi(app, {
    version: door.version,
    keys: door.config.apiKeys.length > 0,
  });
  app.register(async (scope) => {
    generationRoutes(scope, door);
    embeddingsRoutes(scope, door);
    rerankRoutes(scope, door);
    moderationsRoutes(scope, door);
    modelRoutes(scope, door);
    tokenizeRoutes(scope, door);
    adminRoutes(scope, door);
    probeRoutes(scope, door);
    documentRoutes(scope);
  });
  return app;
}

function bareServer(door: FrontDoor, connections: Connections): FastifyInstance {
  const { limits } = door.config;
  const app = fastify({
    logger: false,
    genReqId,
    bodyLimit: limits.bodyBytesMax,
    keepAliveTimeout: limits.keepAliveMs,
    requestTimeout: limits.bodyTimeoutMs,
    clientErrorHandler: connections.refuse,
    frameworkErrors: (error, request, reply) => {
      openExchange(request, reply, { door, connections });
      const refusal = toClientError(error, door, request);
      request.exchange.code = refusal.code;
      void sendError(reply, refusal);
    },
    // Draining is the backend's word (503 in our own shape), not Fastify's.
    return503OnClosing: false,
    routerOptions: { maxParamLength: MODEL_ID_CHARS_MAX },
    http: {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: Math.min(limits.requestHeaderTimeoutMs, limits.bodyTimeoutMs),
      requestTimeout: limits.bodyTimeoutMs,
      connectionsCheckingInterval: Math.max(
        100,
        Math.min(limits.requestHeaderTimeoutMs, limits.bodyTimeoutMs) / 4,
      ),
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_MS,
      requireHostHeader: false,
    },
  });
  const { server } = app;
  server.maxConnections = limits.connectionsMax;
  server.on('drop', connections.dropped);
  server.on('connect', connections.refuseTunnel);
  // An expectation that is not known may be left unmet; Node would answer past the hooks.
  server.on('checkExpectation', (request, reply) => server.emit('request', request, reply));
  return app;
}

/** The client's own `x-request-id` where it is a usable one, else a new one. */
function genReqId(request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && isRequestId(given) ? given : newId('req');
}

/** Only JSON is taken: a page of another site cannot send that without asking first (CORS). */
function installParser(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request: FastifyRequest, body: Buffer, done) => {
      try {
        const encoding = request.headers['content-encoding'] ?? 'identity';
        if (encoding !== 'identity') {
          throw new PlenumError(
            'unsupported_media_type',
            'The body must not be compressed (no content-encoding).',
          );
        }
        done(null, parseBody(body));
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  );
}

/** Follows each request from its headers to its end, for the log and the metrics. */
function installExchange(app: FastifyInstance, door: FrontDoor, connections: Connections): void {
  app.decorateRequest('exchange');
  app.addHook('onRequest', (request, reply, done) => {
    openExchange(request, reply, { door, connections });
    done();
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    const { stalledReaderMs } = door.config.limits;
    reply.raw.setTimeout(stalledReaderMs, () => reply.raw.destroy());
    done();
  });
}

interface Following {
  readonly door: FrontDoor;
  readonly connections: Connections;
}

function openExchange(request: FastifyRequest, reply: FastifyReply, following: Following): void {
  const { telemetry, clock, backend } = following.door;
  const { raw } = reply;
  // A path that cannot be read has no route, and its options are not all there.
  const { config, url } = request.routeOptions;
  const start = {
    id: request.id,
    method: request.method,
    route: url ?? 'none',
    generation: config?.generation === true,
    probe: config?.probe === true,
    arrivedMs: clock.now(),
  };
  request.exchange = new Exchange(start, (exchange) => {
    const written = raw.headersSent ? raw.statusCode : ERROR_TABLE.client_closed.status;
    const status = exchange.statusBeside ?? written;
    record(exchange, { status, totalMs: clock.now() - start.arrivedMs }, telemetry);
  });
  raw.once('close', () => request.exchange.release());
  following.connections.begin(request, raw, request.exchange);
  reply.header('x-request-id', request.id);
  reply.header('x-content-type-options', 'nosniff');
  if (backend.draining) reply.header('connection', 'close');
}

/**
 * `app.close()` waits for the requests under way. Their connections would then stay open for the
 * keep-alive time, and the server with them: they are closed as they fall idle.
 */
function installQuickClose(app: FastifyInstance): void {
  let closing = false;
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.addHook('onRequest', (_request, reply, done) => {
    reply.raw.once('close', () => {
      if (closing) setImmediate(() => app.server.closeIdleConnections());
    });
    done();
  });
}

function installGuards(app: FastifyInstance, door: FrontDoor): void {
  const { config } = door;
  const guard = hostGuard(config);
  const keys = new KeyRing(config.apiKeys);
  if (guard !== null) {
    app.addHook('onRequest', (request, _reply, done) => {
      guard(request.headers.host);
      done();
    });
  }
  if (config.corsOrigins !== null) {
    app.register(cors, {
      origin: [...config.corsOrigins],
      methods: ['GET', 'POST'],
      exposedHeaders: ['x-request-id', 'server-timing', 'retry-after'],
    });
  }
  if (!keys.empty) {
    app.addHook('onRequest', (request, _reply, done) => {
      const { open: isOpen, admin } = request.routeOptions.config;
      if (isOpen !== true) {
        const key = keys.check(request.headers.authorization);
        request.exchange.keyName = key.name;
        if (admin === true) requireAdmin(key);
      }
      done();
    });
  }
  installConcurrencyLimit(app, door);
}

/** Counts requests with a body from their headers on, so that bodies in memory are bounded too. */
function installConcurrencyLimit(app: FastifyInstance, door: FrontDoor): void {
  const max = door.config.limits.concurrentRequestsMax;
  const { metrics } = door.telemetry;
  let open = 0;
  app.addHook('onRequest', (request, reply, done) => {
    if (request.method !== 'POST') {
      done();
      return;
    }
    if (open >= max) {
      throw new PlenumError(
        'too_many_streams',
        `This server serves at most ${max} requests at a time; they are all taken.`,
        { retryAfterMs: 1000, details: { concurrentRequestsMax: max } },
      );
    }
    open += 1;
    metrics.openRequests(open);
    reply.raw.once('close', () => {
      open -= 1;
      metrics.openRequests(open);
    });
    done();
  });
}

/**
 * Binds and listens; returns the URL. Throws `bind_refused` for an address beyond loopback without
 * keys unless `force`, and `port_in_use`.
 */
export async function listen(
  app: FastifyInstance,
  config: HttpConfig,
  options: { readonly force: boolean },
): Promise<string> {
  const { host, port } = config;
  assertBindable(host, config.apiKeys, options.force);
  try {
    return await app.listen({ host, port });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'EADDRINUSE') {
      throw new PlenumError(
        'port_in_use',
        `Another process listens on ${host}:${port}. Choose another port, or stop that process.`,
        { cause: error, details: { host, port } },
      );
    }
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EACCES') {
      throw new PlenumError(
        'config_invalid',
        `This machine cannot listen on ${host}:${port} (${code}).`,
        { cause: error, details: { host, port } },
      );
    }
    throw error;
  }
}
