/** `plenum machines`: its flags. The work is in ../planning/machines.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';

export function registerMachines(program: Command, context: CliContext): void {
  program
    .command('machines')
    .summary('list machines that can be planned for')
    .description('Lists machines with memory, bandwidth, compute, power and price, with sources.')
    .argument('[query...]', 'words of a name, maker, kind or family, as in apple max')
    .option('--json', 'print them as JSON')
    .action(async (words: string[], options: { json?: true }) => {
      const { machines } = await import('../planning/machines.ts');
      machines(words.length === 0 ? undefined : words.join(' '), options, context);
    });
}
