/** `plenum catalog`: the models and quantisations of the catalogue, with their sources. */
import { formatBytes } from '../../base/units.ts';
import { loadCatalogue } from '../../model/catalogue-data.ts';
import type { Catalogue, CatalogueModel } from '../../model/catalogue-types.ts';
import { formatParameters } from '../../model/geometry.ts';
import { cacheBytes } from '../../model/geometry-cache.ts';
import { geometryOfModel } from '../../planner/architecture.ts';
import { findModel } from '../../planner/lookup.ts';
import { QUANT_NAMES } from '../../planner/quant.ts';
import { type CliContext, type CliOutput, paint } from '../context.ts';
import { columns, figure, paragraph } from './columns.ts';
import { hasWords, SourceNotes } from './search.ts';

const DETAILED_MAX = 2;
/** Whose bits per weight stand for a quantisation: they differ a little from model to model. */
const REFERENCE_MODEL = 'llama-3.1-8b';

interface QuantRow {
  readonly quant: string;
  readonly bitsPerWeight: number;
  readonly bytes: number;
}

/** @throws PlenumError `model_not_found` with the nearest models when nothing matches. */
export function catalog(
  query: string | undefined,
  options: { readonly json?: true },
  context: CliContext,
): void {
  const { stdout } = context;
  const catalogue = loadCatalogue();
  const models = catalogue.models.filter(({ id, arch, experts }) =>
    hasWords(query, [id, arch, experts > 0 ? 'mixture of experts moe' : 'dense']),
  );
  const reference = findModel(catalogue, REFERENCE_MODEL);
  const quants = quantsOf(reference).filter(({ quant }) => hasWords(query, [quant]));
  if (models.length + quants.length === 0 && query !== undefined) findModel(catalogue, query);
  if (options.json === true) {
    stdout.write(`${JSON.stringify(jsonOf({ models, quants }, catalogue), null, 2)}\n`);
    return;
  }
  if (models.length > DETAILED_MAX) stdout.write(list(models, stdout));
  else for (const model of models) stdout.write(detail(model, catalogue, stdout));
  if (quants.length > 0) stdout.write(quantTable(quants, stdout));
}

function quantsOf(model: CatalogueModel): QuantRow[] {
  return QUANT_NAMES.map((quant) => {
    const { bytes, parameters } = geometryOfModel(model, quant).weights;
    return { quant, bitsPerWeight: (8 * bytes) / parameters, bytes };
  });
}

function kvBytesPerToken(model: CatalogueModel): number {
  const { perToken, perWindowedToken } = cacheBytes(geometryOfModel(model, 'F16'));
  return perToken + perWindowedToken;
}

function activeOf(model: CatalogueModel): number {
  return geometryOfModel(model, 'F16').weights.activeParameters;
}

function jsonOf(
  found: { readonly models: readonly CatalogueModel[]; readonly quants: readonly QuantRow[] },
  { prices }: Catalogue,
) {
  const models = found.models.map((model) => ({
    ...model,
    activeParameters: activeOf(model),
    kvBytesPerToken: kvBytesPerToken(model),
    prices: prices.filter(({ item, kind }) => item === model.id && kind === 'hosted'),
  }));
  return { models, quantisations: found.quants, quantisationsOf: REFERENCE_MODEL };
}

function list(models: readonly CatalogueModel[], output: CliOutput): string {
  const notes = new SourceNotes();
  const rows = models.map((model) => [
    model.id,
    formatParameters(model.parameters),
    model.experts > 0 ? formatParameters(activeOf(model)) : '',
    String(model.layers),
    `${model.contextTokens / 1024}k`,
    String(kvBytesPerToken(model)),
    notes.numbersOf(repositoriesOf(model)),
  ]);
  const head = ['MODEL', 'SIZE', 'ACTIVE', 'LAYERS', 'CONTEXT', 'KV B/TOK', 'SRC'];
  const table = columns(head, rows, output, { right: [1, 2, 3, 4, 5] });
  const text =
    'KV is of F16. plenum catalog MODEL shows one with its quantisations; a model is planned for ' +
    'as MODEL@QUANT.';
  return `${table}${notes.legend([], output)}\n${paragraph(text, output)}\n`;
}

/** `owner/name@commit` of what the dimensions were read from. */
function repositoriesOf({ source }: CatalogueModel): readonly string[] {
  const found = [...source.matchAll(/[\w.-]+\/[\w.-]+@[\w.]+/g)].map(([name]) => name);
  return found.length === 0 ? [source] : found;
}

function detail(model: CatalogueModel, { prices }: Catalogue, output: CliOutput): string {
  const { heads, kvHeads, headDim, windowTokens, windowPeriod, experts, expertsUsed } = model;
  const window =
    windowTokens === null ? 'none' : `${windowTokens} tokens, 1 of ${windowPeriod} layers sees all`;
  const hosted = prices
    .filter(({ item, kind }) => item === model.id && kind === 'hosted')
    .map((price) => [price.figure, `$${price.value} (${price.source}, ${price.asOf})`]);
  const rows = [
    ['architecture', model.arch],
    ['parameters', formatParameters(model.parameters)],
    ['experts', experts === 0 ? 'none' : `${expertsUsed} of ${experts} for each token`],
    ['layers', `${model.layers}, ${model.width} wide, feed-forward ${model.ff}`],
    ['attention', `${heads} heads, ${kvHeads} of keys and values, ${headDim} wide`],
    ['window', window],
    ['vocabulary', String(model.vocab)],
    ['context', `${model.contextTokens} tokens`],
    ['KV cache', `${kvBytesPerToken(model)} B per token (F16)`],
    ...hosted,
    ['source', `${model.source} (${model.asOf})`],
  ];
  const sizes = quantsOf(model).map(({ quant, bitsPerWeight, bytes }) => [
    quant,
    figure(bitsPerWeight),
    formatBytes(bytes),
  ]);
  const facts = columns(['', ''], rows, output, { indent: 2 }).split('\n').slice(1).join('\n');
  const head = ['QUANTISATION', 'BITS', 'BYTES'];
  const table = columns(head, sizes, output, { indent: 2, right: [1, 2] });
  return `${paint(output, 'bold', model.id)}\n${facts}\n${table}\n`;
}

function quantTable(quants: readonly QuantRow[], output: CliOutput): string {
  const rows = quants.map(({ quant, bitsPerWeight, bytes }) => [
    quant,
    figure(bitsPerWeight),
    formatBytes(bytes),
  ]);
  const head = ['QUANTISATION', 'BITS', 'BYTES'];
  const text = `Bits per weight and bytes of ${REFERENCE_MODEL}, by the tensor mix of llama.cpp.`;
  return columns(head, rows, output, { right: [1, 2] }) + paragraph(text, output);
}
