import { expect, test } from 'vitest';
import { ERROR_TABLE } from '../base/errors.ts';
import { fixtureServer } from './fixture-server.ts';

interface OperationDoc {
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { content: Record<string, { schema: { properties: object } }> };
  readonly responses: Record<string, { description: string; content: object }>;
}
type Paths = Record<string, Record<string, OperationDoc>>;

async function load() {
  const server = fixtureServer({ limits: { nMax: 5 } });
  const reply = await server.get('/openapi.json');
  expect(reply.statusCode).toBe(200);
  return { server, document: reply.json() as { openapi: string; paths: Paths } };
}

test('every route is described, and nothing else', async () => {
  const { app } = fixtureServer();
  const routes: string[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    // The same deeds once more, for ids that are written with their slashes.
    if (url === '/admin/models/*') return;
    if (method !== 'HEAD') routes.push(`${method} ${url.replace(/\*|:id/, '{id}')}`);
  });
  const reply = await app.inject({ url: '/openapi.json' });
  const document = reply.json() as { openapi: string; paths: Paths };
  expect(document.openapi).toBe('3.1.0');
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(routes.length).toBeGreaterThan(10);
  expect(described.sort()).toEqual(routes.sort());
});

test('every operation has a summary, a good reply and its errors', async () => {
  const { document } = await load();
  expect(JSON.stringify(document)).not.toContain('"$ref"');
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const operation of Object.values(methods)) {
      expect(operation.summary, path).toMatch(/\w/);
      expect(Object.keys(operation.responses), path).toContain('200');
      const inPath = operation.parameters?.filter((parameter) => parameter.in === 'path') ?? [];
      expect(inPath.map((parameter) => `{${parameter.name}}`)).toEqual(
        path.match(/\{\w+\}/g) ?? [],
      );
      for (const reply of Object.values(operation.responses)) {
        expect(reply.description, path).toMatch(/\w/);
        expect(Object.keys(reply.content).length, path).toBeGreaterThan(0);
      }
    }
  }
});

test('limits appear as they are configured', async () => {
  const { document } = await load();
  const body = document.paths['/v1/chat/completions']?.post?.requestBody;
  const properties = body?.content['application/json']?.schema.properties;
  expect(properties).toMatchObject({
    n: { anyOf: [{ type: 'integer', minimum: 1, maximum: 5 }, { type: 'null' }] },
    temperature: { anyOf: [{ type: 'number', minimum: 0, maximum: 2 }, { type: 'null' }] },
    tools: { description: expect.stringContaining('Not supported yet') },
  });
});

/** Codes that only the command line, a download or a load can give. */
const NOT_OF_HTTP = new Set([
  'usage',
  'config_invalid',
  'bind_refused',
  'port_in_use',
  'reference_invalid',
  'file_not_found',
  'file_foreign',
  'file_truncated',
  'file_corrupt',
  'model_unsupported',
  'checksum_mismatch',
  'download_failed',
  'hub_refused',
  'disk_full',
  'library_missing',
  'binding_mismatch',
  'load_failed',
  'server_unreachable',
]);
/** Codes that no described route gives: the path is wrong, or nobody reads the answer. */
const NO_ROUTE = new Set(['not_found', 'method_not_allowed', 'client_closed', 'slow_reader']);

test('every error code that a route can give is described under its status', async () => {
  const { document } = await load();
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
  for (const [code, row] of Object.entries(ERROR_TABLE)) {
    const described = operations.some((operation) =>
      operation.responses[row.status]?.description.includes(`\`${code}\``),
    );
    expect(described, code).toBe(!NOT_OF_HTTP.has(code) && !NO_ROUTE.has(code));
  }
});

test('the page needs nothing from elsewhere and shows every operation', async () => {
  const { server, document } = await load();
  const reply = await server.get('/docs');
  // Inner fields are rows of the one table; what is refused takes no row.
  expect(reply.body).toContain('<td><code>messages[].content[].text</code>');
  expect(reply.body).not.toMatch(/<td>[^<]*<table/);
  expect(reply.body).not.toContain('<td><code>grammar</code>');
  expect(reply.body).toContain('<code>grammar</code> (constrained output)');
  expect(reply.headers['content-type']).toContain('text/html');
  expect(reply.body).not.toMatch(/<script|https?:\/\/|@import|url\(/);
  for (const path of Object.keys(document.paths)) expect(reply.body).toContain(path);
  expect(reply.body).toContain('max_completion_tokens');
  expect(reply.body).toContain('queue_full');
});
