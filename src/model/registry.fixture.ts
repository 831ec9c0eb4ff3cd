/**
 * A process that pulls one model and prints its events as lines of JSON: two of them race in a
 * test, and one is killed in the middle. Arguments: reference, home. For tests only.
 */
import { ensureModel } from './registry.ts';

const [reference = '', home = ''] = process.argv.slice(2);
const print = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value)}\n`);
};
await ensureModel(reference, { home, onProgress: print });
