/** `plenum fit`: its flags. The work is in ../planning/fit.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { FitOptions } from '../planning/fit.ts';

const NOTES = `
Nothing is downloaded: of a model of the hub, or of an address, only the header is read. The exit
code is 1 when the models do not fit. A machine may be named with its memory in GiB, as in
m4-max-40c:64, or with a number of cards, as in 2xrtx-3090.

Examples:
  plenum fit starter
  plenum fit org/repo:Q4_K_M ./embedder.gguf --context 16384 --parallel 8
  plenum fit llama-3.3-70b@q4_k_m --machine m4-max-40c:64
`;

export function registerFit(program: Command, context: CliContext): void {
  program
    .command('fit')
    .summary('say what models need, and whether they fit')
    .description('Says what models need in memory, and whether all of them fit a machine.')
    .argument(
      '<references...>',
      'files, stored, synthetic or catalogued models, the hub, addresses',
    )
    .option('--machine <id>', 'a machine of the catalogue (default: this machine)')
    .option('--context <tokens>', 'longest sequence (default: as serve has it)')
    .option('--parallel <count>', 'sequences at the same time (default: 4)')
    .option('--cache-type <type>', 'of the KV cache (default: f16)')
    .option('--reserve <gb>', 'GB (1e9 bytes) left to the system (default: by its kind)')
    .option('--json', 'print it as JSON')
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: FitOptions) => {
      const { fitModels } = await import('../planning/fit.ts');
      await fitModels(references, options, context);
    });
}
