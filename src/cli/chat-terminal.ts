/**
 * The prompt of `plenum chat` on the process's own terminal: line editing with history while the
 * user types; while a reply is printed the terminal is left as it is, so that it turns Ctrl-C into
 * the signal that stops the reply. Lines that arrive together (a paste) are asked one by one.
 */
import { createInterface } from 'node:readline';
import type { Terminal } from './chat-session.ts';
import { type CliContext, paint } from './context.ts';

const HISTORY_MAX = 500;
/** Pasted lines that wait; more are refused. */
const LINES_WAITING_MAX = 1000;

export function terminalOf({ stdout, stderr }: CliContext): Terminal {
  const editor = createInterface({
    input: process.stdin,
    output: process.stdout,
    historySize: HISTORY_MAX,
    prompt: paint(stdout, 'cyan', '> '),
  });
  const waiting: string[] = [];
  let left = false;
  let wake: () => void = () => undefined;
  editor.on('line', (line) => {
    if (waiting.length < LINES_WAITING_MAX) waiting.push(line);
    else stderr.write(`plenum: more than ${LINES_WAITING_MAX} lines wait; this one is refused\n`);
    wake();
  });
  editor.on('SIGINT', () => {
    stdout.write('\n');
    editor.close();
  });
  editor.on('close', () => {
    left = true;
    wake();
  });
  return {
    ask: async () => {
      if (waiting.length === 0 && !left) {
        process.stdin.setRawMode(true);
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        // What was typed ahead stays on the line.
        editor.prompt(true);
        await woken;
        if (!left) editor.pause();
        process.stdin.setRawMode(false);
      }
      return waiting.shift() ?? null;
    },
    close: () => editor.close(),
  };
}
