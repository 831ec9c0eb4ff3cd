/**
 * Traces of traffic, as text: JSON lines of this project's own form (docs/planning.md), or an array
 * of conversations as ShareGPT publishes them. Pure: it reads no file. A line that is wrong is
 * refused with its number and the reason; nothing is skipped.
 */
import { z } from 'zod';
import { PlenumError } from '../base/errors.ts';
import type { RequestShape } from './workload.ts';

export interface Trace {
  readonly name: string;
  readonly shapes: readonly RequestShape[];
  /** Milliseconds from the first arrival; null when the trace has lengths only. */
  readonly atMs: readonly number[] | null;
  /** How its token counts were come by. */
  readonly tokens: 'counted' | 'estimated';
}

const REQUESTS_MAX = 1_000_000;
const TOKENS_MAX = 10_000_000;
/** English text has about four characters to a token in the vocabularies of today's models. */
export const CHARACTERS_PER_TOKEN = 4;
/** Conversations of a ShareGPT file that are open at a time: their turns follow each other. */
const CONVERSATIONS_OPEN = 32;

const LINE = z.strictObject({
  at: z.number().min(0).max(1e9).optional(),
  prompt_tokens: z.int().min(1).max(TOKENS_MAX),
  output_tokens: z.int().min(1).max(TOKENS_MAX),
  prefix: z.string().min(1).optional(),
  prefix_tokens: z.int().min(0).max(TOKENS_MAX).optional(),
  conversation: z.string().min(1).optional(),
});
type Line = z.infer<typeof LINE>;

const SHARE_GPT = z.array(
  z.object({
    conversations: z.array(z.object({ from: z.string(), value: z.string() })),
  }),
);

/** Throws `usage` that names the file, the line and what is wrong with it. */
export function parseTrace(text: string, name: string): Trace {
  const trace = text.trimStart().startsWith('[') ? shareGpt(text, name) : lines(text, name);
  if (trace.shapes.length === 0) throw wrong(name, 'has no request');
  if (trace.shapes.length > REQUESTS_MAX) {
    throw wrong(name, `has ${trace.shapes.length} requests; at most ${REQUESTS_MAX} are simulated`);
  }
  return trace;
}

const wrong = (name: string, what: string): PlenumError =>
  new PlenumError('usage', `The trace ${name} ${what}`);

function lines(text: string, name: string): Trace {
  const numbers = new Numbers();
  const shapes: RequestShape[] = [];
  const times: number[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const at = `line ${index + 1}`;
    const parsed = parsedLine(line, (what) => wrong(name, `is wrong in ${at}: ${what}`));
    shapes.push(shapeOf(parsed, numbers, shapes.length));
    if (parsed.at === undefined) continue;
    const last = times.at(-1);
    if (last !== undefined && parsed.at < last) {
      throw wrong(name, `is wrong in ${at}: at is ${parsed.at}, before the ${last} above it`);
    }
    times.push(parsed.at);
  }
  if (times.length !== 0 && times.length !== shapes.length) {
    throw wrong(
      name,
      `gives 'at' in ${times.length} of ${shapes.length} lines; all or none have it`,
    );
  }
  const first = times[0] ?? 0;
  const atMs = times.length === 0 ? null : times.map((time) => (time - first) * 1000);
  return { name, shapes, atMs, tokens: 'counted' };
}

function parsedLine(line: string, error: (what: string) => PlenumError): Line {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw error(`it is no JSON (${thrown.message})`);
  }
  const { data, error: problem } = LINE.safeParse(value);
  if (data === undefined) {
    const [issue] = problem?.issues ?? [];
    const path = issue?.path.join('.') ?? '';
    throw error(`${path === '' ? '' : `${path}: `}${issue?.message ?? 'not a request'}`);
  }
  const { prefix, prefix_tokens: shared, prompt_tokens: prompt } = data;
  if ((prefix === undefined) !== (shared === undefined)) {
    throw error('prefix and prefix_tokens belong together');
  }
  if (shared !== undefined && shared > prompt) {
    throw error(`prefix_tokens is ${shared}, more than the ${prompt} of prompt_tokens`);
  }
  return data;
}

/** Names to numbers, in the order in which they come. */
class Numbers {
  readonly #known = new Map<string, number>();

  of(name: string): number {
    const known = this.#known.get(name) ?? this.#known.size;
    this.#known.set(name, known);
    return known;
  }
}

function shapeOf(line: Line, numbers: Numbers, index: number): RequestShape {
  const { prefix, conversation } = line;
  return {
    promptTokens: line.prompt_tokens,
    outputTokens: line.output_tokens,
    sharedId: prefix === undefined ? 0 : numbers.of(`prefix ${prefix}`),
    sharedTokens: line.prefix_tokens ?? 0,
    conversation: numbers.of(conversation === undefined ? `line ${index}` : `of ${conversation}`),
  };
}

interface Turn {
  readonly round: number;
  readonly shape: RequestShape;
}

/** Every reply is a request whose prompt is all that was said before it. */
function shareGpt(text: string, name: string): Trace {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw wrong(name, `begins like a JSON array and is none (${thrown.message})`);
  }
  const { data, error } = SHARE_GPT.safeParse(value);
  if (data === undefined) {
    const [issue] = error?.issues ?? [];
    throw wrong(name, `is no list of conversations: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const shapes: RequestShape[] = [];
  for (let from = 0; from < data.length; from += CONVERSATIONS_OPEN) {
    const open = data.slice(from, from + CONVERSATIONS_OPEN);
    const turns = open.flatMap(({ conversations }, i) => turnsOf(conversations, from + i));
    turns.sort((a, b) => a.round - b.round);
    shapes.push(...turns.map(({ shape }) => shape));
  }
  return { name, shapes, atMs: null, tokens: 'estimated' };
}

function turnsOf(
  messages: readonly { readonly from: string; readonly value: string }[],
  conversation: number,
): Turn[] {
  const turns: Turn[] = [];
  let before = 0;
  for (const { from, value } of messages) {
    const tokens = Math.ceil(value.length / CHARACTERS_PER_TOKEN);
    if ((from === 'gpt' || from === 'assistant') && before > 0 && tokens > 0) {
      const own = { promptTokens: before, outputTokens: tokens, conversation };
      turns.push({ round: turns.length, shape: { ...own, sharedId: 0, sharedTokens: 0 } });
    }
    before += tokens;
  }
  return turns;
}
