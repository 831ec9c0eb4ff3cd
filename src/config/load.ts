/**
 * Loads the configuration: file, variables, flags → defaults → validation → frozen. Every error of
 * it is found at once and thrown as one PlenumError. It reads one file and starts nothing.
 */
import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import type * as z from 'zod';
import { PlenumError } from '../base/errors.ts';
import { type Complaint, configError, pathText, unknownKey, wrongValue } from './complaints.ts';
import { type Config, deepFreeze, type Entry } from './config.ts';
import { effective } from './effective.ts';
import { type ConfigFlags, type Environment, Layers, valueAt } from './layers.ts';
import { type ConfigFile, configSchema } from './schema.ts';
import { unknownVariables } from './settings.ts';
import { parseYaml, type YamlSource } from './yaml-source.ts';

/** Looked for in the working directory when no other file is named. */
const FILE_DEFAULT = 'plenum.yaml';

export interface LoadInput {
  readonly flags: ConfigFlags;
  readonly env: Environment;
  /** Absolute. */
  readonly cwd: string;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Every value with its origin, in the order of the schema. */
  readonly entries: readonly Entry[];
}

/**
 * @throws PlenumError config_invalid with all complaints (also in `details.errors`),
 * file_not_found when a file that was named is not there.
 */
export function loadConfig(input: LoadInput): LoadedConfig {
  const file = readSource(input);
  const layers = new Layers(file, input.flags, input.env);
  const complaints: Complaint[] = unknownVariables(input.env).map(({ name, problem }) => ({
    where: name,
    text: problem,
  }));
  const parsed = configSchema.safeParse(layers.merged);
  if (!parsed.success) {
    complaints.push(...parsed.error.issues.flatMap((issue) => explain(issue, layers)));
    throw configError(complaints);
  }
  const result = effective(parsed.data satisfies ConfigFile, {
    layers,
    env: input.env,
    cwd: input.cwd,
    file: file?.path ?? null,
  });
  complaints.push(...result.complaints);
  if (complaints.length > 0) throw configError(complaints);
  return { config: deepFreeze(result.config), entries: result.entries };
}

function explain(issue: z.core.$ZodIssue, layers: Layers): Complaint[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) =>
      layers.complainOfKey([...path, key], unknownKey([...path, key])),
    );
  }
  const problem = wrongValue(path, valueAt(layers.merged, path));
  const subject = path.length === 0 ? 'the configuration' : pathText(path);
  return [layers.complain(path, (known) => (known ? problem : `${subject} ${problem}`))];
}

interface SourceFile {
  readonly name: string;
  readonly path: string;
  readonly source: YamlSource;
}

function readSource({ flags, env, cwd }: LoadInput): SourceFile | null {
  const named = flags.file ?? (env.PLENUM_CONFIG || null);
  const name = named ?? FILE_DEFAULT;
  const path = isAbsolute(name) ? name : resolve(cwd, name);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    if (code === 'ENOENT' && named === null) return null;
    const by = flags.file === null ? 'PLENUM_CONFIG' : '--config';
    const reason = code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`;
    throw new PlenumError(
      'file_not_found',
      `${named === null ? '' : `${by}: `}${name}: ${reason}`,
      {
        cause,
      },
    );
  }
  const parsed = parseYaml(text);
  if ('source' in parsed) return { name, path, source: parsed.source };
  throw configError(
    parsed.problems.map(({ at, problem }) => ({
      where: at === null ? name : `${name}:${at.line}:${at.column}`,
      text: problem,
    })),
  );
}
