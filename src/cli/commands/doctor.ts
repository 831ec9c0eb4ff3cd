/** `plenum doctor`: its flags. The checks are in ../doctor/, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { DoctorOptions } from '../doctor/run.ts';

const NOTES = `
Looks at Node, the processor, memory, graphics, the engine's library, the models' folder, the port
and the configuration. It changes nothing and downloads nothing. Exit code 1 when something fails.
`;

export function registerDoctor(program: Command, context: CliContext): void {
  program
    .command('doctor')
    .summary('say what this machine has, and what is wrong with it')
    .description('Says what this machine has, what the engine found, and what is wrong.')
    .option('-c, --config <file>', 'configuration file (default: ./plenum.yaml, if there)')
    .option('--json', 'print it as JSON')
    .addHelpText('after', NOTES)
    .action(async (options: DoctorOptions) => {
      const { doctor } = await import('../doctor/run.ts');
      await doctor(options, context);
    });
}
