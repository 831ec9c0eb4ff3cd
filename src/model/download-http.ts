/**
 * One HTTP request with the guarantees that a download needs: separate limits on connecting and on
 * silence, redirects followed by hand so that credentials stay with the host they are meant for,
 * no transparent decompression (bytes on the wire are the bytes that are checksummed), proxies of
 * the environment (HTTPS_PROXY, NO_PROXY). It does not retry.
 */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { PlenumError } from '../base/errors.ts';
import { redactUrl } from './reference.ts';

export interface TransportLimits {
  /** Name resolution, connection and TLS together. */
  readonly connectMs: number;
  /** Longest silence while an answer or the next bytes are awaited. */
  readonly stallMs: number;
}

export const TRANSPORT_LIMITS: TransportLimits = { connectMs: 5_000, stallMs: 30_000 };

const REDIRECTS_MAX = 8;

/** A credential and the only origin that may see it. */
export interface Credential {
  readonly origin: string;
  /** Value of the Authorization header. */
  readonly authorization: string;
}

export interface TransportRequest {
  readonly url: string;
  readonly method?: 'GET' | 'HEAD' | 'POST' | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  readonly credential?: Credential | null | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly limits?: TransportLimits | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Sees every answer, redirects too; what it throws ends the request. */
  readonly onHop?: ((status: number, headers: http.IncomingHttpHeaders) => void) | undefined;
}

export interface TransportResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: http.IncomingMessage;
  /** The address that answered, after redirects. */
  readonly url: string;
}

/**
 * Why a transfer did not work. `unreachable`: no connection, so trying at once again is useless.
 * `transient`: it may work the next time. `final`: it will not.
 */
export class TransferError extends Error {
  override readonly name = 'TransferError';
  readonly kind: 'unreachable' | 'transient' | 'final';
  readonly status: number | null;
  readonly retryAfterMs: number | null;

  constructor(
    kind: TransferError['kind'],
    message: string,
    more: {
      readonly status?: number;
      readonly retryAfterMs?: number | null;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.kind = kind;
    this.status = more.status ?? null;
    this.retryAfterMs = more.retryAfterMs ?? null;
  }
}

/** The answer of the last hop, its body unread. @throws TransferError, or the signal's reason. */
export async function openRequest(request: TransportRequest): Promise<TransportResponse> {
  let address = new URL(request.url);
  for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
    const body = await once(address, request);
    const status = body.statusCode ?? 0;
    try {
      request.onHop?.(status, body.headers);
      const { location } = body.headers;
      if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
        return { status, headers: body.headers, body, url: address.href };
      }
      address = redirected(address, location);
    } catch (error) {
      body.destroy();
      throw error;
    }
    body.destroy();
  }
  throw new TransferError('final', `more than ${REDIRECTS_MAX} redirects`);
}

function redirected(from: URL, location: string): URL {
  if (!URL.canParse(location, from.href)) {
    throw new TransferError('final', `${redactUrl(from.href)} redirects to no valid address`);
  }
  const to = new URL(location, from);
  if (to.protocol !== 'https:' && to.protocol !== from.protocol) {
    throw new TransferError('final', `${from.host} redirects to ${to.protocol}, which is refused`);
  }
  return to;
}

function once(address: URL, request: TransportRequest): Promise<http.IncomingMessage> {
  const limits = request.limits ?? TRANSPORT_LIMITS;
  const { signal } = request;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const secure = address.protocol === 'https:';
    const proxyEnv = request.env ?? process.env;
    const agent = secure ? new https.Agent({ proxyEnv }) : new http.Agent({ proxyEnv });
    const sent = (secure ? https : http).request(withoutCredentials(address), {
      method: request.method ?? 'GET',
      headers: headersFor(address, request),
      agent,
      ...(signal === undefined ? {} : { signal }),
    });
    const connecting = setTimeout(() => {
      const seconds = limits.connectMs / 1000;
      sent.destroy(new TransferError('unreachable', `no connection within ${seconds} s`));
    }, limits.connectMs);
    let connected = false;
    const onConnected = (): void => {
      connected = true;
      clearTimeout(connecting);
      sent.setTimeout(limits.stallMs, () => {
        const seconds = limits.stallMs / 1000;
        sent.destroy(new TransferError('transient', `nothing was received for ${seconds} s`));
      });
    };
    sent.on('socket', (socket: Socket) => {
      if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', onConnected);
      else onConnected();
    });
    sent.once('close', () => {
      clearTimeout(connecting);
      agent.destroy();
    });
    sent.once('response', (response) => {
      if (!connected) onConnected();
      resolve(response);
    });
    sent.on('error', (error) => {
      reject(signal?.aborted ? signal.reason : named(toTransferError(error, connected), address));
    });
    sent.end(request.body);
  });
}

