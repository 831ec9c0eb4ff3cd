/**
 * What a command sees of the process it runs in: streams, environment, directory, interruption.
 * Commands take everything from here, so that a test hands them its own. It does not parse
 * arguments and does not decide exit codes but for `setExitCode`.
 */
import type { Readable } from 'node:stream';

export interface CliOutput {
  write(text: string): void;
  readonly isTTY: boolean;
  /** Width of the terminal in columns; 80 where it is not one. */
  readonly columns: number;
  /** ANSI colours are wanted: a terminal, without NO_COLOR, or with FORCE_COLOR. */
  readonly color: boolean;
}

export interface CliInput {
  readonly stream: Readable;
  readonly isTTY: boolean;
}

export interface CliContext {
  readonly stdin: CliInput;
  /** Results: what a script reads. */
  readonly stdout: CliOutput;
  /** Progress and complaints. */
  readonly stderr: CliOutput;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Version of Plenum. */
  readonly version: string;
  /**
   * A signal that aborts on the first SIGINT or SIGTERM; a second one ends the process at once with
   * 130. Before the first call those signals have their default effect, so a command that does not
   * ask cannot become deaf to Ctrl-C.
   */
  interrupted(): AbortSignal;
  /** Calls `listener` at every SIGINT until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /** Exit code of a command that ends without an error but has bad news, as `doctor` may. */
  setExitCode(code: ExitCode): void;
}

/** 0 done, 1 an operating error, 2 the command line or the configuration is wrong, 130 Ctrl-C. */
export type ExitCode = 0 | 1 | 2 | 130;

type Ansi = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const ANSI: Readonly<Record<Ansi, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

/** `text` in a style where the output wants colours, plain elsewhere. */
export function paint(output: CliOutput, style: Ansi, text: string): string {
  if (!output.color) return text;
  const [on, off] = ANSI[style];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}
