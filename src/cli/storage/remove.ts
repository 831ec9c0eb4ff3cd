/** `plenum rm`: removes stored models by name, and interrupted downloads. */
import { PlenumError } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import { removeModels } from '../../model/registry-list.ts';
import { ModelStore } from '../../model/store.ts';
import type { CliContext } from '../context.ts';
import { modelHome } from './home.ts';

export interface RemoveOptions {
  readonly partial?: true;
  readonly json?: true;
}

export async function remove(
  names: readonly string[],
  options: RemoveOptions,
  context: CliContext,
): Promise<void> {
  if (names.length === 0 && options.partial !== true) {
    throw new PlenumError(
      'usage',
      'name a model to remove (plenum models lists them), or --partial',
    );
  }
  const home = modelHome(context);
  const { removed, freedBytes } = await removeModels(home, names);
  const partialBytes =
    options.partial === true ? await new ModelStore(home).removePartials(context.interrupted()) : 0;
  if (options.json === true) {
    const result = { removed, freedBytes: freedBytes + partialBytes };
    context.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    return;
  }
  for (const { reference } of removed) context.stdout.write(`removed ${reference}\n`);
  const shared = freedBytes === 0 && removed.length > 0;
  const why = shared ? ' (another name still uses the same files)' : '';
  context.stdout.write(`${formatBytes(freedBytes + partialBytes)} freed${why}\n`);
}