function named(error: TransferError, address: URL): TransferError {
  if (error.kind !== 'unreachable') return error;
  return new TransferError('unreachable', `cannot connect to ${address.host}: ${error.message}`, {
    cause: error.cause ?? error,
  });
}

function headersFor(address: URL, request: TransportRequest): http.OutgoingHttpHeaders {
  const headers: http.OutgoingHttpHeaders = {
    'user-agent': 'plenum',
    'accept-encoding': 'identity',
    ...request.headers,
  };
  const { credential } = request;
  const own = new URL(request.url);
  if (credential && credential.origin === address.origin) {
    headers.authorization = credential.authorization;
  } else if (own.username !== '' && own.origin === address.origin) {
    const pair = `${decodeURIComponent(own.username)}:${decodeURIComponent(own.password)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  return headers;
}

function withoutCredentials(address: URL): URL {
  const bare = new URL(address);
  bare.username = '';
  bare.password = '';
  return bare;
}

const CONNECT_CODES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved now',
  ECONNREFUSED: 'the connection is refused',
  ENETUNREACH: 'the network is unreachable',
  EHOSTUNREACH: 'the host is unreachable',
  ETIMEDOUT: 'the connection timed out',
};

/** One of our kinds from anything that a socket may throw. */
export function toTransferError(error: unknown, connected: boolean): TransferError {
  if (error instanceof TransferError) return error;
  const parts = error instanceof AggregateError ? error.errors : [error];
  const first: unknown = parts[0] ?? error;
  const code = first instanceof Error && 'code' in first ? String(first.code) : '';
  const known = CONNECT_CODES[code];
  if (!connected) {
    const reason = known ?? (first instanceof Error ? first.message : String(first));
    return new TransferError('unreachable', reason, { cause: error });
  }
  const reason = code === 'ECONNRESET' ? 'the connection was cut' : describe(first);
  return new TransferError('transient', reason, { cause: error });
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Seconds or a date, as RFC 9110 has Retry-After; null when absent or neither. */
export function retryAfterMs(headers: http.IncomingHttpHeaders, nowMs: number): number | null {
  const value = headers['retry-after'];
  if (value === undefined) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}

/** The error that an HTTP status other than success means. */
export function statusError(status: number, headers: http.IncomingHttpHeaders = {}): TransferError {
  const transient = status === 408 || status === 425 || status === 429 || status >= 500;
  return new TransferError(transient ? 'transient' : 'final', `HTTP ${status}`, {
    status,
    retryAfterMs: retryAfterMs(headers, Date.now()),
  });
}

/** A `fetch` over this transport for libraries that take one. Bodies are bounded. */
export function fetchOver(options: {
  readonly credential: Credential | null;
  readonly bodyBytesMax: number;
  readonly signal?: AbortSignal | undefined;
  readonly limits?: TransportLimits | undefined;
  readonly env?: TransportRequest['env'];
}): typeof fetch {
  const { bodyBytesMax, ...common } = options;
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const method = init?.method ?? 'GET';
    if (method !== 'GET' && method !== 'HEAD' && method !== 'POST') {
      throw new PlenumError('internal', `the hub client sent ${method}`);
    }
    const body = typeof init?.body === 'string' ? init.body : undefined;
    const headers = Object.fromEntries(new Headers(init?.headers).entries());
    const response = await openRequest({ ...common, url, method, headers, body });
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response.body) {
        bytes += chunk.length;
        if (bytes > bodyBytesMax) {
          response.body.destroy();
          throw new TransferError('final', `an answer of more than ${bodyBytesMax} bytes`);
        }
        chunks.push(chunk);
      }
    } catch (error) {
      throw options.signal?.aborted ? options.signal.reason : toTransferError(error, true);
    }
    // Thrown here, where Retry-After is still known: libraries keep the status only.
    const failure = statusError(response.status, response.headers);
    if (response.status >= 400 && failure.kind === 'transient') throw failure;
    const answer = new Headers();
    for (const [name, value] of Object.entries(response.headers)) {
      if (value !== undefined) answer.set(name, Array.isArray(value) ? value.join(', ') : value);
    }
    return new Response(Buffer.concat(chunks), { status: response.status, headers: answer });
  };
}
