/**
 * Which model answers on which endpoint: the served model by id or alias, and a clear no when it is
 * of another kind.
 */
import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { EncodeTask } from '../wire/encode.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type { ModelClass } from '../wire/pool.ts';

export type Endpoint =
  | '/v1/chat/completions'
  | '/v1/completions'
  | '/v1/embeddings'
  | '/v1/rerank'
  | '/v1/moderations';

const GENERATING = ['/v1/chat/completions', '/v1/completions'] as const;

const OF_CLASS: Readonly<Record<ModelClass, readonly Endpoint[]>> = {
  chat: GENERATING,
  embed: ['/v1/embeddings'],
  rerank: ['/v1/rerank'],
  guard: ['/v1/moderations'],
};
const OF_TASK: Readonly<Record<EncodeTask, Endpoint>> = {
  embed: '/v1/embeddings',
  rank: '/v1/rerank',
  classify: '/v1/moderations',
};

/** What its class is for; of an encoder that is loaded, what it can do. */
export function endpointsOf(model: ModelInfo): readonly Endpoint[] {
  if (model.encoder !== null) return model.encoder.tasks.map((task) => OF_TASK[task]);
  return OF_CLASS[model.class];
}

/**
 * The model of that name; the first one that serves the endpoint for undefined. Throws
 * `model_not_found`, and `wrong_endpoint` naming where the model does answer.
 */
export function modelFor(
  endpoint: Endpoint,
  models: readonly ModelInfo[],
  name: string | undefined,
): ModelInfo {
  const serving = models.filter((model) => endpointsOf(model).includes(endpoint));
  if (name === undefined) {
    const [first] = serving;
    if (first !== undefined) return first;
    if (models.length === 0) return findModel(models, name);
    throw new PlenumError(
      'model_not_found',
      `No model of this server serves ${endpoint}. Served: ${list(models)}.`,
      { param: 'model' },
    );
  }
  const model = findModel(models, name);
  if (serving.includes(model)) return model;
  const own = endpointsOf(model).join(' and ');
  const hint =
    serving.length === 0
      ? `No model of this server serves ${endpoint}.`
      : `There it is ${list(serving)}.`;
  throw new PlenumError(
    'wrong_endpoint',
    `The model '${model.id}' answers on ${own}, not on ${endpoint}. ${hint}`,
    { param: 'model', details: { endpoints: [...endpointsOf(model)] } },
  );
}

/** The served model of that id or alias; the first one for undefined. */
export function findModel(models: readonly ModelInfo[], name: string | undefined): ModelInfo {
  const found = name === undefined ? models[0] : named(models, name);
  if (found !== undefined) return found;
  const ids = models.map((model) => model.id);
  const wanted = (name ?? '').slice(0, 128);
  const near = nearest(wanted, [...ids, ...models.flatMap((model) => model.aliases)]);
  const hint = near === null ? '' : ` Did you mean '${near}'?`;
  const served = ids.length === 0 ? 'No model is served here.' : `Served: ${list(models)}.`;
  throw new PlenumError(
    'model_not_found',
    `The model '${wanted}' is not served here.${hint} ${served}`,
    { param: 'model', details: { models: ids } },
  );
}

export function named(models: readonly ModelInfo[], name: string): ModelInfo | undefined {
  return models.find((model) => model.id === name || model.aliases.includes(name));
}

function list(models: readonly ModelInfo[]): string {
  const shown = models
    .slice(0, 20)
    .map((model) => model.id)
    .join(', ');
  return models.length > 20 ? `${shown} and ${models.length - 20} more` : shown;
}
