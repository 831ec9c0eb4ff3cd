/** `plenum ps`: its flags. The work is in ../ps/run.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { PsOptions } from '../ps/run.ts';

const NOTES = `
Reserved is what the ledger holds for a model by its declaration; measured is what the system counts
for its process. A number in brackets is what a model would take that is not loaded.
Where the server has API keys, the key needs \`admin: true\`.
`;

export function registerPs(program: Command, context: CliContext): void {
  program
    .command('ps')
    .summary('show the memory of a running server')
    .description('Shows who holds what of the memory of a running server.')
    .option('-u, --url <url>', 'the server (default: PLENUM_URL, else http://127.0.0.1:8686)')
    .option('--api-key-env <name>', 'variable that holds the API key (default: PLENUM_API_KEY)')
    .option('--json', 'print it as JSON')
    .addHelpText('after', NOTES)
    .action(async (options: PsOptions) => {
      const { listPool } = await import('../ps/run.ts');
      await listPool(options, context);
    });
}
