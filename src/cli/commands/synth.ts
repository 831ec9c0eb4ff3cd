/** `plenum synth`: its flags. The work is in ../storage/synth.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { SynthCommandOptions } from '../storage/synth.ts';

const NOTES = `
A synthetic model has the exact architecture and size of a real one and random weights: it runs as
fast as the real one, and its words mean nothing. So a machine can be measured without a download.

Examples:
  plenum synth --list
  plenum synth llama-3.1-8b@q4_0 -o llama.gguf
  plenum serve synthetic:tiny
`;

export function registerSynth(program: Command, context: CliContext): void {
  program
    .command('synth')
    .summary('write a model of random weights, to measure a machine')
    .description('Writes a GGUF model of random weights.')
    .argument('[spec]', 'NAME or NAME@QUANT')
    .option('-o, --output <file>', 'where to write it (default: among the stored models)')
    .option('--seed <number>', 'other weights (default: 1)')
    .option('-f, --force', 'replace the output file')
    .option('--list', 'list the names')
    .option('--json', 'print events, or the list, as JSON')
    .addHelpText('after', NOTES)
    .action(async (spec: string | undefined, options: SynthCommandOptions) => {
      const { synth } = await import('../storage/synth.ts');
      await synth(spec, options, context);
    });
}
