/**
 * The OpenAPI document as one page without scripts or outside resources: every endpoint with its
 * parameters and replies.
 */

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  /** Known and refused: what it would ask for. */
  readonly 'x-unsupported'?: string;
}

interface Content {
  readonly [mediaType: string]: { readonly schema?: Schema };
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema?: Schema;
  }[];
  readonly requestBody?: { readonly content?: Content };
  readonly responses?: Readonly<
    Record<string, { readonly description?: string; readonly content?: Content }>
  >;
}

interface Document {
  readonly info: { readonly title: string; readonly version: string };
  readonly paths?: Readonly<Record<string, unknown>>;
}

const STYLE = `
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
code,h2{font-family:ui-monospace,monospace}h2{font-size:1.1rem;margin-top:2.5rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td:first-child{overflow-wrap:anywhere;width:32%}td:nth-child(2){width:24%}
td,th{border-bottom:1px solid #8884;padding:.25rem .5rem;text-align:left;vertical-align:top}
nav a{display:inline-block;margin-right:1rem}summary{cursor:pointer}
`;

export function renderDocs(document: Document): string {
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Operation>).map(([method, operation]) => ({
      title: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  );
  const links = operations.map(
    ({ title }) => `<a href="#${anchor(title)}">${escapeHtml(title)}</a>`,
  );
  const sections = operations.map(({ title, operation }) => section(title, operation));
  const name = escapeHtml(`${document.info.title} ${document.info.version}`);
  return `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${name}</title><style>${STYLE}</style>
<h1>${name}</h1><p>The same as a document: <a href="/openapi.json">/openapi.json</a>.</p>
<nav>${links.join('\n')}</nav>
${sections.join('\n')}
</html>`;
}

function section(title: string, operation: Operation): string {
  const {
    summary = '',
    description = '',
    parameters = [],
    requestBody,
    responses = {},
  } = operation;
  const body = Object.values(requestBody?.content ?? {})[0]?.schema;
  const replies = Object.entries(responses).map(
    ([status, reply]) =>
      `<tr><td>${escapeHtml(status)}<td>${text(reply.description ?? '')}` +
      `<td>${mediaTypes(reply.content)}`,
  );
  const inPath = parameters.map(
    (parameter) =>
      `<li><code>${escapeHtml(parameter.name)}</code> (${escapeHtml(parameter.in)}): ` +
      text(parameter.schema?.description ?? 'required'),
  );
  return `<section id="${anchor(title)}"><h2>${escapeHtml(title)}</h2><p>${text(summary)}</p>
<p>${text(description)}</p><ul>${inPath.join('')}</ul>
${body === undefined ? '' : `<h3>Body</h3>${fields(body)}`}
<details><summary>Replies</summary><table>${replies.join('')}</table></details></section>`;
}

function mediaTypes(content: Content | undefined): string {
  return Object.entries(content ?? {})
    .map(([type, { schema }]) => {
      const inner = schema?.properties === undefined ? '' : fields(schema);
      return `<details><summary>${escapeHtml(type)}</summary>${inner}</details>`;
    })
    .join('');
}

interface Field {
  readonly path: string;
  readonly schema: Schema;
  readonly required: boolean;
}

/** One row each, those of inner objects after their own: `messages[].role`. */
function fields(schema: Schema): string {
  const all = fieldsOf(schema, '');
  const rows = all
    .filter((field) => field.schema['x-unsupported'] === undefined)
    .map(({ path, schema: field, required }) => {
      const title = `<code>${escapeHtml(path)}</code>${required ? ' (required)' : ''}`;
      return `<tr><td>${title}<td>${escapeHtml(typeOf(field))}<td>${text(field.description ?? '')}`;
    });
  const refused = all
    .filter((field) => field.schema['x-unsupported'] !== undefined)
    .map(({ path, schema: field }) => {
      return `<code>${escapeHtml(path)}</code> (${text(field['x-unsupported'] ?? '')})`;
    });
  const note = 'Known and refused by name, unless the value asks for nothing: ';
  return `<table>${rows.join('')}</table>${
    refused.length === 0 ? '' : `<p><small>${note}${refused.join(', ')}.</small></p>`
  }`;
}

function fieldsOf(schema: Schema, prefix: string): readonly Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = prefix + name;
    const required = schema.required?.includes(name) === true;
    return [{ path, schema: field, required }, ...innerFields(field, path)];
  });
}

function innerFields(schema: Schema, path: string): readonly Field[] {
  if (schema.properties !== undefined) return fieldsOf(schema, `${path}.`);
  const ofItems = schema.items === undefined ? [] : innerFields(schema.items, `${path}[]`);
  return [...ofItems, ...(schema.anyOf ?? []).flatMap((one) => innerFields(one, path))];
}

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) {
    return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  }
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' | ');
  if (schema.type === 'array') {
    const most = schema.maxItems === undefined ? '' : `, at most ${schema.maxItems}`;
    return `list of ${schema.items === undefined ? 'anything' : typeOf(schema.items)}${most}`;
  }
  const type = [schema.type ?? 'anything'].flat().join(' | ');
  const { minimum, maximum, maxLength } = schema;
  if (minimum !== undefined && maximum !== undefined) return `${type} ${minimum}…${maximum}`;
  return maxLength === undefined ? type : `${type} of at most ${maxLength} characters`;
}

const anchor = (title: string): string => title.replace(/[^a-zA-Z0-9]+/g, '-');

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};
const escapeHtml = (value: string): string =>
  value.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character);

/** Escaped, with backticks as code and line breaks kept. */
const text = (value: string): string =>
  escapeHtml(value)
    .replace(/`([^`]*)`/g, '<code>$1</code>')
    .replaceAll('\n', '<br>');
