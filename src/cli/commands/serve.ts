/** `plenum serve`: its flags. What it does is in ../serving/run.ts, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { type ParsedOptions, serveOptions, toServeOverrides } from '../serve-options.ts';

const NOTES = `
Without a reference or a configuration it serves "starter", a small chat model that is downloaded
on first use. Stop with Ctrl-C or SIGTERM: requests under way may finish (--drain-ms).

Examples:
  plenum serve
  plenum serve ./model.gguf --context 4096 --parallel 8
  plenum serve org/repo:Q4_K_M --port 9000
  plenum serve --config plenum.yaml
`;

export function registerServe(program: Command, context: CliContext): void {
  serveOptions(program.command('serve'))
    .summary('serve models over the OpenAI API')
    .description(
      'Serves models over the OpenAI API, on http://127.0.0.1:8686 unless told otherwise.',
    )
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: ParsedOptions) => {
      const { serve } = await import('../serving/run.ts');
      await serve(toServeOverrides(references, options), context);
    });
}
