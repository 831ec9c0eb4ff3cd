/**
 * Judges an answer that came whole: vectors, ranks, and refusals. Pure.
 */
import type { ErrorKind } from '../result.ts';
import { messageOf, shorten, type Usage, usageOf } from './chunk.ts';
import type { Fault } from './stream-reader.ts';

export interface Answer {
  readonly usage: Usage | null;
  readonly fault: Fault | null;
}

/** An answer must be JSON and hold `items` vectors or ranks. */
export function judgeAnswer(text: string, items: number): Answer {
  const value = parsed(text);
  if (value === null) {
    return { usage: null, fault: { kind: 'garbage', message: `not JSON: ${shorten(text)}` } };
  }
  if (value.error !== undefined && value.error !== null) {
    return { usage: null, fault: { kind: 'error_event', message: messageOf(value.error) } };
  }
  const usage = usageOf(value);
  const list: unknown = value.data ?? value.results;
  const found = Array.isArray(list) ? list.length : 0;
  if (found === items) return { usage, fault: null };
  const message = `${found} entries where ${items} were asked for`;
  return { usage, fault: { kind: found === 0 ? 'empty' : 'garbage', message } };
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? { ...value } : null;
  } catch {
    return null;
  }
}

/** What a status other than 200 means. */
export function judgeRefusal(status: number, text: string): Fault {
  const said = text === '' ? '' : `: ${messageOf(parsed(text) ?? text)}`;
  return { kind: kindOf(status), message: `HTTP ${status}${said}` };
}

function kindOf(status: number): ErrorKind {
  if (status === 429) return 'rate_limited';
  return status === 503 ? 'overloaded' : 'http_error';
}

/** Retry-After as seconds or as a date, in milliseconds from now; null where it says neither. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  if (/^\d+(\.\d+)?$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}

/** What a socket's error means: before the connection stood, or after. */
export function judgeSocket(error: NodeJS.ErrnoException, isConnected: boolean): Fault {
  const message = shorten(error.message === '' ? String(error.code) : error.message);
  if (!isConnected) return { kind: 'connect_failed', message };
  if (error.code?.startsWith('HPE_') === true) return { kind: 'garbage', message };
  return { kind: 'connection_lost', message };
}
