/** `plenum rm`: its flags. The work is in ../storage/remove.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { RemoveOptions } from '../storage/remove.ts';

const NOTES = `
Only what plenum stored is removed, never a file of yours. Content that another name still uses
stays until that one goes too.
`;

export function registerRm(program: Command, context: CliContext): void {
  program
    .command('rm')
    .summary('remove models from this disk')
    .description('Removes stored models by the names that plenum models lists.')
    .argument('[names...]', 'names or ids of stored models')
    .option('--partial', 'remove interrupted downloads too')
    .option('--json', 'print what was removed as JSON')
    .addHelpText('after', NOTES)
    .action(async (names: string[], options: RemoveOptions) => {
      const { remove } = await import('../storage/remove.ts');
      await remove(names, options, context);
    });
}
