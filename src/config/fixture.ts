/** For the tests of this room: configurations in a folder of their own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PlenumError } from '../base/errors.ts';
import { type ConfigFlags, type Environment, NO_FLAGS } from './layers.ts';
import { type LoadedConfig, loadConfig } from './load.ts';
import { flagName, SETTINGS } from './settings.ts';

export interface Given {
  /** Text of plenum.yaml in the working directory. */
  readonly yaml?: string;
  readonly env?: Environment;
  readonly flags?: Partial<ConfigFlags>;
}

/** A working directory of one test; `remove` it at its end. */
export class ConfigFolder {
  readonly cwd = mkdtempSync(join(tmpdir(), 'plenum-config-'));

  load({ yaml, env = {}, flags = {} }: Given): LoadedConfig {
    if (yaml !== undefined) writeFileSync(join(this.cwd, 'plenum.yaml'), yaml);
    return loadConfig({ flags: { ...NO_FLAGS, ...flags }, env, cwd: this.cwd });
  }

  /** The error that the configuration gives; throws when it is accepted. */
  refusal(given: Given): PlenumError {
    try {
      this.load(given);
    } catch (thrown) {
      if (thrown instanceof PlenumError) return thrown;
      throw thrown;
    }
    throw new Error('the configuration was accepted');
  }

  /** What is wrong with it, one line each; throws when it is something else than config_invalid. */
  complaints(given: Given): readonly string[] {
    const error = this.refusal(given);
    const list = error.details?.errors;
    if (error.code !== 'config_invalid' || !Array.isArray(list)) throw error;
    return list.map(String);
  }

  remove(): void {
    rmSync(this.cwd, { recursive: true });
  }
}

/** A flag by its name and text, as `serve` hands it over. */
export function flag(name: string, text: string): Partial<ConfigFlags> {
  const setting = SETTINGS.find((candidate) => flagName(candidate) === name);
  if (setting === undefined) throw new Error(`no setting has the flag ${name}`);
  return { values: [{ setting, flag: name, text }] };
}
