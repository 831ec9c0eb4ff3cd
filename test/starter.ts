/**
 * The starter model for tests that need real words: fetched once into the user's store (PLENUM_HOME
 * or its default) and kept there. Where no mirror can be reached it says so, loudly, and gives
 * null; a suite then skips with that reason and never passes in silence.
 */
import { PlenumError } from '../src/base/errors.ts';
import { ensureModel } from '../src/model/registry.ts';

let found: Promise<string | null> | null = null;

/** The path of the starter's GGUF file, or null where it cannot be had. Asks once per process. */
export function starterPath(): Promise<string | null> {
  found ??= fetchStarter();
  return found;
}

async function fetchStarter(): Promise<string | null> {
  try {
    const { paths } = await ensureModel('starter');
    return paths[0] ?? null;
  } catch (error) {
    if (!(error instanceof PlenumError)) throw error;
    announceMissing(error.message);
    return null;
  }
}

/** Says on standard error that tests are skipped and why, in a way that nobody overlooks. */
export function announceMissing(reason: string): void {
  const line = '!'.repeat(78);
  process.stderr.write(
    `\n${line}\nTESTS ARE SKIPPED: the starter model could not be had.\n${reason}\n${line}\n\n`,
  );
}
