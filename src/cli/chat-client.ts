/**
 * A client of an OpenAI-compatible chat server: one request, one stream of text, one end. It keeps
 * no history and prints nothing. The time of its numbers is the client's own clock.
 */
import { createParser } from 'eventsource-parser';
import * as z from 'zod';
import { type ErrorCode, isErrorCode, PlenumError } from '../base/errors.ts';

/** Longest event and longest error body that are read. */
const EVENT_CHARS_MAX = 1 << 20;

export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface ChatServer {
  /** With or without `/v1` at its end. */
  readonly url: string;
  readonly apiKey: string | null;
}

export interface ChatCall {
  readonly model: string;
  readonly messages: readonly ChatTurn[];
  /** Other fields of the request's body, such as `temperature`. */
  readonly parameters: Readonly<Record<string, number>>;
  readonly signal: AbortSignal;
}

export interface ChatEnd {
  readonly finishReason: string | null;
  /** As the server counts; null where it does not say. */
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
  /** From the request to the first text; null when there was none. */
  readonly ttftMs: number | null;
  /** Tokens after the first over the time from the first text to the last; null below 2 tokens. */
  readonly tokensPerSecond: number | null;
}

export type ChatEvent =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'end'; readonly end: ChatEnd };

const errorSchema = z.looseObject({
  error: z.union([
    z.string(),
    z.looseObject({ message: z.string(), code: z.union([z.string(), z.number()]).nullish() }),
  ]),
});

const chunkSchema = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        delta: z.looseObject({ content: z.string().nullish() }).nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  usage: z
    .looseObject({
      prompt_tokens: z.number(),
      completion_tokens: z.number(),
      prompt_tokens_details: z.looseObject({ cached_tokens: z.number().nullish() }).nullish(),
    })
    .nullish(),
});

const modelsSchema = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) });

/**
 * The first model that the server lists.
 * @throws PlenumError server_unreachable, model_not_found, or what the server answers.
 */
export async function firstModel(server: ChatServer, signal: AbortSignal): Promise<string> {
  const response = await call(server, { path: '/models', body: null, signal });
  const listed = modelsSchema.safeParse(parseJson(await response.text()));
  const id = listed.data?.data[0]?.id;
  if (id !== undefined) return id;
  const reason = listed.success ? 'the list is empty' : 'the list of /v1/models cannot be read';
  throw new PlenumError(
    'model_not_found',
    `${server.url} names no model (${reason}); name one with --model`,
  );
}

/**
 * The reply as it comes; ends with one `end`. Throws AbortError when the signal aborts and
 * PlenumError for everything that goes wrong, also in mid-stream.
 */
export async function* streamChat(server: ChatServer, chat: ChatCall): AsyncGenerator<ChatEvent> {
  const startMs = performance.now();
  const body = {
    ...chat.parameters,
    model: chat.model,
    messages: chat.messages,
    stream: true,
    stream_options: { include_usage: true },
  };
  const { signal } = chat;
  const response = await call(server, { path: '/chat/completions', body, signal });
  const type = response.headers.get('content-type') ?? 'nothing';
  if (!type.startsWith('text/event-stream')) {
    await response.body?.cancel();
    throw unusable(server, `it answered with ${type} instead of an event stream`);
  }
  const reply = new Reply(startMs);
  for await (const data of eventData(server, response)) {
    if (data === '[DONE]') {
      yield { kind: 'end', end: reply.end() };
      return;
    }
    const text = reply.take(server, data);
    if (text !== '') yield { kind: 'text', text };
  }
  // Some servers leave out [DONE]; a finish reason says as much.
  if (!reply.finished) throw unusable(server, 'the connection ended in the middle of the reply');
  yield { kind: 'end', end: reply.end() };
}

/** What is known of a reply under way. */
class Reply {
  readonly #startMs: number;
  #firstMs: number | null = null;
  #lastMs = 0;
  #finishReason: string | null = null;
  #usage: z.infer<typeof chunkSchema>['usage'] = null;

  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  get finished(): boolean {
    return this.#finishReason !== null;
  }

  /** The text that a chunk adds. */
  take(server: ChatServer, data: string): string {
    const json = parseJson(data);
    const failure = errorSchema.safeParse(json);
    if (failure.success) throw serverError(server, 500, failure.data);
    const chunk = chunkSchema.safeParse(json);
    if (!chunk.success) throw unusable(server, `it sent an unknown event: ${data.slice(0, 200)}`);
    const [choice] = chunk.data.choices;
    this.#finishReason = choice?.finish_reason ?? this.#finishReason;
    this.#usage = chunk.data.usage ?? this.#usage;
    const text = choice?.delta?.content ?? '';
    if (text !== '') {
      this.#lastMs = performance.now();
      this.#firstMs ??= this.#lastMs;
    }
    return text;
  }

