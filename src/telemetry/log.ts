/**
 * The log: one JSON object per line (pino). It never holds prompts, generated text, API keys or
 * Authorization headers: nothing that carries them is handed to it, and what is named like them is
 * censored all the same.
 */
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger };
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  /** Standard error when left out, so that standard output stays a command's own. */
  readonly destination?: DestinationStream;
}

const SECRET_FIELDS = [
  'authorization',
  'apiKey',
  'apiKeys',
  'token',
  'password',
  'prompt',
  'messages',
  'content',
  'text',
  'stop',
  'body',
];

export function createLogger(options: LogOptions): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]),
        censor: '[censored]',
      },
    },
    options.destination ?? pino.destination({ dest: 2, sync: true }),
  );
}
