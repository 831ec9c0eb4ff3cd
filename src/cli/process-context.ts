/** The CliContext of the real process. Owns the signal handlers and the quiet end on EPIPE. */
import type { WriteStream } from 'node:tty';
import type { CliContext, CliOutput, ExitCode } from './context.ts';

export interface ProcessContext extends CliContext {
  /** What the command asked for with `setExitCode`; 0 if it did not. */
  readonly exitCode: ExitCode;
}

function wantsColor(stream: WriteStream, env: NodeJS.ProcessEnv): boolean {
  if (env.NO_COLOR) return false;
  const forced = env.FORCE_COLOR;
  if (forced !== undefined) return forced !== '0';
  return stream.isTTY === true && env.TERM !== 'dumb';
}

function output(stream: WriteStream, env: NodeJS.ProcessEnv): CliOutput {
  // A reader that went away (`| head`) is not an error of ours.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  const color = wantsColor(stream, env);
  return {
    write: (text) => {
      stream.write(text);
    },
    get isTTY() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? 80;
    },
    color,
  };
}

function interruption(): () => AbortSignal {
  let controller: AbortController | null = null;
  return () => {
    if (controller !== null) return controller.signal;
    const own = new AbortController();
    controller = own;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (own.signal.aborted) process.exit(130);
      own.abort(new DOMException(`interrupted by ${signal}`, 'AbortError'));
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    return own.signal;
  };
}

export function processContext(version: string): ProcessContext {
  const { env } = process;
  let exitCode: ExitCode = 0;
  return {
    stdin: { stream: process.stdin, isTTY: process.stdin.isTTY === true },
    stdout: output(process.stdout, env),
    stderr: output(process.stderr, env),
    env,
    cwd: process.cwd(),
    version,
    interrupted: interruption(),
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
    setExitCode: (code) => {
      exitCode = code;
    },
    get exitCode() {
      return exitCode;
    },
  };
}
