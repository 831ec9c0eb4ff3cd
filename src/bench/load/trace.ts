/**
 * Conversations out of a file: lengths alone, or what people and models wrote. Lines of JSON, or
 * one JSON array as ShareGPT's dumps are. Throws `usage` with the place of what it cannot read.
 */
import { z } from 'zod';
import { PlenumError } from '../../base/errors.ts';
import { shorten } from '../client/chunk.ts';

export interface TraceTurn {
  /** What the user says; null where the trace has only its length. */
  readonly user: string | null;
  readonly promptTokens: number | null;
  /** What the model said then: part of the history of the next turn. */
  readonly reply: string | null;
  readonly outputTokens: number | null;
}

export interface TraceConversation {
  readonly system: string | null;
  readonly turns: readonly TraceTurn[];
}

/** Largest trace that is read, in bytes, and most of its conversations that are used. */
export const TRACE_BYTES_MAX = 256 << 20;
export const TRACE_CONVERSATIONS_MAX = 100_000;

const tokens = z.int().positive().max(1_000_000);
const lengthsSchema = z.object({ prompt_tokens: tokens, output_tokens: tokens });
const shareSchema = z.object({
  conversations: z.array(z.object({ from: z.string(), value: z.string() })).min(1),
});
const messagesSchema = z.object({
  messages: z.array(z.object({ role: z.string(), content: z.string() })).min(1),
});

interface Message {
  readonly role: string;
  readonly content: string;
}

export function parseTrace(text: string, file: string): TraceConversation[] {
  const entries = text.trimStart().startsWith('[') ? arrayOf(text, file) : linesOf(text, file);
  const conversations = entries
    .slice(0, TRACE_CONVERSATIONS_MAX)
    .map(({ value, where }) => conversationOf(value, where))
    .filter(({ turns }) => turns.length > 0);
  if (conversations.length > 0) return conversations;
  throw new PlenumError('usage', `${file} holds no conversation with a turn of a user`);
}

interface Entry {
  readonly value: unknown;
  readonly where: string;
}

function arrayOf(text: string, file: string): Entry[] {
  const value = json(text, file);
  const list: readonly unknown[] = Array.isArray(value) ? value : [];
  return list.map((entry, i) => ({ value: entry, where: `${file}, entry ${i + 1}` }));
}

function linesOf(text: string, file: string): Entry[] {
  return text.split('\n').flatMap((line, i) => {
    const where = `${file}, line ${i + 1}`;
    return line.trim() === '' ? [] : [{ value: json(line, where), where }];
  });
}

function json(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new PlenumError('usage', `${where} is not JSON: ${shorten(text.slice(0, 80))}`);
  }
}

function conversationOf(value: unknown, where: string): TraceConversation {
  const lengths = lengthsSchema.safeParse(value);
  if (lengths.success) {
    const { prompt_tokens, output_tokens } = lengths.data;
    const turn = { user: null, promptTokens: prompt_tokens, reply: null };
    return { system: null, turns: [{ ...turn, outputTokens: output_tokens }] };
  }
  const share = shareSchema.safeParse(value);
  if (share.success) {
    return turnsOf(
      share.data.conversations.map(({ from, value: content }) => ({ role: from, content })),
    );
  }
  const messages = messagesSchema.safeParse(value);
  if (messages.success) return turnsOf(messages.data.messages);
  const forms =
    '{"prompt_tokens": 512, "output_tokens": 128}, {"conversations": [{"from": "human", "value": ' +
    '"…"}, {"from": "gpt", "value": "…"}]} or {"messages": [{"role": "user", "content": "…"}, …]}';
  throw new PlenumError('usage', `${where} has none of the forms ${forms}`);
}

const ROLES: Readonly<Record<string, 'system' | 'user' | 'assistant'>> = {
  system: 'system',
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  model: 'assistant',
};

/** Messages of one side that follow each other are one message. */
function turnsOf(messages: readonly Message[]): TraceConversation {
  let system: string | null = null;
  const turns: { user: string; reply: string | null }[] = [];
  for (const { role, content } of messages) {
    const side = ROLES[role];
    const last = turns.at(-1);
    if (side === undefined || content.trim() === '') continue;
    if (side === 'system') system = system === null ? content : `${system}\n${content}`;
    else if (side === 'user') {
      if (last !== undefined && last.reply === null) last.user += `\n${content}`;
      else turns.push({ user: content, reply: null });
    } else if (last !== undefined) {
      last.reply = last.reply === null ? content : `${last.reply}\n${content}`;
    }
  }
  return {
    system,
    turns: turns.map((turn) => ({ ...turn, promptTokens: null, outputTokens: null })),
  };
}

/** A reply's length where only its text is known: English is about four signs to a token. */
export const tokensOfText = (text: string): number => Math.max(1, Math.ceil(text.length / 4));
