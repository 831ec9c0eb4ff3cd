/** `plenum models`: what is on this disk, as a table or as JSON. */
import { formatBytes } from '../../base/units.ts';
import { listModels, type StoredModel, type StoredModels } from '../../model/registry-list.ts';
import type { CliContext } from '../context.ts';
import { modelHome } from './home.ts';
import { table } from './table.ts';

export async function models(options: { json?: true }, context: CliContext): Promise<void> {
  const stored = await listModels(modelHome(context));
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify(stored, null, 2)}\n`);
    return;
  }
  printModels(stored, context);
  printLeftovers(stored, context);
}

function printModels({ models: stored, home }: StoredModels, context: CliContext): void {
  if (stored.length === 0) {
    context.stderr.write(`no models in ${home}; plenum pull starter fetches a small one\n`);
    return;
  }
  const rows = stored.map((model) => [
    model.reference,
    formatBytes(model.bytes),
    model.description,
    model.source,
    pathOf(model),
  ]);
  context.stdout.write(table(['NAME', 'SIZE', 'MODEL', 'SOURCE', 'PATH'], rows, context.stdout));
}

function pathOf({ paths }: StoredModel): string {
  const [first = '', ...more] = paths;
  return more.length === 0 ? first : `${first} (+${more.length})`;
}

function printLeftovers({ partials, broken }: StoredModels, context: CliContext): void {
  const idle = partials.filter((partial) => !partial.active && partial.bytes > 0);
  if (idle.length > 0) {
    const bytes = idle.reduce((sum, partial) => sum + partial.bytes, 0);
    context.stderr.write(
      `interrupted downloads: ${idle.length}, ${formatBytes(bytes)}; ` +
        'pulling the same goes on from them, plenum rm --partial removes them\n',
    );
  }
  for (const { path, reason } of broken) context.stderr.write(`${path}: ${reason}\n`);
}
