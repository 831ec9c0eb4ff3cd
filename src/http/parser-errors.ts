/**
 * What never becomes a request, or not a whole one: bytes that the HTTP parser refuses, headers and
 * bodies that do not arrive in time. The answer is written by hand, and the one access line and
 * metric that every request gets are written here when no exchange is there to do it. A connection
 * that ends between two requests is no request and leaves no line.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ERROR_TABLE, type ErrorCode, PlenumError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { Exchange, record } from './exchange.ts';
import { errorBody } from './format.ts';
import type { FrontDoor } from './front-door.ts';

type Refusal = 'request_timeout' | 'headers_too_large' | 'invalid_request' | 'client_closed';
const MESSAGES: Readonly<Record<Refusal, string>> = {
  request_timeout: 'The request was not complete in time.',
  headers_too_large: 'The headers are longer than the limit.',
  invalid_request: 'This is not a valid HTTP request.',
  client_closed: 'The client went away before its request was complete.',
};
const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

/** Dropped connections are logged at most this often. */
const DROP_LOG_MS = 10_000;

interface Current {
  readonly exchange: Exchange;
  readonly request: IncomingMessage;
}

/** The request that each open connection serves now, and what went wrong beside it. */
export class Connections {
  readonly #door: FrontDoor;
  readonly #current = new WeakMap<Socket, Current>();
  /** How much a connection had received when the latest request on it was known to be whole. */
  readonly #seenBytes = new WeakMap<Socket, number>();

  #quietUntilMs = 0;

  constructor(door: FrontDoor) {
    this.#door = door;
  }

  /** To be called when the headers of a request have arrived. */
  begin({ raw: request }: { raw: IncomingMessage }, reply: ServerResponse, of: Exchange): void {
    const { socket } = request;
    const seen = (): unknown => this.#seenBytes.set(socket, socket.bytesRead);
    this.#current.set(socket, { exchange: of, request });
    seen();
    request.once('end', seen);
    reply.once('close', seen);
  }

  /** A connection beyond the limit was closed as it came. */
  readonly dropped = (): void => {
    const { clock, config, telemetry } = this.#door;
    telemetry.metrics.connectionDropped();
    if (clock.now() < this.#quietUntilMs) return;
    this.#quietUntilMs = clock.now() + DROP_LOG_MS;
    const { connectionsMax } = config.limits;
    telemetry.log.warn({ connectionsMax }, 'connections are dropped: the limit is reached');
  };

  /** Fastify's `clientErrorHandler`. */
  readonly refuse = (error: NodeJS.ErrnoException, socket: Socket): void => {
    const code = refusalOf(error, socket);
    const current = this.#current.get(socket);
    const hasReply = replyStarted(socket);
    if (current !== undefined && !current.request.complete) {
      if (!hasReply) current.exchange.answeredBeside(code);
    } else if (isParsed(error) || socket.bytesRead > (this.#seenBytes.get(socket) ?? 0)) {
      this.#record(code, 'none');
    }
    if (code === 'client_closed' || hasReply) socket.destroy();
    else answer(socket, code, MESSAGES[code]);
  };

  /** A tunnel is asked for; Node would close the connection without a word. */
  readonly refuseTunnel = (_request: IncomingMessage, socket: Duplex): void => {
    this.#record('method_not_allowed', 'CONNECT');
    answer(socket, 'method_not_allowed', 'This server is no proxy: it takes no CONNECT.');
  };

  /** A request of which nothing is known but that it was one. */
  #record(code: ErrorCode, method: string): void {
    const { clock, telemetry } = this.#door;
    const known = { id: newId('req'), method, route: 'none', generation: false, probe: false };
    const exchange = new Exchange({ ...known, arrivedMs: clock.now() }, (ended) => {
      record(ended, { status: ERROR_TABLE[code].status, totalMs: 0 }, telemetry);
    });
    exchange.code = code;
    exchange.release();
  }
}

/** The parser's own errors are about bytes that did arrive. */
const isParsed = (error: NodeJS.ErrnoException): boolean => error.code?.startsWith('HPE_') ?? false;

function refusalOf(error: NodeJS.ErrnoException, socket: Socket): Refusal {
  if (error.code === 'ECONNRESET' || !socket.writable) return 'client_closed';
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return error.code === 'HPE_HEADER_OVERFLOW' ? 'headers_too_large' : 'invalid_request';
}

function answer(socket: Duplex, code: ErrorCode, message: string): void {
  const refusal = new PlenumError(code, message);
  const body = JSON.stringify(errorBody(refusal));
  const { status } = refusal.row;
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? 'Error'}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
    () => socket.destroy(),
  );
}

/** True when a reply is already on its way on this socket; a second one would garble it. */
function replyStarted(socket: Socket): boolean {
  const message: unknown = Reflect.get(socket, '_httpMessage');
  return (
    typeof message === 'object' &&
    message !== null &&
    'headersSent' in message &&
    message.headersSent === true
  );
}
