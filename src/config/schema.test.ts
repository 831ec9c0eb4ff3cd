/** The published schema, the example and the tables agree with what is loaded. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NO_FLAGS } from './layers.ts';
import { loadConfig } from './load.ts';
import { configJsonSchema, configSchema, MODEL_DEFAULTS } from './schema.ts';
import { flagName, OTHER_ENV, SETTINGS } from './settings.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Node {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly additionalProperties?: unknown;
}

describe('the published JSON schema', () => {
  it('is what the code makes (tools/config-schema.ts writes it)', () => {
    const published: unknown = JSON.parse(
      readFileSync(join(ROOT, 'schema/plenum.schema.json'), 'utf8'),
    );
    expect(published).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
  });

  it('refuses unknown keys in every mapping', () => {
    const check = (node: Node, path: string): void => {
      if (node.properties !== undefined) {
        expect(node.additionalProperties, path).toBe(false);
        for (const [key, child] of Object.entries(node.properties)) check(child, `${path}.${key}`);
      }
      if (node.items !== undefined) check(node.items, `${path}[]`);
    };
    check(configJsonSchema(), '');
  });
});

describe('examples/plenum.yaml', () => {
  const path = join(ROOT, 'examples/plenum.yaml');
  const text = readFileSync(path, 'utf8');

  it('loads', () => {
    const { config } = loadConfig({ flags: { ...NO_FLAGS, file: path }, env: {}, cwd: ROOT });
    expect(config.models).toMatchObject([{ model: 'starter', id: 'chat' }]);
  });

  it('tells editors where its schema is', () => {
    const relative = /^# yaml-language-server: \$schema=(\S+)$/m.exec(text)?.[1] ?? '';
    expect(resolve(dirname(path), relative)).toBe(join(ROOT, 'schema/plenum.schema.json'));
  });
});

describe('the settings’ table', () => {
  it('has every name once', () => {
    const names = [...SETTINGS.map(({ env }) => env), ...Object.keys(OTHER_ENV)];
    expect(new Set(names).size).toBe(names.length);
    const flags = SETTINGS.map(flagName).filter((name) => name !== null);
    expect(new Set(flags).size).toBe(flags.length);
  });

  it('leads to keys of the schema', () => {
    const schema: Node = configJsonSchema();
    for (const { path, scope } of SETTINGS) {
      let node = scope === 'top' ? schema : schema.properties?.models?.items;
      for (const part of path) node = node?.properties?.[part];
      expect(node, path.join('.')).toBeDefined();
    }
  });
});

describe('the defaults of model settings', () => {
  it('are valid settings', () => {
    const { threads, gpu_layers, ...rest } = MODEL_DEFAULTS;
    const defaults = { ...rest, engine: { threads, gpu_layers } };
    expect(configSchema.safeParse({ defaults }).success).toBe(true);
  });
});
