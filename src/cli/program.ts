/**
 * The command line: one commander program, its commands and the one place where an error becomes a
 * line and an exit code. A command's file exports `registerX(program, context)` and imports what it
 * needs to *run* inside its action, so that no command pays for another's dependencies.
 */
import { Command, CommanderError } from 'commander';
import { PlenumError, toPlenumError } from '../base/errors.ts';
import { registerBench } from './commands/bench.ts';
import { registerCatalog } from './commands/catalog.ts';
import { registerChat } from './commands/chat.ts';
import { registerCheckClaims } from './commands/check-claims.ts';
import { registerConfig } from './commands/config.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerFit } from './commands/fit.ts';
import { registerMachines } from './commands/machines.ts';
import { registerMeasure } from './commands/measure.ts';
import { registerModels } from './commands/models.ts';
import { registerPlan } from './commands/plan.ts';
import { registerPs } from './commands/ps.ts';
import { registerPull } from './commands/pull.ts';
import { registerRm } from './commands/rm.ts';
import { registerServe } from './commands/serve.ts';
import { registerSynth } from './commands/synth.ts';
import type { CliContext, ExitCode } from './context.ts';

/** In the order of the help. */
const COMMANDS = [
  registerServe,
  registerChat,
  registerPs,
  registerPull,
  registerModels,
  registerRm,
  registerSynth,
  registerDoctor,
  registerConfig,
  registerMeasure,
  registerPlan,
  registerFit,
  registerMachines,
  registerCatalog,
  registerCheckClaims,
  registerBench,
];

const EXAMPLES = `
Examples:
  plenum serve                      serve the small starter model, downloading it on first use
  plenum serve org/repo:Q4_K_M      serve a GGUF model of the Hugging Face hub
  plenum serve --config plenum.yaml serve what a configuration lists
  plenum chat                       talk to the server in the terminal
  plenum ps                         show who holds what of its memory
  plenum doctor                     say what this machine has, and what is wrong with it

Exit codes: 0 done, 1 an operating error, 2 the command line or the configuration is wrong,
130 interrupted. PLENUM_DEBUG=1 adds stack traces to errors.
`;

export function buildProgram(context: CliContext): Command {
  const program = new Command('plenum');
  program
    .description('An inference server for unified-memory machines.')
    .version(context.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      // Errors are printed once, by `report`.
      outputError: () => undefined,
      getOutHelpWidth: () => context.stdout.columns,
      getErrHelpWidth: () => context.stderr.columns,
      getOutHasColors: () => context.stdout.color,
      getErrHasColors: () => context.stderr.color,
    });
  for (const register of COMMANDS) register(program, context);
  return program;
}

/** Runs a command line (without `node` and the script) and returns its exit code; never throws. */
export async function runProgram(
  argv: readonly string[],
  context: CliContext & { readonly exitCode: ExitCode },
): Promise<ExitCode> {
  try {
    await buildProgram(context).parseAsync([...argv], { from: 'user' });
    return context.exitCode;
  } catch (thrown) {
    return report(thrown, context);
  }
}

/** Prints what was thrown as one line, `plenum: message (code)`, and says the exit code. */
export function report(thrown: unknown, context: CliContext): ExitCode {
  if (thrown instanceof CommanderError) return reportUsage(thrown, context);
  if (thrown instanceof Error && thrown.name === 'AbortError' && context.interrupted().aborted) {
    context.stderr.write('plenum: interrupted\n');
    return 130;
  }
  const error = toPlenumError(thrown);
  const [first = '', ...rest] = error.message.split('\n');
  context.stderr.write(`${[`plenum: ${first} (${error.code})`, ...rest].join('\n')}\n`);
  if (context.env.PLENUM_DEBUG) context.stderr.write(`${stackOf(thrown)}\n`);
  else if (!(thrown instanceof PlenumError)) {
    context.stderr.write('This is a fault of Plenum; PLENUM_DEBUG=1 shows where.\n');
  }
  return exitCodeOf(error);
}

function reportUsage(error: CommanderError, context: CliContext): ExitCode {
  // --help and --version arrive here too, already printed.
  if (error.exitCode === 0) return 0;
  // `plenum` alone: the help was printed to stderr.
  if (error.code === 'commander.help') return 2;
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  context.stderr.write(`plenum: ${message}; see plenum --help (usage)\n`);
  return 2;
}

function exitCodeOf(error: PlenumError): ExitCode {
  switch (error.code) {
    case 'usage':
    case 'config_invalid':
    case 'reference_invalid':
    case 'bind_refused':
      return 2;
    default:
      return 1;
  }
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.stack ?? String(thrown);
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${stackOf(thrown.cause)}`;
}
