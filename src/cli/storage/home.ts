/** Where the commands that look after models look: as `serve` would. */
import { NO_FLAGS } from '../../config/layers.ts';
import { loadConfig } from '../../config/load.ts';
import { plenumHome } from '../../model/store-home.ts';
import type { CliContext } from '../context.ts';

/** @throws PlenumError config_invalid */
export function modelHome({ env, cwd }: CliContext): string {
  return loadConfig({ flags: NO_FLAGS, env, cwd }).config.home ?? plenumHome(env);
}