  end(): ChatEnd {
    const usage = this.#usage ?? null;
    const decodeMs = this.#firstMs === null ? 0 : this.#lastMs - this.#firstMs;
    const after = (usage?.completion_tokens ?? 0) - 1;
    return {
      finishReason: this.#finishReason,
      promptTokens: usage?.prompt_tokens ?? null,
      cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? null,
      completionTokens: usage?.completion_tokens ?? null,
      ttftMs: this.#firstMs === null ? null : this.#firstMs - this.#startMs,
      tokensPerSecond: after > 0 && decodeMs > 0 ? (after * 1000) / decodeMs : null,
    };
  }
}

/** The `data` of each server-sent event. */
async function* eventData(server: ChatServer, response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  const ready: string[] = [];
  let broken: string | null = null;
  const parser = createParser({
    maxBufferSize: EVENT_CHARS_MAX,
    onEvent: ({ data }) => ready.push(data),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') {
        broken = `it sent an event longer than ${EVENT_CHARS_MAX} characters`;
      }
    },
  });
  const decoder = new TextDecoder();
  try {
    for await (const bytes of response.body) {
      parser.feed(decoder.decode(bytes, { stream: true }));
      yield* ready.splice(0);
      if (broken !== null) throw unusable(server, broken);
    }
  } catch (thrown) {
    throw transportError(server, thrown);
  }
}

interface Call {
  readonly path: string;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

/** A successful response; anything else is thrown as PlenumError. */
async function call(server: ChatServer, { path, body, signal }: Call): Promise<Response> {
  const headers: Record<string, string> = {};
  if (server.apiKey !== null) headers.authorization = `Bearer ${server.apiKey}`;
  if (body !== null) headers['content-type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(endpoint(server.url, path), {
      method: body === null ? 'GET' : 'POST',
      headers,
      body: body === null ? null : JSON.stringify(body),
      signal,
    });
  } catch (thrown) {
    throw transportError(server, thrown);
  }
  if (response.ok) return response;
  const text = (await response.text()).slice(0, EVENT_CHARS_MAX);
  const failure = errorSchema.safeParse(parseJson(text));
  if (failure.success) throw serverError(server, response.status, failure.data);
  throw unusable(server, `it answered ${response.status}: ${firstLine(text)}`);
}

function endpoint(url: string, path: string): string {
  return `${url.replace(/\/+$/, '').replace(/\/v1$/, '')}/v1${path}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function firstLine(text: string): string {
  const line = text.trim().split('\n')[0] ?? '';
  return line === '' ? 'nothing more' : line.slice(0, 200);
}

/** The server's own words, under its code if it is one of the table's. */
function serverError(
  server: ChatServer,
  status: number,
  { error }: z.infer<typeof errorSchema>,
): PlenumError {
  const message = firstLine(typeof error === 'string' ? error : error.message);
  const code = typeof error === 'string' ? null : String(error.code);
  const known = code !== null && isErrorCode(code) ? code : codeOfStatus(status);
  return new PlenumError(known, `${server.url}: ${message}`);
}

function codeOfStatus(status: number): ErrorCode {
  switch (status) {
    case 401:
      return 'invalid_api_key';
    case 403:
      return 'forbidden';
    case 404:
      return 'not_found';
    case 429:
      return 'queue_full';
    default:
      return status < 500 ? 'invalid_request' : 'server_unreachable';
  }
}

function unusable(server: ChatServer, problem: string): PlenumError {
  return new PlenumError('server_unreachable', `${server.url} cannot be used: ${problem}`);
}

/** What fetch and its stream throw, in words. An abort stays what it is. */
function transportError(server: ChatServer, thrown: unknown): unknown {
  if (thrown instanceof PlenumError) return thrown;
  if (thrown instanceof Error && thrown.name === 'AbortError') return thrown;
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'ECONNREFUSED') {
    const hint = 'is one running? `plenum serve` starts it; --url names another';
    return new PlenumError('server_unreachable', `no server answers at ${server.url}; ${hint}`);
  }
  const reason = cause instanceof Error ? cause.message : String(thrown);
  return new PlenumError('server_unreachable', `no reply from ${server.url}: ${reason}`, {
    cause: thrown,
  });
}
