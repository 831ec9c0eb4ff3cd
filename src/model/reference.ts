/**
 * Model references: what a user may write where a model is wanted, and its one canonical spelling.
 * Pure: no file is looked at and no host is asked. Whether a synthetic spec or a quantisation
 * exists is for those who own them.
 */

import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { catalogNames } from './catalog.ts';

export type Reference =
  | {
      readonly kind: 'hub-quant';
      readonly repo: string;
      readonly revision: string;
      /** Upper case; null = the best that the repository has. */
      readonly quant: string | null;
    }
  | {
      readonly kind: 'hub-file';
      readonly repo: string;
      readonly revision: string;
      readonly path: string;
    }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'local'; readonly path: string }
  | { readonly kind: 'catalogue'; readonly name: string }
  /** `spec` is what follows `synthetic:`, such as `tiny` or `llama-3.1-8b@q4_0`. */
  | { readonly kind: 'synthetic'; readonly spec: string };

/** Longest text that is looked at, in characters. */
const REFERENCE_CHARS_MAX = 2048;

const HUB = /^([\w.-]+\/[\w.-]+?)(?:@([\w.-]+))?(?::([\w.-]+)|\/(.+))?$/;
const SYNTHETIC = /^[a-z0-9][\w.-]*@[a-z0-9_]+$/i;
const HUB_PAGE = /^\/([\w.-]+\/[\w.-]+)(?:\/(resolve|blob|raw|tree)\/([\w.-]+)(?:\/(.+))?)?\/?$/;
const HUB_HOSTS = new Set(['huggingface.co', 'www.huggingface.co', 'hf.co']);

export const REFERENCE_FORMS: readonly string[] = [
  `a catalogue name: ${catalogNames.join(', ')}`,
  'a repository of the hub and a quantisation: org/repo:Q4_K_M (org/repo alone picks one)',
  'a file of the hub: org/repo/file.gguf (hf: before it is allowed)',
  'a URL: https://host/path/file.gguf',
  'a local file: ./file.gguf or /path/file.gguf',
  'a synthetic model: synthetic:tiny or llama-3.1-8b@q4_0',
];

/** @throws PlenumError reference_invalid, naming the accepted forms and the nearest known name. */
export function parseReference(text: string): Reference {
  if (text.length > REFERENCE_CHARS_MAX) {
    throw invalid(`${text.slice(0, 40)}…`, `it is longer than ${REFERENCE_CHARS_MAX} characters`);
  }
  if (text === '') throw invalid(text, 'it is empty');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  if (/^\s|\s$|[\u0000-\u001f\u007f]/.test(text)) {
    throw invalid(text, 'it begins or ends with white space, or holds a control character');
  }
  if (catalogNames.includes(text)) return { kind: 'catalogue', name: text };
  if (text.startsWith('synthetic:')) return parseSynthetic(text);
  if (/^hf:/i.test(text)) return parseHub(text.replace(/^hf:(\/\/)?/i, ''), text);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return parseUrl(text);
  if (/^(\.{1,2}\/|\/|~\/)/.test(text)) return { kind: 'local', path: text };
  if (SYNTHETIC.test(text)) return { kind: 'synthetic', spec: text.toLowerCase() };
  // `x.gguf` and `models/x.gguf` can only be files: a file of the hub has two names before it.
  if (/^[^/:]+(\/[^/:]+)?\.gguf$/i.test(text)) return { kind: 'local', path: text };
  return parseHub(text, text);
}

function parseSynthetic(text: string): Reference {
  const spec = text.slice('synthetic:'.length);
  if (!/^[\w.@:-]+$/.test(spec)) {
    throw invalid(text, 'after synthetic: comes a name, such as synthetic:tiny');
  }
  return { kind: 'synthetic', spec: spec.toLowerCase() };
}

