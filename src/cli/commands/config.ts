/** `plenum config`: the effective configuration and where each value came from. Starts nothing. */
import type { Command } from 'commander';
import { type CliContext, paint } from '../context.ts';
import { configOptions, type ParsedOptions, toOverrides } from '../serve-options.ts';

const NOTES = `
Values come from, later ones winning: defaults, the file, PLENUM_* variables, flags.
`;

export function registerConfig(program: Command, context: CliContext): void {
  configOptions(program.command('config'))
    .summary('print the effective configuration and where each value came from')
    .description('Prints the effective configuration and where each value came from.')
    .option('--json', 'print it as JSON')
    .option('--schema', 'print the JSON schema of plenum.yaml, for editors')
    .option('--env', 'print the environment variables that are understood')
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: ParsedOptions) => {
      if (options.schema === true) return printSchema(context);
      if (options.env === true) return printVariables(context);
      return printConfig(references, options, context);
    });
}

async function printSchema(context: CliContext): Promise<void> {
  const { configJsonSchema } = await import('../../config/schema.ts');
  context.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
}

async function printVariables(context: CliContext): Promise<void> {
  const { environmentVariables } = await import('../../config/layers.ts');
  const rows = environmentVariables();
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, meaning] of rows) context.stdout.write(`${name.padEnd(width)}  ${meaning}\n`);
}

async function printConfig(
  references: readonly string[],
  options: ParsedOptions,
  context: CliContext,
): Promise<void> {
  const { loadConfig } = await import('../../config/load.ts');
  const { originText } = await import('../../config/config.ts');
  const { config, entries } = loadConfig({
    flags: toOverrides(references, options),
    env: context.env,
    cwd: context.cwd,
  });
  if (options.json === true) {
    const values = entries.map(({ path, value, origin }) => ({ path, value, origin }));
    context.stdout.write(`${JSON.stringify({ file: config.file, values }, null, 2)}\n`);
    return;
  }
  const rows = entries.map(
    ({ path, value, origin }) => [path, show(value), originText(origin)] as const,
  );
  const pathWidth = Math.max(...rows.map(([path]) => path.length));
  const valueWidth = Math.max(...rows.map(([, value]) => value.length));
  for (const [path, value, origin] of rows) {
    const where = paint(context.stdout, origin === 'default' ? 'dim' : 'cyan', origin);
    context.stdout.write(`${path.padEnd(pathWidth)}  ${value.padEnd(valueWidth)}  ${where}\n`);
  }
}

function show(value: string | number | boolean | null | readonly string[]): string {
  if (value === null) return '-';
  return typeof value === 'object' ? `[${value.join(', ')}]` : String(value);
}
