/**
 * `plenum pull`: fetches models and says what it does meanwhile. The fetching is the registry's.
 */
import { toErrorRecord } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import type { OnPullEvent, PullEvent } from '../../model/download-events.ts';
import { parseReference } from '../../model/reference.ts';
import { ensureModel } from '../../model/registry.ts';
import type { CliContext } from '../context.ts';
import { pullReporter } from '../pull-reporter.ts';
import { modelHome } from './home.ts';

export interface PullOptions {
  readonly again?: true;
  readonly json?: true;
}

export async function pull(
  references: readonly string[],
  options: PullOptions,
  context: CliContext,
): Promise<void> {
  const home = modelHome(context);
  // A typing error in the last is found before the first is fetched.
  for (const reference of references) parseReference(reference);
  const report = options.json === true ? jsonReporter(context) : pullReporter(context);
  const { env, cwd } = context;
  try {
    for (const reference of references) {
      const model = await ensureModel(reference, {
        home,
        env,
        cwd,
        signal: context.interrupted(),
        again: options.again ?? false,
        onProgress: report.onEvent,
      });
      if (options.json === true) continue;
      const [path] = model.paths;
      const { id, description, bytes, source } = model;
      context.stdout.write(`${id}: ${description}, ${formatBytes(bytes)}, from ${source}\n`);
      context.stdout.write(`  ${path}\n`);
    }
  } catch (error) {
    report.stop();
    if (context.interrupted().aborted) {
      context.stderr.write('what has arrived is kept; the same command goes on from there\n');
    } else if (options.json === true) {
      context.stdout.write(`${JSON.stringify({ kind: 'error', ...toErrorRecord(error) })}\n`);
    }
    throw error;
  } finally {
    report.stop();
  }
}

/** At most this many lines tell of one transfer, besides its first and its last. */
const TRANSFER_LINES = 100;
const TRANSFER_BYTES_MIN = 1_000_000;

/** One JSON object per line and event. */
export function jsonReporter(context: CliContext): {
  readonly onEvent: OnPullEvent;
  readonly stop: () => void;
} {
  let last: Extract<PullEvent, { kind: 'transfer' }> | null = null;
  const onEvent: OnPullEvent = (event) => {
    if (event.kind === 'transfer') {
      const step = Math.max(TRANSFER_BYTES_MIN, (event.totalBytes ?? 0) / TRANSFER_LINES);
      const due = last?.file !== event.file || event.bytes - last.bytes >= step;
      if (!due && event.bytes !== event.totalBytes) return;
      last = event;
    }
    context.stdout.write(`${JSON.stringify(event)}\n`);
  };
  return { onEvent, stop: () => undefined };
}