function parseHub(rest: string, text: string): Reference {
  const match = HUB.exec(rest);
  const [, repo, revision = 'main', quant, path] = match ?? [];
  if (repo === undefined || hasDots(repo)) throw invalid(text, 'it is none of the accepted forms');
  if (path === undefined) {
    return { kind: 'hub-quant', repo, revision, quant: quant?.toUpperCase() ?? null };
  }
  if (!/\.gguf$/i.test(path)) throw invalid(text, 'the file’s name does not end in .gguf');
  if (hasDots(path) || /[?#\\]/.test(path)) {
    throw invalid(text, 'the path of a file of the hub holds no "..", "?", "#" or "\\"');
  }
  return { kind: 'hub-file', repo, revision, path };
}

function hasDots(path: string): boolean {
  return path.split('/').some((part) => part === '' || part === '.' || part === '..');
}

function parseUrl(text: string): Reference {
  if (!URL.canParse(text)) throw invalid(text, 'it is not a valid URL');
  const url = new URL(text);
  if (!isDecodable(url.pathname)) throw invalid(text, 'its path has a % without two digits');
  if (url.protocol === 'file:') return { kind: 'local', path: decodeURIComponent(url.pathname) };
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw invalid(text, `${url.protocol}// is not supported; https:// is`);
  }
  if (HUB_HOSTS.has(url.hostname)) return parseHubPage(url, text);
  if (!/\.gguf$/i.test(url.pathname)) throw invalid(text, 'the URL’s path does not end in .gguf');
  url.hash = '';
  return { kind: 'url', url: url.href };
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

/** The address of a page or file as a browser shows it. */
function parseHubPage(url: URL, text: string): Reference {
  const [, repo, view, revision = 'main', path] =
    HUB_PAGE.exec(decodeURIComponent(url.pathname)) ?? [];
  if (repo === undefined) throw invalid(text, 'it is not the address of a repository or its file');
  if (path === undefined || view === 'tree') {
    return { kind: 'hub-quant', repo, revision, quant: null };
  }
  return parseHub(`${repo}@${revision}/${path}`, text);
}

function invalid(text: string, why: string): PlenumError {
  const near = nearest(text, catalogNames);
  const hint = near === null ? '' : ` Did you mean ${near}?`;
  const forms = REFERENCE_FORMS.map((form) => `  ${form}`).join('\n');
  return new PlenumError(
    'reference_invalid',
    `"${text}" is not a model reference: ${why}.${hint}\nAccepted are:\n${forms}`,
    { details: { reference: text, nearest: near } },
  );
}

/** The one spelling of a reference: what records are filed under. Holds no credentials. */
export function formatReference(reference: Reference): string {
  switch (reference.kind) {
    case 'hub-quant': {
      const { quant } = reference;
      return `${repoAt(reference)}${quant === null ? '' : `:${quant}`}`;
    }
    case 'hub-file':
      return `${repoAt(reference)}/${reference.path}`;
    case 'url':
      return withoutUserInfo(reference.url);
    case 'local':
      return reference.path;
    case 'catalogue':
      return reference.name;
    case 'synthetic':
      return `synthetic:${reference.spec}`;
  }
}

function repoAt(reference: { readonly repo: string; readonly revision: string }): string {
  const { repo, revision } = reference;
  return revision === 'main' ? repo : `${repo}@${revision}`;
}

function withoutUserInfo(address: string): string {
  const url = new URL(address);
  url.username = '';
  url.password = '';
  return url.href;
}

/** An address fit for messages: without credentials, and without a query that may hold some. */
export function redactUrl(address: string): string {
  const url = new URL(withoutUserInfo(address));
  return `${url.origin}${url.pathname}`;
}

const SPLIT = /-(\d{5})-of-(\d{5})\.gguf$/i;
/** More parts than any published model has (a 1 TB model in 5 GB parts has 200). */
const SPLIT_PARTS_MAX = 2048;

/** All names of the set that `path` is a part of; just itself when it is no part of a set. */
export function splitSet(path: string): readonly string[] {
  const match = SPLIT.exec(path);
  if (match === null) return [path];
  const count = Number(match[2]);
  if (count < 1 || count > SPLIT_PARTS_MAX || Number(match[1]) < 1 || Number(match[1]) > count) {
    return [path];
  }
  const stem = path.slice(0, match.index);
  const of = String(match[2]);
  return Array.from(
    { length: count },
    (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${of}.gguf`,
  );
}

/** The stem of a model file: without folder, extension and number of a part. */
export function modelStem(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return name.replace(SPLIT, '').replace(/\.gguf$/i, '');
}

/** A model id for clients: letters, digits, `.`, `_` and `-` only. */
export function modelId(text: string): string {
  const id = text.replace(/[^\w.-]+/g, '-').replace(/^[-.]+|[-.]+$/g, '');
  return id === '' ? 'model' : id.slice(0, 128);
}

/** The id under which a model of this reference is served unless another is configured. */
export function referenceId(reference: Reference, firstFile: string): string {
  switch (reference.kind) {
    case 'catalogue':
      return reference.name;
    case 'synthetic':
      return modelId(`synthetic-${reference.spec}`);
    case 'hub-quant':
    case 'hub-file':
    case 'url':
    case 'local':
      return modelId(modelStem(firstFile));
  }
}
