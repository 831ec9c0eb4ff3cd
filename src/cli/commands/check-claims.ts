/** `plenum check-claims`: its flags. The work is in ../planning/check-claims.ts. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';

export function registerCheckClaims(program: Command, context: CliContext): void {
  program
    .command('check-claims')
    .summary('compute what is claimed of unified memory')
    .description(
      'Computes what an article claims of unified-memory machines: verdicts with their arithmetic.',
    )
    .option('--json', 'print it as JSON')
    .action(async (options: { json?: true }) => {
      const { checkClaims } = await import('../planning/check-claims.ts');
      checkClaims(options, context);
    });
}
