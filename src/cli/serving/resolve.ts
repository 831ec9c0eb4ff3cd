/**
 * From the models of the configuration to models that a node can serve: fetched, looked into, with
 * every setting decided. Says what it decided only through what it returns.
 */
import { readFileSync } from 'node:fs';
import { PlenumError } from '../../base/errors.ts';
import type { Config, ModelConfig } from '../../config/config.ts';
import { catalogEntry } from '../../model/catalog.ts';
import { geometryOf, type ModelGeometry } from '../../model/geometry.ts';
import { inspectGguf } from '../../model/gguf.ts';
import { SPECIAL_TOKEN_LISTS, specialTokensOf } from '../../model/gguf-specials.ts';
import { parseReference } from '../../model/reference.ts';
import { type EnsureOptions, ensureModel, type ResolvedModel } from '../../model/registry.ts';
import { isGuardFamily } from '../../node/guard-profiles.ts';
import type { ServedModel } from '../../node/node.ts';
import { ENCODE_LIMITS, type EngineSpec, type HostSpec } from '../../wire/host.ts';
import type { SamplingDefaults } from '../../wire/model-info.ts';
import { purposeAs, purposeOf } from './role.ts';
import { parseSimReference, SIM_PREFIX } from './sim-reference.ts';

/** Context of the simulated engine, which has no limit of its own. */
const SIM_CONTEXT_TOKENS = 4096;
const HEARTBEAT_MS = 1000;
/** What is served when no mirror of the starter can be reached. */
export const STARTER = 'starter';
const STAND_IN = 'synthetic:small';

export interface ResolveOptions {
  readonly ensure: EnsureOptions;
  /** The starter could not be had; a model of random words stands in for it. */
  readonly onStandIn: (error: PlenumError) => void;
}

/** A model of the configuration, before it is known what it needs in memory. */
export interface FoundModel {
  readonly served: Omit<ServedModel, 'items' | 'wish'>;
  /** As it was written. */
  readonly reference: string;
  /** null for the simulated engine. */
  readonly geometry: ModelGeometry | null;
}

/** Throws what `ensureModel` throws, and config_invalid for settings that contradict each other. */
export async function resolveModels(
  config: Config,
  options: ResolveOptions,
): Promise<readonly FoundModel[]> {
  const found: FoundModel[] = [];
  for (const model of config.models) {
    const next = model.model.startsWith(SIM_PREFIX) ? simulated(model) : await real(model, options);
    const taken = new Set(found.flatMap(({ served }) => [served.id, ...served.aliases]));
    const clash = [next.served.id, ...next.served.aliases].find((name) => taken.has(name));
    if (clash !== undefined) {
      const message = `two models answer to "${clash}": give one of them another \`id\``;
      throw new PlenumError('config_invalid', message);
    }
    found.push(next);
  }
  return found;
}

function simulated(model: ModelConfig): FoundModel {
  const sim = parseSimReference(model.model, model.stepTokensMax);
  const role = model.class === 'embed' || model.class === 'rerank' ? 'encode' : 'generate';
  const purpose = { class: model.class ?? 'chat', role } as const;
  const served = {
    id: model.id ?? 'sim',
    aliases: model.aliases,
    description: 'simulated engine: its words are random',
    synthetic: true,
    ...behaviourOf(model, {}),
    class: purpose.class,
    chatTemplate: templateOf(model),
    specials: [],
    spec: hostSpec(model, {
      id: model.id ?? 'sim',
      contextTokens: model.contextTokens ?? SIM_CONTEXT_TOKENS,
      engine: { kind: 'sim', sim },
      role: purpose.role,
    }),
  } as const;
  return { served, reference: model.model, geometry: null };
}

