/**
 * From what a user names to the geometry that plans are made of: a model of the catalogue, a file,
 * a stored model, a synthetic spec, or a header on a server. Nothing is downloaded but headers,
 * and nothing is written.
 */
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { CATALOG } from '../../model/catalog.ts';
import type { Catalogue, CatalogueModel } from '../../model/catalogue-types.ts';
import { geometryOf, type ModelGeometry } from '../../model/geometry.ts';
import { type GgufHeader, inspectGguf, readGguf } from '../../model/gguf.ts';
import { memorySource } from '../../model/gguf-source.ts';
import { formatReference, parseReference, type Reference } from '../../model/reference.ts';
import { listModels } from '../../model/registry-list.ts';
import { ModelStore } from '../../model/store.ts';
import { userHome } from '../../model/store-home.ts';
import { listSynthetic, parseSynthSpec, syntheticHeader } from '../../model/synth.ts';
import { geometryOfModel } from '../../planner/architecture.ts';
import { findModel } from '../../planner/lookup.ts';
import { quantNamed } from '../../planner/quant.ts';
import type { HostSpec } from '../../wire/host.ts';
import type { CliContext } from '../context.ts';
import { purposeOf } from '../serving/role.ts';
import { modelHome } from '../storage/home.ts';

export interface NamedModel {
  /** As the user wrote it. */
  readonly reference: string;
  readonly geometry: ModelGeometry;
  /** Whence the geometry is, for a person. */
  readonly source: string;
  /** Context that `serve` would give it. */
  readonly contextTokensDefault: number;
  readonly role: HostSpec['role'];
  /** Of a file that is here; null for any other. */
  readonly path: string | null;
  /** Where it is of the catalogue; null for a file. */
  readonly entry: { readonly model: CatalogueModel; readonly quant: string } | null;
}

export interface NamingOptions {
  readonly catalogue: Catalogue;
  /** For models of the catalogue that are named without one. */
  readonly quant?: string | undefined;
}

/** As `serve` has it for models that were trained for more. */
const CONTEXT_TOKENS_DEFAULT = 8192;
/** A plain name, or one with a quantisation: of the catalogue, stored, or synthetic. */
const NAME = /^([\w.-]+)(?:@(\w+))?$/;

/**
 * Every model in the order named.
 * @throws PlenumError model_not_found with the nearest names; reference_invalid; what a file or
 * a server has wrong.
 */
export async function nameModels(
  references: readonly string[],
  options: NamingOptions,
  context: CliContext,
): Promise<readonly NamedModel[]> {
  if (options.quant !== undefined) quantNamed(options.quant);
  const models: NamedModel[] = [];
  for (const reference of references) models.push(await nameModel(reference, options, context));
  return models;
}

async function nameModel(
  reference: string,
  options: NamingOptions,
  context: CliContext,
): Promise<NamedModel> {
  const [, name, quant] = NAME.exec(reference) ?? [];
  if (name === undefined || /\.gguf$/i.test(name)) {
    return parsedModel(reference, parseReference(reference), context);
  }
  const entry = options.catalogue.models.find(({ id }) => id === name.toLowerCase());
  if (entry !== undefined) return ofCatalogue(reference, entry, quant ?? options.quant);
  const stored = await storedPath(reference, context);
  if (stored !== null) return ofFile(reference, stored);
  if (CATALOG.some((known) => known.name === name)) return starterModel(reference, context);
  if (quant !== undefined && listSynthetic().some(({ spec }) => spec.startsWith(`${name}@`))) {
    return syntheticModel(reference, reference);
  }
  // Not there: this says which names are near.
  return ofCatalogue(reference, findModel(options.catalogue, name), quant);
}

function ofCatalogue(
  reference: string,
  model: CatalogueModel,
  asked: string | undefined,
): NamedModel {
  const quant = quantNamed(asked ?? (model.arch === 'gpt-oss' ? 'MXFP4' : 'Q4_K_M'));
  return {
    reference,
    geometry: geometryOfModel(model, quant),
    source: 'catalogue',
    contextTokensDefault: Math.min(model.contextTokens, CONTEXT_TOKENS_DEFAULT),
    role: 'generate',
    path: null,
    entry: { model, quant },
  };
}

/** The first file of the stored model that has this id or reference; null when there is none. */
async function storedPath(name: string, context: CliContext): Promise<string | null> {
  const { models } = await listModels(modelHome(context));
  const found = models.filter(({ id, reference }) => id === name || reference === name);
  if (found.length <= 1) return found[0]?.paths[0] ?? null;
  const references = found.map((model) => model.reference).join(', ');
  throw new PlenumError(
    'reference_invalid',
    `${found.length} stored models have the id ${name}; name one: ${references}`,
  );
}

function ofHeader(reference: string, header: GgufHeader, source: string): NamedModel {
  const geometry = geometryOf(header);
  const { contextTokensDefault, role } = purposeOf(geometry, header);
  return { reference, geometry, source, contextTokensDefault, role, path: null, entry: null };
}

async function ofFile(reference: string, path: string): Promise<NamedModel> {
  return { ...ofHeader(reference, await inspectGguf(path), path), path };
}

async function parsedModel(
  text: string,
  reference: Reference,
  context: CliContext,
): Promise<NamedModel> {
  switch (reference.kind) {
    case 'local': {
      const { path: written } = reference;
      const path = written.startsWith('~/')
        ? resolve(userHome(context.env), written.slice(2))
        : resolve(context.cwd, written);
      return ofFile(text, path);
    }
    case 'synthetic':
      return syntheticModel(text, reference.spec);
    case 'catalogue':
      return starterModel(text, context);
    case 'hub-file':
    case 'hub-quant':
    case 'url': {
      const store = new ModelStore(modelHome(context));
      const record = await store.find(formatReference(reference));
      const [path] = record === null ? [] : await store.paths(record);
      if (path !== undefined) return ofFile(text, path);
      const { env } = context;
      const { remoteHeader } = await import('./remote-header.ts');
      const remote = await remoteHeader(reference, { env, signal: context.interrupted() });
      return ofHeader(text, remote.header, remote.source);
    }
  }
}

/** The header that the file would have; the file is not written. */
async function syntheticModel(text: string, spec: string): Promise<NamedModel> {
  const { header } = syntheticHeader(parseSynthSpec(spec));
  const source = { ...memorySource(header), size: null };
  return ofHeader(text, await readGguf(source, { name: text }), 'synthetic');
}

/** A name that `pull` knows and that is not stored: its header on the hub. */
async function starterModel(name: string, context: CliContext): Promise<NamedModel> {
  const store = new ModelStore(modelHome(context));
  const record = await store.find(name);
  const [path] = record === null ? [] : await store.paths(record);
  if (path !== undefined) return ofFile(name, path);
  const entry = CATALOG.find((known) => known.name === name);
  const mirror = entry?.mirrors.find(({ kind }) => kind === 'hub');
  if (mirror?.kind !== 'hub') {
    throw new PlenumError('file_not_found', `${name} is not stored; plenum pull ${name} gets it`);
  }
  const { repo, revision, path: file } = mirror;
  const { env } = context;
  const { remoteHeader } = await import('./remote-header.ts');
  const reference = { kind: 'hub-file', repo, revision, path: file } as const;
  const remote = await remoteHeader(reference, { env, signal: context.interrupted() });
  return ofHeader(name, remote.header, remote.source);
}
