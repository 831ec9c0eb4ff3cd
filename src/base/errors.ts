/**
 * The one table of operating errors: code ↔ HTTP status ↔ OpenAI type ↔ retryable ↔ meaning.
 * `docs/errors.md` is generated from it. An expected decision is not an error but a value;
 * a programmer's error is an assertion (assert.ts).
 */

export interface ErrorRow {
  /** HTTP status of a reply that carries it. 499 is nginx's "client closed request". */
  readonly status: number;
  /** `error.type` in an OpenAI-shaped body. */
  readonly type:
    | 'invalid_request_error'
    | 'authentication_error'
    | 'permission_error'
    | 'not_found_error'
    | 'rate_limit_error'
    | 'server_error';
  /** True when the same request may succeed later, unchanged. */
  readonly retryable: boolean;
  readonly meaning: string;
}

const invalid = (status: number, meaning: string): ErrorRow => ({
  status,
  type: 'invalid_request_error',
  retryable: false,
  meaning,
});
const server = (status: number, retryable: boolean, meaning: string): ErrorRow => ({
  status,
  type: 'server_error',
  retryable,
  meaning,
});

export const ERROR_TABLE = {
  invalid_json: invalid(400, 'The body is not valid JSON.'),
  invalid_request: invalid(
    400,
    'A field is missing, of the wrong type or out of its range; the message names it.',
  ),
  unknown_parameter: invalid(
    400,
    'A field that no such endpoint has; the nearest known one is named.',
  ),
  unsupported_parameter: invalid(
    400,
    'A known parameter that this server does not support yet; it is refused, never ignored.',
  ),
  context_length_exceeded: invalid(
    400,
    'Prompt plus requested output is longer than the model’s context; the message has the sum.',
  ),
  template_missing: invalid(
    400,
    'The model carries no chat template; use /v1/completions or configure one.',
  ),
  template_failed: invalid(
    400,
    'The chat template of the model refused the messages; its own reason is quoted.',
  ),
  wrong_endpoint: invalid(
    400,
    'The model is of another kind; the message names the endpoint that it serves.',
  ),
  request_timeout: invalid(408, 'The client took too long to send its request.'),
  body_too_large: invalid(413, 'The body is longer than the configured limit.'),
  headers_too_large: invalid(431, 'The request’s headers are longer than the limit.'),
  unsupported_media_type: invalid(415, 'The body must be application/json.'),
  method_not_allowed: invalid(405, 'The path exists, but not with this method.'),
  invalid_api_key: {
    status: 401,
    type: 'authentication_error',
    retryable: false,
    meaning: 'The API key is missing or not a known one.',
  },
  forbidden: {
    status: 403,
    type: 'permission_error',
    retryable: false,
    meaning: 'The API key may not do this.',
  },
  not_found: { status: 404, type: 'not_found_error', retryable: false, meaning: 'No such path.' },
  model_not_found: {
    status: 404,
    type: 'not_found_error',
    retryable: false,
    meaning: 'No such model is served here; the served ones are listed.',
  },
  queue_full: {
    status: 429,
    type: 'rate_limit_error',
    retryable: true,
    meaning: 'The model’s queue is full; Retry-After is the predicted wait.',
  },
  too_many_streams: {
    status: 429,
    type: 'rate_limit_error',
    retryable: true,
    meaning: 'The limit of concurrent requests of this server is reached.',
  },
  client_closed: {
    status: 499,
    type: 'invalid_request_error',
    retryable: true,
    meaning: 'The client went away before the reply was complete.',
  },
  slow_reader: {
    status: 499,
    type: 'invalid_request_error',
    retryable: true,
    meaning: 'The client read its stream slower than the buffer limit allows.',
  },
  wait_expired: server(
    503,
    true,
    'The request waited in the queue longer than the configured limit.',
  ),
  deadline_exceeded: server(504, true, 'The request’s deadline passed before it was complete.'),
  model_loading: server(503, true, 'The model is still being loaded.'),
  model_unavailable: server(
    503,
    true,
    'The model’s host is down and will be tried again; /ready says why.',
  ),
  pool_full: server(
    503,
    true,
    'The model is not in memory and others hold the room it needs; the sum and they are named.',
  ),
  model_does_not_fit: server(
    507,
    false,
    'The model’s whole need does not fit the memory there is; the sum and what would fit are given.',
  ),
  memory_pressure: server(
    503,
    true,
    'The system is short of memory, so that no model is loaded at the moment.',
  ),
  model_in_use: invalid(
    409,
    'The model serves, loads or is pinned, and so cannot be unloaded now.',
  ),
  guard_unavailable: server(
    503,
    true,
    'The safety model that must judge this request cannot answer; nothing unjudged was let out.',
  ),
  draining: server(503, true, 'The server is shutting down and takes no new requests.'),
  host_crashed: server(500, true, 'The model’s host process died while it served this request.'),
  engine_failed: server(500, true, 'The engine reported an error while it computed this request.'),
  cells_exhausted: server(500, true, 'The KV cache cannot hold even this request alone.'),
  internal: server(
    500,
    false,
    'A fault of this server; the log has the details under the request id.',
  ),
  // Below: errors of the command line and of start-up. Their status is only used if one reaches a
  // client.
  usage: invalid(400, 'The command line is wrong; the message says what would be right.'),
  config_invalid: invalid(
    400,
    'The configuration is wrong; the message names the key and the nearest known one.',
  ),
  bind_refused: invalid(400, 'Binding beyond loopback without API keys is refused unless forced.'),
  port_in_use: server(500, false, 'Another process listens on the address.'),
  reference_invalid: invalid(
    400,
    'The text is not a model reference; the accepted forms are listed.',
  ),
  file_not_found: invalid(400, 'No such file.'),
  file_foreign: invalid(400, 'The file is not a GGUF model; the message says what it looks like.'),
  file_truncated: invalid(400, 'The file is shorter than its own tensor table says.'),
  file_corrupt: invalid(400, 'The file’s header contradicts itself; the message says where.'),
  model_unsupported: invalid(400, 'The engine cannot run this architecture or file version.'),
  checksum_mismatch: server(
    502,
    true,
    'What was downloaded is not what was promised; both checksums are named.',
  ),
  download_failed: server(
    502,
    true,
    'A download failed; each mirror that was tried is named with its reason.',
  ),
  hub_refused: server(
    502,
    false,
    'The hub refused access; a token (HF_TOKEN) or a licence acceptance is needed.',
  ),
  disk_full: server(507, false, 'There is not enough disk space; needed and free bytes are named.'),
  library_missing: server(
    500,
    false,
    'The engine’s native library is not installed for this platform.',
  ),
  binding_mismatch: server(
    500,
    false,
    'The native library is not the release that the binding was written for.',
  ),
  load_failed: server(500, false, 'The engine could not load the model; its own reason is quoted.'),
  server_unreachable: server(502, true, 'No Plenum server answers at the address.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERROR_TABLE;

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_TABLE, code);

/** Facts that go with an error: numbers of the sum, names of the nearest. Never secrets. */
export type ErrorDetails = Readonly<
  Record<string, string | number | boolean | null | readonly string[]>
>;

export interface ErrorOptions {
  /** The request field that is wrong (`error.param` in a body). */
  readonly param?: string | undefined;
  readonly details?: ErrorDetails | undefined;
  /** What a client should wait before it tries again (Retry-After). */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** An operating error with a code of the table. Its message is meant for the user. */
export class PlenumError extends Error {
  override readonly name = 'PlenumError';
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly details: ErrorDetails | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.param = options.param;
    this.details = options.details;
    this.retryAfterMs = options.retryAfterMs;
  }

  get row(): ErrorRow {
    return ERROR_TABLE[this.code];
  }
}

/** An error as it crosses a process boundary. */
export interface ErrorRecord {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string | undefined;
  readonly details?: ErrorDetails | undefined;
  readonly retryAfterMs?: number | undefined;
}

export function toErrorRecord(thrown: unknown): ErrorRecord {
  const error = toPlenumError(thrown);
  const { code, message, param, details, retryAfterMs } = error;
  return { code, message, param, details, retryAfterMs };
}

export function fromErrorRecord(record: ErrorRecord): PlenumError {
  return new PlenumError(record.code, record.message, record);
}

/** The one funnel from anything thrown to our error: what is not ours becomes `internal`. */
export function toPlenumError(thrown: unknown): PlenumError {
  if (thrown instanceof PlenumError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new PlenumError('internal', message, { cause: thrown });
}
