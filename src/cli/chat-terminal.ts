/**
 * The prompt of `plenum chat`: line editing with history while the user types, and nothing between
 * two prompts, so that the terminal turns Ctrl-C into the signal that stops a reply.
 */
import { createInterface } from 'node:readline';
import type { Terminal } from './chat-session.ts';
import { type CliContext, paint } from './context.ts';

const HISTORY_MAX = 500;

export function terminalOf(context: CliContext): Terminal {
  let history: string[] = [];
  return {
    ask: () =>
      new Promise((resolve) => {
        const line = createInterface({
          input: context.stdin.stream,
          output: process.stdout,
          history,
          historySize: HISTORY_MAX,
          prompt: paint(context.stdout, 'cyan', '> '),
        });
        let answer: string | null = null;
        line.on('history', (entries) => {
          history = [...entries];
        });
        line.on('line', (text) => {
          answer = text;
          line.close();
        });
        line.on('SIGINT', () => {
          context.stdout.write('\n');
          line.close();
        });
        line.on('close', () => resolve(answer));
        line.prompt();
      }),
  };
}
