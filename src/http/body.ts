/**
 * From the bytes of a body to a JSON value that is safe to hand to a schema: valid UTF-8, valid
 * JSON, bounded depth and size, well-formed Unicode, no `__proto__`. What it refuses it names.
 */
import { isUtf8 } from 'node:buffer';
import { PlenumError } from '../base/errors.ts';

export interface BodyLimits {
  readonly jsonDepthMax: number;
  readonly jsonValuesMax: number;
}

/** Lists of token ids may be long; their schemas check them without building issues. */
const TOKEN_LIST_KEYS: ReadonlySet<string> = new Set(['prompt', 'tokens', 'input']);

/** Throws `invalid_json`. What it returns still has to pass `checkTree`. */
export function parseBody(bytes: Buffer): unknown {
  if (bytes.length === 0) {
    throw new PlenumError('invalid_json', 'The body is empty; it must be a JSON object.');
  }
  if (!isUtf8(bytes)) throw new PlenumError('invalid_json', 'The body is not valid UTF-8.');
  return parseJson(bytes.toString('utf8'));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new PlenumError('invalid_json', `The body is not valid JSON: ${reason}`);
  }
}

interface Place {
  readonly value: unknown;
  readonly depth: number;
  readonly key: string | number;
  readonly parent: Place | null;
}

/**
 * Throws `invalid_request` for depth, size and text that is no Unicode. Visits every value with a
 * stack of its own, so that depth costs no call stack.
 */
export function checkTree(root: unknown, limits: BodyLimits): void {
  const open: Place[] = [{ value: root, depth: 0, key: '', parent: null }];
  let values = 0;
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const { value, depth } = place;
    if (typeof value === 'string') checkText(value, place);
    if (typeof value !== 'object' || value === null) continue;
    if (depth >= limits.jsonDepthMax) {
      throw new PlenumError(
        'invalid_request',
        `The body nests deeper than ${limits.jsonDepthMax} levels.`,
      );
    }
    if (isLongTokenList(value, place)) continue;
    const entries = Array.isArray(value) ? value.entries() : Object.entries(value);
    for (const [key, child] of entries) {
      values += 1;
      if (values > limits.jsonValuesMax) throw tooManyValues(limits.jsonValuesMax);
      const inner: Place = { value: child, depth: depth + 1, key, parent: place };
      if (typeof key === 'string') checkKey(key, inner);
      if (typeof child === 'string') checkText(child, inner);
      else if (typeof child === 'object' && child !== null) open.push(inner);
    }
  }
}

function tooManyValues(max: number): PlenumError {
  return new PlenumError('invalid_request', `The body holds more than ${max} JSON values.`);
}

function isLongTokenList(value: object, place: Place): boolean {
  const top = place.depth === 2 ? place.parent : place;
  if (top === null || top.depth !== 1 || !TOKEN_LIST_KEYS.has(String(top.key))) return false;
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}

function checkKey(key: string, place: Place): void {
  if (key === '__proto__') {
    throw new PlenumError('unknown_parameter', 'The key "__proto__" is not accepted anywhere.', {
      param: pathOf(place),
    });
  }
  if (!key.isWellFormed()) {
    throw new PlenumError('invalid_request', 'A key of the body has a lone surrogate in it.');
  }
}

function checkText(text: string, place: Place): void {
  if (text.isWellFormed()) return;
  const param = pathOf(place);
  throw new PlenumError(
    'invalid_request',
    `'${param}' has a lone surrogate at position ${loneSurrogate(text)}; ` +
      'text must be valid Unicode.',
    { param },
  );
}

function loneSurrogate(text: string): number {
  return text
    .toWellFormed()
    .split('')
    .findIndex((unit, i) => unit !== text[i]);
}

function pathOf(place: Place): string {
  const keys: (string | number)[] = [];
  for (let at: Place | null = place; at?.parent; at = at.parent) keys.unshift(at.key);
  return formatPath(keys);
}

/** `['messages', 0, 'content']` → `messages[0].content`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key).slice(0, 100)}`))
    .join('')
    .replace(/^\./, '');
}
