/** `plenum models`: its flags. The work is in ../storage/list.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';

export function registerModels(program: Command, context: CliContext): void {
  program
    .command('models')
    .summary('list the models on this disk')
    .description('Lists the models on this disk: name, size, kind, source and path.')
    .option('--json', 'print it as JSON')
    .action(async (options: { json?: true }) => {
      const { models } = await import('../storage/list.ts');
      await models(options, context);
    });
}
