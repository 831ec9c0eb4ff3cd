/**
 * Gives hosts the profile of this machine, so that they begin with the planner's times. A model
 * without one is served all the same: its first steps are guessed.
 */
import { kernelsOf } from '../../engine/llama/kernels.ts';
import { defaultThreads } from '../../engine/llama/threads.ts';
import { type Env, plenumHome } from '../../model/store-home.ts';
import type { ServedModel } from '../../node/node.ts';
import { ENGINE_HERE, identityHere } from '../measure/identity.ts';
import { findProfile, kernelsText, threadsText } from '../measure/store.ts';

export interface ProfileOptions {
  /** Of the models; null = the user's data directory. */
  readonly home: string | null;
  readonly env: Env;
  /** Whence the model's first step times are, in words. */
  readonly onStart: (model: string, from: string) => void;
}

export async function withProfiles(
  models: readonly ServedModel[],
  options: ProfileOptions,
): Promise<readonly ServedModel[]> {
  const started: ServedModel[] = [];
  for (const model of models) started.push(await withProfile(model, options));
  return started;
}

async function withProfile(
  model: ServedModel,
  { home, env, onStart }: ProfileOptions,
): Promise<ServedModel> {
  const { spec } = model;
  if (spec.role !== 'generate' || spec.engine.kind !== 'llama') return model;
  // The packaged engine has a GPU backend for macOS alone.
  const gpu = process.platform === 'darwin' && spec.engine.gpuLayers !== 0;
  const found = await findProfile({
    home: home ?? plenumHome(env),
    here: identityHere,
    engine: ENGINE_HERE,
    threads: spec.engine.threads ?? defaultThreads(),
    compute: gpu ? 'gpu' : 'cpu',
    kernels: kernelsOf({ spec: spec.engine, options: spec, gpu }),
  });
  if (found.kind === 'none') {
    onStart(model.id, `a guess: ${found.why}; plenum measure makes a profile`);
    return model;
  }
  const { profile } = found;
  const { measuredAt, threads, kernels } = profile;
  const how = `${threadsText(threads)}, ${kernelsText(kernels)}`;
  onStart(model.id, `the profile of ${measuredAt} (${how})`);
  return { ...model, spec: { ...spec, profile } };
}