async function real(model: ModelConfig, options: ResolveOptions): Promise<FoundModel> {
  const found = await ensureOrStandIn(model, options);
  const [path = ''] = found.paths;
  const header = await inspectGguf(path, { wholeLists: SPECIAL_TOKEN_LISTS });
  const geometry = geometryOf(header);
  const { contextTokens: trained } = geometry;
  const { contextTokens: asked } = model;
  if (asked !== null && asked > trained) {
    throw new PlenumError(
      'config_invalid',
      `context ${asked} is longer than the ${trained} tokens that ${found.id} was trained for`,
      { param: 'context', details: { context: asked, trained } },
    );
  }
  const id = model.id ?? (model.model === STARTER ? STARTER : found.id);
  const own = purposeOf(geometry, header);
  const traits = { id, description: found.description, template: null };
  const judge = own.class === 'chat' && isGuardFamily(traits) ? 'guard' : null;
  const purpose = purposeAs(model.class ?? judge, own, id);
  const contextTokens = asked ?? purpose.contextTokensDefault;
  const engine: EngineSpec = {
    kind: 'llama',
    path,
    threads: model.threads,
    gpuLayers: model.gpuLayers,
    cacheType: model.cacheType,
    kvLayout: model.kvLayout,
    flashAttention: model.flashAttention,
    stepTokensMax: model.stepTokensMax,
  };
  const served = {
    id,
    aliases: aliasesOf(model, id),
    description: found.description,
    synthetic: found.synthetic,
    ...behaviourOf(model, recommendedSampling(model.model, found.synthetic)),
    class: purpose.class,
    chatTemplate: templateOf(model),
    specials: specialTokensOf(header) ?? [],
    spec: hostSpec(model, { id, contextTokens, engine, role: purpose.role }),
  };
  return { served, reference: model.model, geometry };
}

/** What was asked for by name is answered under that name too, unless it was given another. */
function aliasesOf({ id, model: reference, aliases }: ModelConfig, served: string): string[] {
  const { kind } = parseReference(reference);
  const named = kind === 'hub-quant' || kind === 'hub-file' || kind === 'synthetic';
  if (!named || id !== null || reference === served) return [...aliases];
  return [...new Set([...aliases, reference])];
}

type Behaviour = Pick<
  ServedModel,
  'inputPrefixes' | 'samplingDefaults' | 'guard' | 'judging' | 'keeping'
>;

/** What the configuration says of requests; its sampling goes before what is recommended. */
function behaviourOf(model: ModelConfig, recommended: SamplingDefaults): Behaviour {
  const { inputPrefixes, guard, judging } = model;
  const samplingDefaults = { ...recommended, ...model.samplingDefaults };
  return { inputPrefixes, samplingDefaults, guard, judging, keeping: keepingOf(model) };
}

/** A pinned model is wanted from the start, unless the configuration says otherwise. */
function keepingOf({ pin, preload, priority, ttlMs }: ModelConfig): ServedModel['keeping'] {
  const wanted = preload ?? (pin ? true : null);
  const when = wanted === null ? 'may' : wanted ? 'must' : 'no';
  return { pinned: pin, preload: when, priority, ttlMs };
}

/** Of a model of the catalogue, by its card; nothing for random words. */
function recommendedSampling(reference: string, synthetic: boolean): SamplingDefaults {
  const parsed = parseReference(reference);
  if (synthetic || parsed.kind !== 'catalogue') return {};
  return catalogEntry(parsed.name)?.sampling ?? {};
}

async function ensureOrStandIn(
  model: ModelConfig,
  options: ResolveOptions,
): Promise<ResolvedModel> {
  try {
    return await ensureModel(model.model, options.ensure);
  } catch (error) {
    options.ensure.signal?.throwIfAborted();
    const isStarter = parseReference(model.model).kind === 'catalogue' && model.model === STARTER;
    if (!isStarter || !(error instanceof PlenumError) || error.code !== 'download_failed') {
      throw error;
    }
    options.onStandIn(error);
    return ensureModel(STAND_IN, options.ensure);
  }
}

function templateOf(model: ModelConfig): string | null {
  if (model.chatTemplate === null) return null;
  try {
    return readFileSync(model.chatTemplate, 'utf8');
  } catch (cause) {
    const message = `the chat template ${model.chatTemplate} cannot be read`;
    throw new PlenumError('file_not_found', message, { cause });
  }
}

function hostSpec(
  model: ModelConfig,
  decided: { id: string; contextTokens: number; engine: EngineSpec; role: HostSpec['role'] },
): HostSpec {
  const { contextTokens, engine } = decided;
  const cells = model.kvCells ?? contextTokens * model.parallel;
  if (cells < contextTokens) {
    const message = `kv_cells ${cells} cannot hold one context of ${contextTokens} tokens`;
    throw new PlenumError('config_invalid', message, { param: 'kv_cells' });
  }
  return {
    modelId: decided.id,
    role: decided.role,
    engine,
    contextTokens,
    parallel: model.parallel,
    cells,
    queueMax: model.queueMax,
    waitMsMax: model.waitMsMax,
    stepTargetMs: model.stepTargetMs,
    prefixCache: model.prefixCache,
    heartbeatMs: HEARTBEAT_MS,
    encode: ENCODE_LIMITS,
  };
}
