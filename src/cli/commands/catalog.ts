/** `plenum catalog`: its flags. The work is in ../planning/catalog.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';

export function registerCatalog(program: Command, context: CliContext): void {
  program
    .command('catalog')
    .summary('list models and quantisations that can be planned for')
    .description('Lists models and quantisations with what they take, with sources.')
    .argument('[query...]', 'words of a name, architecture or quantisation, as in qwen3 dense')
    .option('--json', 'print them as JSON')
    .action(async (words: string[], options: { json?: true }) => {
      const { catalog } = await import('../planning/catalog.ts');
      catalog(words.length === 0 ? undefined : words.join(' '), options, context);
    });
}
