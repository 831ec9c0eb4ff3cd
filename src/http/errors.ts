/**
 * Every error that leaves the front door, in one shape: what routes throw, what Fastify finds,
 * unknown paths and wrong methods (parser-errors.ts: what never becomes a request). Faults of our
 * own are logged, and a client gets the request id instead of their text.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PlenumError, toPlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { errorBody } from './format.ts';
import type { FrontDoor } from './front-door.ts';

const RETRY_AFTER_MS_DEFAULT = 1000;

/** Retry-After of 429 and 503, in whole seconds, at least one. */
export function retryAfterSeconds(error: PlenumError): number | null {
  const { status } = error.row;
  if (status !== 429 && status !== 503) return null;
  return Math.max(1, Math.ceil((error.retryAfterMs ?? RETRY_AFTER_MS_DEFAULT) / 1000));
}

export async function sendError(reply: FastifyReply, error: PlenumError): Promise<void> {
  const retryAfter = retryAfterSeconds(error);
  if (retryAfter !== null) reply.header('retry-after', String(retryAfter));
  if (error.code === 'invalid_api_key') reply.header('www-authenticate', 'Bearer');
  await reply
    .code(error.row.status)
    .header('content-type', 'application/json; charset=utf-8')
    .send(JSON.stringify(errorBody(error)));
}

/** What an error is judged by beside itself. */
interface FailedRequest {
  readonly id: string;
  /** `complete`: the whole body has arrived. */
  readonly raw: {
    readonly complete: boolean;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  };
}

/** With the sum, where the client said how long its body is. */
function bodyTooLarge(bodyBytesMax: number, contentLength: unknown): PlenumError {
  const bytes = Number(contentLength);
  const limit = `the limit of ${bodyBytesMax} (server.limits.body_bytes_max)`;
  const message =
    bytes > bodyBytesMax
      ? `The body has ${bytes} bytes, ${bytes - bodyBytesMax} more than ${limit}.`
      : `The body has more bytes than ${limit}.`;
  return new PlenumError('body_too_large', message, { details: { bodyBytesMax } });
}

/** Fastify's own errors that a client can cause. */
function fromFastify(
  error: FastifyError,
  door: FrontDoor,
  request: FailedRequest,
): PlenumError | null {
  const { bodyBytesMax } = door.config.limits;
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return bodyTooLarge(bodyBytesMax, request.raw.headers['content-length']);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new PlenumError(
        'unsupported_media_type',
        'The body must be sent with "content-type: application/json".',
      );
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new PlenumError('invalid_request', 'The body is not as long as Content-Length says.');
    case 'FST_ERR_BAD_URL':
      return new PlenumError('invalid_request', 'The path is not a valid URL.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new PlenumError('not_found', 'The path is longer than any that exists.');
    case 'ECONNRESET':
      if (request.raw.complete) return null;
      return new PlenumError('client_closed', 'The client went away while it sent its request.');
    default:
      return null;
  }
}

/** Anything thrown, as what the client is told; details of our own faults go to the log only. */
export function toClientError(
  thrown: unknown,
  door: FrontDoor,
  request: FailedRequest,
): PlenumError {
  const isFastify = thrown instanceof Error && 'code' in thrown && !(thrown instanceof PlenumError);
  const known = isFastify ? fromFastify(thrown as FastifyError, door, request) : null;
  const error = known ?? toPlenumError(thrown);
  if (error.code !== 'internal') return error;
  door.telemetry.log.error({ id: request.id, err: error.cause ?? error }, 'internal error');
  return new PlenumError(
    'internal',
    `The server has a fault; its log has the details under the request id ${request.id}.`,
  );
}

/** Registers the handlers for errors, unknown paths and wrong methods. */
export function installErrorHandlers(app: FastifyInstance, door: FrontDoor): void {
  const methods = new Map<string, Set<string>>();
  app.addHook('onRoute', (route) => {
    if (route.url === '*') return;
    const known = methods.get(route.url) ?? new Set();
    for (const method of [route.method].flat()) known.add(method);
    methods.set(route.url, known);
  });
  app.setErrorHandler(async (thrown: unknown, request, reply) => {
    const error = toClientError(thrown, door, request);
    request.exchange.code ??= error.code;
    await sendError(reply, error);
    return reply;
  });
  app.setNotFoundHandler((request, reply) => {
    throw unknownPath(request, reply, methods);
  });
}

function unknownPath(
  request: FastifyRequest,
  reply: FastifyReply,
  methods: ReadonlyMap<string, ReadonlySet<string>>,
): PlenumError {
  const path = request.url.split('?', 1)[0] ?? '';
  const pattern = [...methods.keys()].find((url) =>
    url.endsWith('*') ? path.startsWith(url.slice(0, -1)) : url === path,
  );
  if (pattern === undefined) {
    const near = nearest(path.slice(0, 64), methods.keys());
    const hint = near === null ? 'GET /docs lists them.' : `Did you mean ${near}?`;
    return new PlenumError(
      'not_found',
      `There is no ${request.method} ${path.slice(0, 200)} here. ${hint}`,
    );
  }
  const allowed = [...(methods.get(pattern) ?? [])].join(', ');
  reply.header('allow', allowed);
  return new PlenumError(
    'method_not_allowed',
    `${path.slice(0, 200)} takes ${allowed}, not ${request.method}.`,
  );
}
