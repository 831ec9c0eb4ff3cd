/**
 * What a model's configuration says beside its loading: guards in its path, how it judges, prefixes
 * of its inputs, sampling of requests that do not say otherwise.
 */
import type { GuardPolicy } from '../wire/guard.ts';
import type { SamplingDefaults } from '../wire/model-info.ts';
import type { Behaviour, Entry } from './config.ts';
import type { ConfigFile, ModelFile } from './schema.ts';
import type { Path } from './yaml-source.ts';

type GuardFile = NonNullable<ModelFile['guard']>;

/** Where values are written down and complaints go. */
export interface Notes {
  readonly note: (path: Path, value: Entry['value'], from?: Path) => void;
  readonly complain: (path: Path, problem: string) => void;
}

export function guardOf(guard: GuardFile): GuardPolicy {
  const { model, input, output, action, threshold, window_tokens, timeout_ms } = guard;
  return {
    model,
    input,
    output,
    action,
    threshold,
    windowTokens: window_tokens,
    timeoutMs: timeout_ms,
  };
}

export function noteAll(
  notes: Notes,
  values: Readonly<Record<string, Entry['value'] | undefined>>,
  { path, from = path }: { readonly path: Path; readonly from?: Path },
): void {
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) notes.note([...path, key], value, [...from, key]);
  }
}

/** A model's own settings; guard and each field of sampling may come from `defaults`. */
export function behaviourOf(
  file: ConfigFile,
  { model, path }: { readonly model: ModelFile; readonly path: Path },
  notes: Notes,
): Behaviour {
  const { embedding, moderation } = model;
  noteAll(notes, embedding ?? {}, { path: [...path, 'embedding'] });
  noteAll(notes, moderation ?? {}, { path: [...path, 'moderation'] });
  if (model.class !== undefined) notes.note([...path, 'class'], model.class);
  return {
    class: model.class ?? null,
    samplingDefaults: samplingOf(file, { model, path }, notes),
    inputPrefixes: {
      query: embedding?.query_prefix ?? null,
      document: embedding?.document_prefix ?? null,
    },
    judging: {
      activation: moderation?.activation ?? 'auto',
      safeLabels: moderation?.safe_labels ?? null,
      threshold: moderation?.threshold ?? 0.5,
    },
    guard: guardOfModel(file, { model, path }, notes),
  };
}

function samplingOf(
  file: ConfigFile,
  { model, path }: { readonly model: ModelFile; readonly path: Path },
  notes: Notes,
): SamplingDefaults {
  const common = file.defaults.sampling ?? {};
  const own = model.sampling ?? {};
  const at = [...path, 'sampling'];
  for (const key of Object.keys({ ...common, ...own })) {
    const isOwn = Object.hasOwn(own, key);
    const value = (isOwn ? own : common)[key as keyof typeof own];
    const from = isOwn ? [...at, key] : ['defaults', 'sampling', key];
    if (value !== undefined) notes.note([...at, key], value, from);
  }
  const merged = { ...common, ...own };
  const { temperature, top_p, top_k, min_p, repeat_penalty } = merged;
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(top_p === undefined ? {} : { topP: top_p }),
    ...(top_k === undefined ? {} : { topK: top_k }),
    ...(min_p === undefined ? {} : { minP: min_p }),
    ...(repeat_penalty === undefined ? {} : { repeatPenalty: repeat_penalty }),
  };
}

function guardOfModel(
  file: ConfigFile,
  { model, path }: { readonly model: ModelFile; readonly path: Path },
  notes: Notes,
): GuardPolicy | null {
  const guard = model.guard ?? file.defaults.guard;
  if (guard === undefined) return null;
  const from: Path = model.guard === undefined ? ['defaults', 'guard'] : [...path, 'guard'];
  noteAll(notes, guard, { path: [...path, 'guard'], from });
  return guardOf(guard);
}

/** Every guard stands for something and is a model of the list, another one than it guards. */
export function checkGuards(file: ConfigFile, notes: Notes): void {
  const names = new Set(
    file.models.flatMap(({ model, id, aliases = [] }) => [id ?? model, ...aliases]),
  );
  const check = (guard: GuardFile, path: Path): void => {
    if (!guard.input && !guard.output) {
      notes.complain(path, 'judges neither input nor output; leave it out, or set one to true');
    }
    if (names.has(guard.model)) return;
    const known = [...names].join(', ');
    notes.complain([...path, 'model'], `"${guard.model}" is not a model of this list (${known})`);
  };
  file.server.api_keys.forEach(({ guard }, index) => {
    if (guard !== undefined && guard !== 'off')
      check(guard, ['server', 'api_keys', index, 'guard']);
  });
  if (file.defaults.guard !== undefined) check(file.defaults.guard, ['defaults', 'guard']);
  file.models.forEach(({ guard, id, model, aliases = [] }, index) => {
    if (guard === undefined) return;
    const path: Path = ['models', index, 'guard'];
    check(guard, path);
    if (![id ?? model, ...aliases].includes(guard.model)) return;
    notes.complain([...path, 'model'], `"${guard.model}" would guard itself; name another model`);
  });
}
