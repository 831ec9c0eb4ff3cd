/**
 * Runs the request schemas and turns the first telling issue into an error that names the field,
 * its value and what would be right.
 */
import type { FastifySchemaCompiler } from 'fastify';
import type { ZodType } from 'zod';
import { PlenumError, toPlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { UNSUPPORTED } from '../wire/openai-fields.ts';
import { type BodyLimits, checkTree, formatPath } from './body.ts';

/** An issue of zod, as far as it matters here. */
interface Issue {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  readonly errors?: readonly (readonly Issue[])[];
  readonly issues?: readonly Issue[];
}

/** The size of lists is judged first, then the tree as a whole, then the schema. */
export function requestValidator(limits: BodyLimits): FastifySchemaCompiler<ZodType> {
  return ({ schema, httpPart }) => {
    const what = httpPart === 'body' ? 'body' : 'query';
    return (data: unknown) => {
      try {
        if (what === 'body') {
          checkLists(schema, data);
          checkTree(data, limits);
        }
        const result = schema.safeParse(data);
        if (result.success) return { value: result.data };
        return { error: toRequestError(result.error.issues, { schema, data, what }) };
      } catch (error) {
        return { error: toPlenumError(error) };
      }
    };
  };
}

interface Context {
  readonly schema: ZodType;
  readonly data: unknown;
  readonly what: 'body' | 'query';
}

/**
 * The error of the most telling issue: first unsupported fields, then unknown ones, then others.
 */
export function toRequestError(issues: readonly Issue[], context: Context): PlenumError {
  const flat = issues.flatMap((issue) => flatten(issue));
  const chosen =
    flat.find((issue) => issue.params?.code === UNSUPPORTED) ??
    flat.find((issue) => issue.code === 'unrecognized_keys') ??
    flat[0];
  if (chosen === undefined) return new PlenumError('invalid_request', 'The request is not valid.');
  if (chosen.path.length === 0 && chosen.code === 'invalid_type') {
    return new PlenumError(
      'invalid_request',
      `The ${context.what} must be a JSON object; got ${show(context.data)}.`,
    );
  }
  if (chosen.code === 'unrecognized_keys') return unknownParameter(chosen, context);
  const param = formatPath(chosen.path);
  const value = valueAt(context.data, chosen.path);
  if (chosen.params?.code === UNSUPPORTED) {
    return new PlenumError(
      UNSUPPORTED,
      `'${param}' is refused: ${chosen.message}; got ${show(value)}.`,
      { param },
    );
  }
  const message =
    value === undefined
      ? `'${param}' is missing; it ${chosen.message}.`
      : `'${param}' ${chosen.message}; got ${show(value)}.`;
  return new PlenumError('invalid_request', message, { param });
}

/** Of a union, the issues of the branch that has the value's own type; else the union's message. */
function flatten(issue: Issue): readonly Issue[] {
  if (issue.code === 'invalid_key') {
    const inner = issue.issues?.[0];
    return inner === undefined ? [issue] : [{ ...inner, path: issue.path, code: 'invalid_key' }];
  }
  if (issue.code !== 'invalid_union' || issue.errors === undefined) return [issue];
  const fitting = issue.errors.filter(
    (branch) => !branch.some((inner) => inner.path.length === 0 && inner.code === 'invalid_type'),
  );
  const [branch] = fitting;
  if (fitting.length !== 1 || branch === undefined) return [issue];
  return branch.flatMap((inner) => flatten({ ...inner, path: [...issue.path, ...inner.path] }));
}

function unknownParameter(issue: Issue, context: Context): PlenumError {
  const key = issue.keys?.[0] ?? '';
  const param = formatPath([...issue.path, key]);
  const near = nearest(key.slice(0, 64), knownKeys(context.schema, issue.path));
  const hint = near === null ? '' : ` Did you mean '${formatPath([...issue.path, near])}'?`;
  return new PlenumError('unknown_parameter', `Unknown parameter '${param}'.${hint}`, { param });
}

/** The part of zod's definitions that leads from a schema to the schemas inside it. */
interface Definition {
  readonly type: string;
  readonly innerType?: ZodType;
  readonly element?: ZodType;
  readonly options?: readonly ZodType[];
  readonly shape?: Readonly<Record<string, ZodType>>;
  readonly checks?: readonly { readonly _zod: { readonly def: { readonly maximum?: number } } }[];
}
// zod types `def` as its base; which fields a schema's own kind has is for the reader to look at.
const definitionOf = (schema: ZodType): Definition => schema.def as unknown as Definition;

/** The schema without optional, nullable and default; each option of a union. */
function alternatives(schema: ZodType): readonly ZodType[] {
  const { innerType, options } = definitionOf(schema);
  if (innerType !== undefined) return alternatives(innerType);
  return options === undefined ? [schema] : options.flatMap((option) => alternatives(option));
}

function knownKeys(schema: ZodType, path: readonly PropertyKey[]): string[] {
  let at: readonly ZodType[] = alternatives(schema);
  for (const key of path) {
    at = at.flatMap((candidate) => {
      const { element, shape } = definitionOf(candidate);
      const inner = typeof key === 'number' ? element : shape?.[String(key)];
      return inner === undefined ? [] : alternatives(inner);
    });
  }
  return at.flatMap((candidate) => Object.keys(definitionOf(candidate).shape ?? {}));
}

/**
 * A list that is longer than its schema allows is refused before its elements are looked at: zod
 * builds an issue for each wrong one.
 */
function checkLists(schema: ZodType, data: unknown): void {
  const shape = definitionOf(schema).shape;
  if (shape === undefined || typeof data !== 'object' || data === null) return;
  for (const [key, value] of Object.entries(data)) {
    if (!Array.isArray(value) || !Object.hasOwn(shape, key)) continue;
    const field = shape[key];
    const lists = field === undefined ? [] : alternatives(field).filter(isList);
    const max = Math.max(...lists.map((list) => lengthMax(list)));
    if (lists.length > 0 && value.length > max) {
      throw new PlenumError(
        'invalid_request',
        `'${key}' must have at most ${max} entries; got ${value.length}.`,
        { param: key },
      );
    }
  }
}

const isList = (schema: ZodType): boolean => definitionOf(schema).type === 'array';

function lengthMax(schema: ZodType): number {
  const lengths = (definitionOf(schema).checks ?? []).map((check) => check._zod.def.maximum);
  return Math.min(...lengths.filter((length) => length !== undefined));
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  let at = data;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = Reflect.get(at, key);
  }
  return at;
}

/** A value in a few words; long text and structures are described, not repeated. */
function show(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'string') {
    return value.length <= 40 ? JSON.stringify(value) : `a string of ${value.length} characters`;
  }
  return String(value);
}
