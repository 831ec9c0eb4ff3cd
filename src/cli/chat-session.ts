/**
 * A conversation in a terminal: reads lines, keeps the history, prints the replies as they come.
 * What is typed and how Ctrl-C arrives is handed in; requests are chat-client's.
 */
import { toPlenumError } from '../base/errors.ts';
import { formatMillis } from '../base/units.ts';
import {
  type ChatCall,
  type ChatEnd,
  type ChatServer,
  type ChatTurn,
  streamChat,
} from './chat-client.ts';
import { type CliContext, paint } from './context.ts';

export interface SessionOptions {
  readonly server: ChatServer;
  readonly model: string;
  readonly system: string | null;
  readonly parameters: ChatCall['parameters'];
}

export interface Terminal {
  /** The next line that the user types; null = the user leaves. */
  ask(): Promise<string | null>;
  close(): void;
}

const HELP = `/reset          forget the conversation
/system TEXT    set the system prompt and forget the conversation; without TEXT, remove it
/exit           leave (also Ctrl-D, or Ctrl-C at the prompt)
/help           this list
Ctrl-C stops a reply. Anything else is sent to the model.
`;

export class ChatSession {
  readonly #context: CliContext;
  readonly #options: SessionOptions;
  #system: string | null;
  #turns: ChatTurn[] = [];

  constructor(context: CliContext, options: SessionOptions) {
    this.#context = context;
    this.#options = options;
    this.#system = options.system;
  }

  /** Runs until the user leaves. An error of the server is printed and the conversation goes on. */
  async run(terminal: Terminal): Promise<void> {
    const { stdout } = this.#context;
    const hello = `${this.#options.model} at ${this.#options.server.url}; /help lists the commands`;
    stdout.write(`${paint(stdout, 'dim', hello)}\n`);
    for (;;) {
      const line = await terminal.ask();
      if (line === null) return;
      const text = line.trim();
      if (text === '') continue;
      if (!text.startsWith('/')) await this.#reply(text);
      else if (this.#command(text) === 'leave') return;
    }
  }

  #command(text: string): 'leave' | 'stay' {
    const { stdout } = this.#context;
    const [name = '', ...words] = text.split(' ');
    switch (name) {
      case '/exit':
      case '/quit':
        return 'leave';
      case '/reset':
        this.#turns = [];
        stdout.write(`${paint(stdout, 'dim', 'The conversation is forgotten.')}\n`);
        return 'stay';
      case '/system': {
        const system = words.join(' ').trim();
        this.#system = system === '' ? null : system;
        this.#turns = [];
        const done = system === '' ? 'No system prompt.' : 'System prompt set.';
        stdout.write(`${paint(stdout, 'dim', `${done} The conversation is forgotten.`)}\n`);
        return 'stay';
      }
      case '/help':
        stdout.write(HELP);
        return 'stay';
      default:
        stdout.write(`There is no command ${name}; /help lists those that there are.\n`);
        return 'stay';
    }
  }

  async #reply(text: string): Promise<void> {
    const { stdout, stderr } = this.#context;
    const stop = new AbortController();
    const release = this.#context.onInterrupt(() => stop.abort());
    const asked: ChatTurn = { role: 'user', content: text };
    const system: ChatTurn[] =
      this.#system === null ? [] : [{ role: 'system', content: this.#system }];
    const { server, model, parameters } = this.#options;
    const messages = [...system, ...this.#turns, asked];
    let answer = '';
    try {
      const events = streamChat(server, { model, messages, parameters, signal: stop.signal });
      for await (const event of events) {
        if (event.kind === 'end') {
          stdout.write(`\n${paint(stdout, 'dim', endLine(event.end))}\n`);
          continue;
        }
        answer += event.text;
        stdout.write(printable(event.text));
      }
      this.#turns.push(asked, { role: 'assistant', content: answer });
    } catch (thrown) {
      if (answer !== '') stdout.write('\n');
      if (stop.signal.aborted) {
        stdout.write(`${paint(stdout, 'dim', 'stopped')}\n`);
        // What was said so far stays a part of the conversation.
        if (answer !== '') this.#turns.push(asked, { role: 'assistant', content: answer });
        return;
      }
      const error = toPlenumError(thrown);
      stderr.write(`${paint(stderr, 'red', `plenum: ${error.message} (${error.code})`)}\n`);
    } finally {
      release();
    }
  }
}

/** A model’s text cannot move the cursor or set the title of the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it removes.
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}

/** `42 tokens, 35.1 tok/s, first token after 310 ms, 96 of 120 prompt tokens cached`. */
export function endLine(end: ChatEnd): string {
  const parts: string[] = [];
  if (end.completionTokens !== null) parts.push(`${end.completionTokens} tokens`);
  if (end.tokensPerSecond !== null) parts.push(`${end.tokensPerSecond.toFixed(1)} tok/s`);
  if (end.ttftMs !== null) parts.push(`first token after ${formatMillis(end.ttftMs)}`);
  if (end.promptTokens !== null) {
    parts.push(`${end.cachedTokens ?? 0} of ${end.promptTokens} prompt tokens cached`);
  }
  if (end.finishReason === 'length') parts.push('cut off: the length limit is reached');
  return parts.join(', ');
}
