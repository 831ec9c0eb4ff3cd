/**
 * What is wrong with a configuration, in words: where, which key, what would be right. It makes
 * one PlenumError of several complaints; it does not decide what is wrong.
 */
import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { configJsonSchema } from './schema.ts';
import type { Path, Position } from './yaml-source.ts';

export interface Complaint {
  /** `plenum.yaml:3:5`, `PLENUM_PORT`, `--port`; null where nothing more is known. */
  readonly where: string | null;
  readonly text: string;
  /** Place in the file, for sorting; complaints of other layers come first. */
  readonly at?: Position | null;
}

const COMPLAINTS_SHOWN_MAX = 20;

/** One error of all complaints (at least one); the same complaint is said once. */
export function configError(complaints: readonly Complaint[]): PlenumError {
  const sorted = [...complaints].sort(byPlace);
  const lines = [
    ...new Set(sorted.map(({ where, text }) => (where === null ? text : `${where}: ${text}`))),
  ];
  const details = { errors: lines };
  if (lines.length === 1) return new PlenumError('config_invalid', lines[0] ?? '', { details });
  const shown = lines.slice(0, COMPLAINTS_SHOWN_MAX).map((line) => `  ${line}`);
  const hidden = lines.length - shown.length;
  if (hidden > 0) shown.push(`  and ${hidden} more`);
  const message = `the configuration has ${lines.length} errors\n${shown.join('\n')}`;
  return new PlenumError('config_invalid', message, { details });
}

function byPlace(a: Complaint, b: Complaint): number {
  const lines = (a.at?.line ?? 0) - (b.at?.line ?? 0);
  return lines === 0 ? (a.at?.column ?? 0) - (b.at?.column ?? 0) : lines;
}

/** `['models', 0, 'engine', 'threads']` → `models[0].engine.threads`. */
export function pathText(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

/** The parts of a JSON schema that are read here. */
interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly examples?: readonly unknown[];
}

let made: Node | null = null;

/** The schema takes milliseconds to make and is only wanted when something is wrong. */
function schema(): Node {
  made ??= configJsonSchema();
  return made;
}

function nodeAt(path: Path): Node | null {
  let node: Node | undefined = schema();
  for (const part of path) {
    node = typeof part === 'number' ? node?.items : node?.properties?.[part];
  }
  return node ?? null;
}

/** `unknown key; did you mean "context"?` for the last part of `path`. */
export function unknownKey(path: Path): string {
  const name = String(path.at(-1));
  const known = Object.keys(nodeAt(path.slice(0, -1))?.properties ?? {});
  // A name that exists in another place is more likely meant than one that only looks like it.
  const near = elsewhere(name) ?? nearest(name, known);
  const hint = near === null ? `known keys: ${known.join(', ')}` : `did you mean "${near}"?`;
  return `${pathText(path)}: unknown key; ${hint}`;
}

/** The whole path of a key that exists in another place of the schema: `port` → `server.port`. */
function elsewhere(name: string): string | null {
  const search = (node: Node, prefix: string): string | null => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      const path = prefix === '' ? key : `${prefix}.${key}`;
      if (key === name) return path;
      const found =
        search(child, path) ??
        (child.items === undefined ? null : search(child.items, `${path}[]`));
      if (found !== null) return found;
    }
    return null;
  };
  return search(schema(), '');
}

/** `is "4k"; expected a whole number from 16 to 16777216, or "auto"`. Secrets are not shown. */
export function wrongValue(path: Path, value: unknown): string {
  const node = nodeAt(path);
  const expected = node === null ? 'another value' : describe(node);
  if (value === undefined) return `is missing; expected ${expected}`;
  return `is ${path.includes('api_keys') ? 'not valid' : show(value)}; expected ${expected}`;
}

function show(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function describe(node: Node): string {
  if (node.anyOf !== undefined) return node.anyOf.map(describe).join(', or ');
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum !== undefined) return `one of ${node.enum.join(', ')}`;
  switch (node.type) {
    case 'integer':
      return `a whole number from ${node.minimum} to ${node.maximum}`;
    case 'number':
      return `a number from ${node.minimum} to ${node.maximum}`;
    case 'null':
      return 'null';
    case 'boolean':
      return 'true or false';
    case 'string':
      return describeString(node);
    case 'array':
      return `a list of ${node.minItems ?? 0} to ${node.maxItems} entries`;
    case 'object':
      return `a mapping with the keys ${Object.keys(node.properties ?? {}).join(', ')}`;
    default:
      return 'another value';
  }
}

function describeString(node: Node): string {
  const [example] = node.examples ?? [];
  const such = example === undefined ? '' : ` such as ${String(example)}`;
  if (node.maxLength === undefined) return `text${such}`;
  return `text of ${node.minLength ?? 0} to ${node.maxLength} characters${such}`;
}
