/** `plenum synth`: writes a model of random weights, or lists what can be written. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import { syntheticFolder } from '../../model/registry-list.ts';
import { ensureSynthetic, listSynthetic, parseSynthSpec, synthesize } from '../../model/synth.ts';
import type { CliContext } from '../context.ts';
import { pullReporter } from '../pull-reporter.ts';
import { modelHome } from './home.ts';
import { jsonReporter } from './pull.ts';
import { table } from './table.ts';

export interface SynthCommandOptions {
  readonly output?: string;
  readonly seed?: string;
  readonly force?: true;
  readonly list?: true;
  readonly json?: true;
}

export async function synth(
  spec: string | undefined,
  options: SynthCommandOptions,
  context: CliContext,
): Promise<void> {
  if (options.list === true) return list(options, context);
  if (spec === undefined) {
    throw new PlenumError(
      'usage',
      'name what to write, as in plenum synth tiny; --list lists them',
    );
  }
  const parsed = parseSynthSpec(spec);
  const seed = seedOf(options.seed);
  const report = options.json === true ? jsonReporter(context) : pullReporter(context);
  const common = {
    seed,
    signal: context.interrupted(),
    onProgress: ({ bytesWritten, bytesTotal }: { bytesWritten: number; bytesTotal: number }) =>
      report.onEvent({
        kind: 'transfer',
        file: parsed.text,
        bytes: bytesWritten,
        totalBytes: bytesTotal,
        resumedBytes: 0,
      }),
  };
  try {
    const path = await write();
    const { size: bytes } = await stat(path);
    report.stop();
    if (options.json === true) {
      context.stdout.write(`${JSON.stringify({ kind: 'done', spec: parsed.text, path, bytes })}\n`);
    } else context.stdout.write(`${path}\n`);
  } finally {
    report.stop();
  }

  async function write(): Promise<string> {
    if (options.output === undefined) {
      return ensureSynthetic(parsed.text, syntheticFolder(modelHome(context)), common);
    }
    const path = resolve(context.cwd, options.output);
    if (options.force !== true) await refuseExisting(path);
    await synthesize(parsed, path, common);
    return path;
  }
}

function seedOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0xffffffff) return Number(text);
  throw new PlenumError('usage', `--seed takes a whole number from 0 to 4294967295, not ${text}`);
}

async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).catch(() => null);
  if (found === null) return;
  throw new PlenumError('usage', `${path} is there already; --force replaces it`);
}

function list(options: SynthCommandOptions, context: CliContext): void {
  const entries = listSynthetic();
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify(entries, null, 2)}\n`);
    return;
  }
  const rows = entries.map(({ spec, arch, parameters, fileBytes }) => [
    spec,
    arch,
    `${Number((parameters / 1e6).toPrecision(3))} M`,
    formatBytes(fileBytes),
  ]);
  context.stdout.write(table(['SPEC', 'ARCHITECTURE', 'PARAMETERS', 'SIZE'], rows, context.stdout));
}
