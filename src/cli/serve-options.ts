/**
 * The flags that change the configuration, shared by `serve` and `config`: made from the settings'
 * table and read back into what `loadConfig` takes. Whether a value is valid is for the schema.
 */
import { type Command, Option } from 'commander';
import type { ConfigFlags } from '../config/layers.ts';
import { flagName, SETTINGS } from '../config/settings.ts';

/** Options as commander hands them to an action. */
export type ParsedOptions = Readonly<Record<string, unknown>>;

/** Adds `[reference...]`, `--config` and a flag for every setting that has one. */
export function configOptions(command: Command): Command {
  command
    .argument('[reference...]', 'models to serve, instead of those of the configuration')
    .option('-c, --config <file>', 'configuration file (default: ./plenum.yaml, if there)')
    .option('--api-key-env <name>', 'variable that holds the one API key that may call');
  for (const { flag, help } of SETTINGS) {
    if (flag === null) continue;
    command.addOption(new Option(flag, flag.startsWith('--no-') ? `do not ${help}` : help));
  }
  return command;
}

/** `configOptions` and what only `serve` has. */
export function serveOptions(command: Command): Command {
  return configOptions(command).addOption(
    new Option('--json', 'write logs as JSON lines: --log-format json').conflicts('logFormat'),
  );
}

/** What the options of a command with `configOptions` say of the configuration. */
export function toOverrides(references: readonly string[], options: ParsedOptions): ConfigFlags {
  const values: ConfigFlags['values'][number][] = [];
  for (const setting of SETTINGS) {
    if (setting.flag === null) continue;
    const option = new Option(setting.flag, setting.help);
    const given = options[option.attributeName()];
    const flag = flagName(setting) ?? setting.flag;
    // commander gives a `--no-x` flag the value true when it is absent.
    if (given === undefined || (option.negate && given === true)) continue;
    values.push({ setting, flag, text: String(given) });
  }
  return {
    file: typeof options.config === 'string' ? options.config : null,
    models: references,
    apiKeyEnv: typeof options.apiKeyEnv === 'string' ? options.apiKeyEnv : null,
    values,
  };
}

/** `toOverrides` with the shorthands of `serve`. */
export function toServeOverrides(
  references: readonly string[],
  options: ParsedOptions,
): ConfigFlags {
  const logFormat = options.json === true ? { logFormat: 'json' } : {};
  return toOverrides(references, { ...options, ...logFormat });
}
