/**
 * What one event of a stream says: text, an end, a count, an error. Reads the shapes of OpenAI's
 * chat and text completions and what known servers make of them. Looks at the fields by hand and
 * not through a schema: it runs for every token, and a field that it does not know is not its
 * affair.
 */

export interface Usage {
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly outputTokens: number | null;
}

export interface Chunk {
  /** Text, reasoning or part of a tool call. */
  readonly hasText: boolean;
  /** Only a role, or nothing at all, in a delta. */
  readonly isBare: boolean;
  readonly finish: string | null;
  readonly usage: Usage | null;
  /** What an error event says. */
  readonly error: string | null;
}

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';
const numberOf = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : null;

/** Null where `data` is not a JSON object: garbage. */
export function readChunk(data: string, name: string): Chunk | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  const error = errorOf(value, name);
  const choice: unknown = Array.isArray(value.choices) ? value.choices[0] : undefined;
  const usage = usageOf(value);
  if (!isObject(choice)) {
    return { hasText: false, isBare: false, finish: null, usage, error };
  }
  const delta = isObject(choice.delta) ? choice.delta : choice;
  const hasText = deltaHasText(delta);
  const finish = typeof choice.finish_reason === 'string' ? choice.finish_reason : null;
  return { hasText, isBare: !hasText && finish === null && usage === null, finish, usage, error };
}

function deltaHasText(delta: Json): boolean {
  if (isText(delta.content) || isText(delta.text)) return true;
  if (isText(delta.reasoning_content) || isText(delta.reasoning)) return true;
  return Array.isArray(delta.tool_calls) && delta.tool_calls.length > 0;
}

function errorOf(value: Json, name: string): string | null {
  if (value.error !== undefined && value.error !== null) return messageOf(value.error);
  if (name === 'error' || value.object === 'error') return messageOf(value.message ?? value);
  return null;
}

/** The words of an error in whatever shape, short enough for a row. */
export function messageOf(error: unknown): string {
  const inner = isObject(error) ? (error.error ?? error.message ?? error.detail) : error;
  const text = isObject(inner) ? inner.message : inner;
  const found = typeof text === 'string' ? text : JSON.stringify(error);
  return shorten(found);
}

const MESSAGE_CHARS_MAX = 300;

export function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= MESSAGE_CHARS_MAX ? line : `${line.slice(0, MESSAGE_CHARS_MAX)}…`;
}

/** OpenAI's `usage`, or llama.cpp's `timings` where there is no usage. */
export function usageOf(value: Json): Usage | null {
  if (isObject(value.usage)) {
    const { prompt_tokens, completion_tokens, prompt_tokens_details, total_tokens } = value.usage;
    const details = isObject(prompt_tokens_details) ? prompt_tokens_details : {};
    return {
      promptTokens: numberOf(prompt_tokens) ?? numberOf(total_tokens),
      cachedTokens: numberOf(details.cached_tokens),
      outputTokens: numberOf(completion_tokens),
    };
  }
  if (!isObject(value.timings)) return null;
  const { prompt_n, cache_n, predicted_n } = value.timings;
  const computed = numberOf(prompt_n);
  const cached = numberOf(cache_n);
  return {
    promptTokens: computed === null ? null : computed + (cached ?? 0),
    cachedTokens: cached,
    outputTokens: numberOf(predicted_n),
  };
}
