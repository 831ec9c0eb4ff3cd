/**
 * Which files of a repository a quantisation means. Pure: names and sizes in, a choice out. It
 * knows names as publishers write them, not what is in the files.
 */
import { PlenumError } from '../base/errors.ts';
import { splitSet } from './reference.ts';

export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  /** Of the content; null for a file that the hub keeps outside of its large-file store. */
  readonly sha256: string | null;
}

/** A model in a repository: one file, or a set of parts in order. */
export interface HubModel {
  /** Upper case; null when the name does not say. */
  readonly quant: string | null;
  readonly files: readonly HubFile[];
}

/**
 * Tried in this order when none is asked for: first what most publishers recommend, then its
 * neighbours in size, larger before smaller.
 */
const PREFERRED = [
  ...['Q4_K_M', 'Q4_K_XL', 'Q4_K_L', 'Q4_K_S', 'IQ4_XS', 'IQ4_NL', 'Q4_0', 'Q4_1', 'MXFP4'],
  ...['Q5_K_M', 'Q5_K_S', 'Q5_K_XL', 'Q5_0', 'Q5_1', 'Q6_K', 'Q6_K_L', 'Q8_0', 'Q8_K_XL'],
  ...['Q3_K_L', 'Q3_K_M', 'Q3_K_XL', 'Q3_K_S', 'IQ3_M', 'IQ3_S', 'IQ3_XS', 'IQ3_XXS'],
  ...['BF16', 'F16', 'Q2_K', 'Q2_K_L', 'IQ2_M', 'IQ2_S', 'IQ2_XS', 'IQ2_XXS', 'F32'],
];

const QUANT =
  /(?:^|[-._/])((?:UD-)?(?:IQ[1-4]_(?:XXS|XS|S|M|NL)|Q\d_K(?:_(?:XS|S|M|L|XL))?|Q\d_\d(?:_\d_\d)?|TQ[12]_0|BF16|FP?16|FP?32|MXFP4(?:_MOE)?))$/i;

/** The quantisation that a file's name, or else its folder's, ends with. */
export function quantOf(path: string): string | null {
  const stem = path.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '');
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
  const found = QUANT.exec(stem)?.[1] ?? QUANT.exec(folder)?.[1];
  return found === undefined ? null : normal(found);
}

function normal(quant: string): string {
  const upper = quant.toUpperCase();
  if (upper === 'FP16') return 'F16';
  return upper === 'FP32' ? 'F32' : upper;
}

/** The models of a listing; projectors and calibration data, which are no models, left out. */
export function modelsOf(files: readonly HubFile[]): readonly HubModel[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const models: HubModel[] = [];
  for (const file of files) {
    const name = file.path.slice(file.path.lastIndexOf('/') + 1);
    if (!/\.gguf$/i.test(name) || /^(mmproj|imatrix)/i.test(name)) continue;
    const parts = splitSet(file.path);
    // A set is met once, at its first part.
    if (parts[0] !== file.path) continue;
    const found = parts.map((part) => byPath.get(part)).filter((part) => part !== undefined);
    if (found.length === parts.length) models.push({ quant: quantOf(file.path), files: found });
  }
  return models;
}

/**
 * The one model that `quant` means, or the best when none is asked for.
 * @throws PlenumError file_not_found, listing what there is.
 */
export function pickModel(
  repo: string,
  models: readonly HubModel[],
  quant: string | null,
): HubModel {
  if (models.length === 0) {
    throw new PlenumError(
      'file_not_found',
      `${repo} has no complete GGUF model; a repository for llama.cpp usually ends in -GGUF`,
      { details: { repo } },
    );
  }
  const [only] = models;
  if (quant === null && models.length === 1 && only !== undefined) return only;
  for (const wanted of quant === null ? PREFERRED : [normal(quant)]) {
    const matching = matches(models, wanted);
    const [first] = matching;
    if (matching.length > 1) throw ambiguous(repo, wanted, matching);
    if (first !== undefined) return first;
  }
  throw missing(repo, models, quant);
}

function matches(models: readonly HubModel[], wanted: string): readonly HubModel[] {
  const exact = models.filter((model) => model.quant === wanted);
  if (exact.length > 0) return exact;
  return models.filter((model) => model.quant === `UD-${wanted}`);
}

function ambiguous(repo: string, quant: string, models: readonly HubModel[]): PlenumError {
  const names = models.map((model) => `${repo}/${model.files[0]?.path ?? ''}`);
  return new PlenumError(
    'reference_invalid',
    `${repo} has ${models.length} models of ${quant}; name one:\n  ${names.join('\n  ')}`,
    { details: { repo, quant, available: names } },
  );
}

function missing(repo: string, models: readonly HubModel[], quant: string | null): PlenumError {
  const available = [
    ...new Set(models.map((model) => model.quant ?? model.files[0]?.path ?? '')),
  ].sort();
  const what = quant === null ? 'none of the usual quantisations' : `no ${quant}`;
  return new PlenumError('file_not_found', `${repo} has ${what}; it has: ${available.join(', ')}`, {
    details: { repo, quant, available },
  });
}
