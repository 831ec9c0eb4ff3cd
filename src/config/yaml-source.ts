/**
 * Text of a YAML file as a plain value, with the line and column of every key. Bounded: size
 * and alias expansion here, nesting by the parser. It knows nothing of what keys mean.
 */
import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml';

/** Longest accepted file. A configuration of 64 models with all settings is under 64 KiB. */
export const FILE_BYTES_MAX = 256 * 1024;
/** Aliases (`*name`), counted as often as they are expanded. */
const ALIAS_EXPANSIONS_MAX = 100;

export type Path = readonly (string | number)[];

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface YamlProblem {
  readonly at: Position | null;
  readonly problem: string;
}

export interface YamlSource {
  readonly value: unknown;
  /** Position of the value at `path`, or of its nearest ancestor that is there. */
  valueAt(path: Path): Position | null;
  /** Position of the key that leads to `path`, or what `valueAt` says. */
  keyAt(path: Path): Position | null;
}

/** The parsed file, or all that is wrong with its syntax. */
export function parseYaml(
  text: string,
): { readonly source: YamlSource } | { readonly problems: readonly YamlProblem[] } {
  const size = Buffer.byteLength(text);
  if (size > FILE_BYTES_MAX) {
    return refuse(`the file has ${size} bytes; at most ${FILE_BYTES_MAX} are read`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    stringKeys: true,
    logLevel: 'error',
  });
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    return {
      problems: faults.map((fault) => ({
        at: position(fault.pos[0]),
        problem: explainFault(fault, text),
      })),
    };
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: ALIAS_EXPANSIONS_MAX });
  } catch (thrown) {
    return refuse(thrown instanceof Error ? thrown.message : String(thrown));
  }
  const start = (node: Node): Position | null => (node.range ? position(node.range[0]) : null);
  const valueAt = (path: Path): Position | null => {
    for (let length = path.length; length >= 0; length--) {
      const node = document.getIn(path.slice(0, length), true);
      if (isNodeWithRange(node)) return start(node);
    }
    return null;
  };
  const keyAt = (path: Path): Position | null => {
    const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
    const name = path.at(-1);
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => isScalar(key) && key.value === name);
      if (isScalar(pair?.key)) return start(pair.key);
    }
    return valueAt(path);
  };
  return { source: { value, valueAt, keyAt } };
}

function refuse(problem: string): { readonly problems: readonly YamlProblem[] } {
  return { problems: [{ at: null, problem }] };
}

function isNodeWithRange(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'range' in value;
}

function explainFault(
  fault: { readonly code: string; readonly message: string; readonly pos: readonly number[] },
  text: string,
): string {
  if (fault.code === 'DUPLICATE_KEY') {
    const key = /^[^:\s]*/.exec(text.slice(fault.pos[0]))?.[0] ?? '';
    return `duplicate key "${key}"; it is already given above`;
  }
  if (fault.code === 'RESOURCE_EXHAUSTION') return 'nested too deeply';
  return `not valid YAML: ${fault.message}`;
}
