/** What a wrong configuration is told: the place, the key, what would be right. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigFolder, flag } from './fixture.ts';
import { FILE_BYTES_MAX } from './yaml-source.ts';

let folder: ConfigFolder;
beforeEach(() => {
  folder = new ConfigFolder();
});
afterEach(() => folder.remove());

describe('a wrong configuration is refused with the place and what would be right', () => {
  it.each([
    [
      'a typing error in a key',
      'models:\n  - model: starter\n    contex: 4096',
      'plenum.yaml:3:5: models[0].contex: unknown key; did you mean "context"?',
    ],
    [
      'a key in the wrong place',
      'port: 80',
      'plenum.yaml:1:1: port: unknown key; did you mean "server.port"?',
    ],
    [
      'a key of nothing known',
      'zebra: 80',
      'plenum.yaml:1:1: zebra: unknown key; known keys: server, models, defaults, pool, home, drain_ms',
    ],
    [
      'the prototype as a key',
      '__proto__: {x: 1}',
      'plenum.yaml:1:1: __proto__: unknown key; ' +
        'known keys: server, models, defaults, pool, home, drain_ms',
    ],
    [
      'a wrong type',
      'server:\n  port: "8686"',
      'plenum.yaml:2:9: server.port is "8686"; expected a whole number from 0 to 65535',
    ],
    [
      'a value out of its range',
      'server: {port: 70000}',
      'plenum.yaml:1:16: server.port is 70000; expected a whole number from 0 to 65535',
    ],
    [
      'a fraction where a count is meant',
      'defaults: {parallel: 1.5}',
      'plenum.yaml:1:22: defaults.parallel is 1.5; expected a whole number from 1 to 256',
    ],
    [
      'a number that is also allowed to be auto',
      'models: [{model: starter, engine: {threads: 0}}]',
      'plenum.yaml:1:45: models[0].engine.threads is 0; ' +
        'expected a whole number from 1 to 1024, or "auto"',
    ],
    [
      'a word that is not one of the list',
      'defaults: {cache_type: f32}',
      'plenum.yaml:1:24: defaults.cache_type is "f32"; expected one of f16, q8_0',
    ],
    [
      'a section without content',
      'server:\ndrain_ms: 1',
      'plenum.yaml:1:8: server is empty; expected a mapping with the keys host, port, api_keys, ' +
        'cors_origins, allowed_hosts, force_bind_without_keys, limits, log',
    ],
    [
      'a missing key',
      'models:\n  - id: x',
      'plenum.yaml:2:5: models[0].model is missing; expected text of 1 to 2048 characters',
    ],
    [
      'an empty list of models',
      'models: []',
      'plenum.yaml:1:9: models is an empty list; expected a list of 1 to 64 entries',
    ],
    [
      'a file that is a list',
      '- model: starter',
      'plenum.yaml:1:1: the configuration is a list; ' +
        'expected a mapping with the keys server, models, defaults, pool, home, drain_ms',
    ],
    [
      'a duplicate key',
      'drain_ms: 1\ndrain_ms: 2',
      'plenum.yaml:2:1: duplicate key "drain_ms"; it is already given above',
    ],
    [
      'broken YAML',
      'server: {host: x',
      'plenum.yaml:1:17: not valid YAML: Flow map in block collection must be sufficiently ' +
        'indented and end with a }',
    ],
    [
      'an unknown tag',
      'home: !secret x',
      'plenum.yaml:1:7: not valid YAML: Unresolved tag: !secret',
    ],
    [
      'two documents',
      'drain_ms: 1\n---\ndrain_ms: 2',
      'plenum.yaml:2:1: not valid YAML: Source contains multiple documents; ' +
        'please use YAML.parseAllDocuments()',
    ],
    [
      'an infinite number',
      'drain_ms: .inf',
      'plenum.yaml:1:11: drain_ms is Infinity; expected a whole number from 0 to 3600000',
    ],
  ])('%s', (_, yaml, complaint) => {
    expect(folder.complaints({ yaml })).toEqual([complaint]);
  });

  it('without showing the value where it may be a secret', () => {
    const [complaint] = folder.complaints({
      yaml: 'server: {api_keys: [{name: a, key: hunter2}]}',
    });
    expect(complaint).toContain('server.api_keys[0].key is not valid');
    expect(complaint).not.toContain('hunter2');
  });

  it('with all errors at once, in the order of the file', () => {
    const error = folder.refusal({
      yaml: 'drain_ms: -1\nserver:\n  prot: 1\n  log: {level: loud}',
      env: { PLENUM_PORT: 'abc' },
      flags: flag('--context', '3'),
    });
    expect(error.message.split('\n')).toEqual([
      'the configuration has 5 errors',
      '  PLENUM_PORT: is "abc"; expected a whole number from 0 to 65535',
      '  --context: is 3; expected a whole number from 16 to 16777216, or "auto"',
      '  plenum.yaml:1:11: drain_ms is -1; expected a whole number from 0 to 3600000',
      '  plenum.yaml:3:3: server.prot: unknown key; did you mean "port"?',
      '  plenum.yaml:4:16: server.log.level is "loud"; ' +
        'expected one of fatal, error, warn, info, debug, trace, silent',
    ]);
  });

  it('with the first of many errors and the count of the rest', () => {
    const yaml = Array.from({ length: 50 }, (_, i) => `zebra${i}: 1`).join('\n');
    const lines = folder.refusal({ yaml }).message.split('\n');
    expect(lines[0]).toBe('the configuration has 50 errors');
    expect(lines).toHaveLength(22);
    expect(lines.at(-1)).toBe('  and 30 more');
  });
});

describe('checks that look at more than one value', () => {
  it.each([
    [
      'fewer KV cells than the context',
      'defaults: {context: 4096}\nmodels: [{model: starter, kv_cells: 100}]',
      'plenum.yaml:2:37: models[0].kv_cells: 100 KV cells cannot hold one sequence of the ' +
        'context, 4096 tokens; expected kv_cells >= context',
    ],
    [
      'two models of one name',
      'models:\n  - model: starter\n  - model: starter',
      'plenum.yaml:3:12: models[1].model: "starter" is already the name of models[0].model; ' +
        'give it another id',
    ],
    [
      'an alias that is another model’s id',
      'models:\n  - {model: a/b, id: chat}\n  - {model: starter, aliases: [chat]}',
      'plenum.yaml:3:32: models[1].aliases[0]: "chat" is already the name of models[0].id; ' +
        'give it another id',
    ],
    [
      'two ways to give one key',
      `server: {api_keys: [{name: a, key: long-enough, key_env: X}]}`,
      'plenum.yaml:1:21: server.api_keys[0]: has 2 of key, key_env and sha256; ' +
        'expected exactly one',
    ],
    [
      'a key in a variable that is not set',
      'server: {api_keys: [{name: a, key_env: ABSENT}]}',
      'plenum.yaml:1:21: server.api_keys[0]: the environment variable ABSENT is not set',
    ],
    [
      'one name for two keys',
      'server: {api_keys: [{name: a, key: long-enough}, {name: a, key: other-key}]}',
      'plenum.yaml:1:50: server.api_keys[1]: the name "a" is already used by another key',
    ],
    [
      'one key under two names',
      'server: {api_keys: [{name: a, key: long-enough}, {name: b, key: long-enough}]}',
      'plenum.yaml:1:50: server.api_keys[1]: the same key is already listed under another name',
    ],
  ])('refuse %s', (_, yaml, complaint) => {
    expect(folder.complaints({ yaml })).toEqual([complaint]);
  });
});

describe('a hostile file is refused in bounded time', () => {
  it('an alias bomb', () => {
    const rows = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (const [name, of] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg']) {
      rows.push(`${name}: &${name} [${Array(10).fill(`*${of}`).join(', ')}]`);
    }
    expect(folder.complaints({ yaml: rows.join('\n') })[0]).toMatch(
      /plenum\.yaml: Excessive alias count/,
    );
  });

  it('brackets without end', () => {
    expect(folder.complaints({ yaml: '['.repeat(50_000) })).toContainEqual(
      expect.stringContaining('nested too deeply'),
    );
  });

  it('a file beyond the limit', () => {
    expect(folder.complaints({ yaml: `# ${'x'.repeat(FILE_BYTES_MAX)}` })).toEqual([
      `plenum.yaml: the file has ${FILE_BYTES_MAX + 2} bytes; at most ${FILE_BYTES_MAX} are read`,
    ]);
  });
});
