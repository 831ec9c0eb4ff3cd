/** The layers of a configuration, the origin of each value, and what comes out. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { originText } from './config.ts';
import { ConfigFolder, flag } from './fixture.ts';
import type { LoadedConfig } from './load.ts';

let folder: ConfigFolder;
beforeEach(() => {
  folder = new ConfigFolder();
});
afterEach(() => folder.remove());

const originsOf = ({ entries }: LoadedConfig): Record<string, string> =>
  Object.fromEntries(entries.map(({ path, origin }) => [path, originText(origin)]));

describe('layers', () => {
  const yaml = 'server:\n  port: 1001\n  host: 127.0.0.2\n  log: {level: warn}\n';

  it('without anything give the defaults: loopback, port 8686, the starter model', () => {
    const loaded = folder.load({});
    expect(loaded.config.server).toMatchObject({ host: '127.0.0.1', port: 8686, apiKeys: [] });
    expect(loaded.config.models).toMatchObject([{ model: 'starter', contextTokens: null }]);
    expect(loaded.config.file).toBeNull();
    expect(new Set(Object.values(originsOf(loaded)))).toEqual(new Set(['default']));
  });

  it('win in the order default, file, variable, flag', () => {
    const loaded = folder.load({
      yaml,
      env: { PLENUM_PORT: '1002', PLENUM_HOST: '127.0.0.3' },
      flags: flag('--port', '1003'),
    });
    expect(loaded.config.server).toMatchObject({
      host: '127.0.0.3',
      port: 1003,
      log: { level: 'warn', format: 'auto' },
    });
    expect(originsOf(loaded)).toMatchObject({
      'server.host': 'PLENUM_HOST',
      'server.port': '--port',
      'server.log.level': 'plenum.yaml:4:16',
      'server.log.format': 'default',
    });
  });

  it('take model settings from defaults, then from the model, then from above the file', () => {
    const models =
      'defaults: {context: 1024, parallel: 2, queue_max: 9}\n' +
      'models:\n  - {model: starter, parallel: 3}\n  - {model: a/b}\n';
    const loaded = folder.load({ yaml: models, env: { PLENUM_CONTEXT: '2048' } });
    expect(loaded.config.models).toMatchObject([
      { model: 'starter', contextTokens: 2048, parallel: 3, queueMax: 9, stepTokensMax: 512 },
      { model: 'a/b', contextTokens: 2048, parallel: 2, queueMax: 9, stepTokensMax: 512 },
    ]);
    expect(originsOf(loaded)).toMatchObject({
      'models[0].context': 'PLENUM_CONTEXT',
      'models[0].parallel': 'plenum.yaml:3:32',
      'models[1].parallel': 'plenum.yaml:1:37',
      'models[1].queue_max': 'plenum.yaml:1:51',
      'models[1].step_tokens_max': 'default',
    });
  });

  it('apply model settings to the default model when the file lists none', () => {
    const loaded = folder.load({ flags: flag('--threads', '3') });
    expect(loaded.config.models).toMatchObject([{ model: 'starter', threads: 3 }]);
  });

  it('let references choose among the models of the file, with their settings', () => {
    const models = 'models:\n  - {model: a/b, id: one}\n  - {model: c/d, parallel: 7}\n';
    const loaded = folder.load({ yaml: models, flags: { models: ['c/d', 'starter', 'one'] } });
    expect(loaded.config.models).toMatchObject([
      { model: 'c/d', parallel: 7 },
      { model: 'starter', parallel: 4 },
      { model: 'a/b', id: 'one' },
    ]);
    expect(originsOf(loaded)).toMatchObject({
      'models[0].parallel': 'plenum.yaml:3:28',
      'models[1].model': 'command line',
      'models[2].id': 'plenum.yaml:2:22',
    });
  });

  it('say the place in the file for a chosen model’s error', () => {
    const models = 'models:\n  - {model: a/b}\n  - {model: c/d, parallel: 0}\n';
    expect(folder.complaints({ yaml: models, flags: { models: ['c/d'] } })).toEqual([
      'plenum.yaml:3:28: models[0].parallel is 0; expected a whole number from 1 to 256',
    ]);
  });

  it('read the file that is named by the flag before that of the variable', () => {
    for (const [name, port] of [
      ['a', 1],
      ['b', 2],
    ]) {
      writeFileSync(join(folder.cwd, `${name}.yaml`), `server: {port: ${port}}`);
    }
    const env = { PLENUM_CONFIG: 'a.yaml' };
    expect(folder.load({ yaml, env }).config.server.port).toBe(1);
    expect(folder.load({ yaml, env, flags: { file: 'b.yaml' } }).config.server.port).toBe(2);
  });

  it('complain of a named file that is not there, not of an absent default one', () => {
    const byFlag = folder.refusal({ flags: { file: 'absent.yaml' } });
    expect(byFlag.code).toBe('file_not_found');
    expect(byFlag.message).toBe('--config: absent.yaml: no such file');
    const byVariable = folder.refusal({ env: { PLENUM_CONFIG: 'gone.yaml' } });
    expect(byVariable.message).toBe('PLENUM_CONFIG: gone.yaml: no such file');
  });

  it('complain of a default file that cannot be read', () => {
    mkdirSync(join(folder.cwd, 'plenum.yaml'));
    expect(folder.refusal({}).message).toBe('plenum.yaml: cannot be read (EISDIR)');
  });
});

describe('environment variables', () => {
  it('with an unknown name are refused with the nearest known one', () => {
    expect(folder.complaints({ env: { PLENUM_PROT: '1', PLENUM_ZEBRA: '1', OTHER: '1' } })).toEqual(
      [
        'PLENUM_PROT: unknown variable; did you mean PLENUM_PORT?',
        'PLENUM_ZEBRA: unknown variable; plenum config --env lists them',
      ],
    );
  });

  it('that are empty count as not set', () => {
    expect(folder.load({ env: { PLENUM_PORT: '', PLENUM_CONFIG: '' } }).config.server.port).toBe(
      8686,
    );
  });

  it('read switches and lists', () => {
    const env = {
      PLENUM_FORCE_BIND: 'yes',
      PLENUM_PREFIX_CACHE: '0',
      PLENUM_CORS_ORIGINS: 'http://a, https://b',
      PLENUM_MODELS: 'starter, a/b',
      PLENUM_STEP_TARGET_MS: 'auto',
    };
    const { server, models } = folder.load({ env }).config;
    expect(server.forceBindWithoutKeys).toBe(true);
    expect(server.corsOrigins).toEqual(['http://a', 'https://b']);
    expect(models).toMatchObject([
      { model: 'starter', prefixCache: false, stepTargetMs: null },
      { model: 'a/b', prefixCache: false, stepTargetMs: null },
    ]);
  });

  it('that are no switch are refused', () => {
    expect(folder.complaints({ env: { PLENUM_PREFIX_CACHE: 'maybe' } })).toEqual([
      'PLENUM_PREFIX_CACHE: is "maybe"; expected true or false',
    ]);
  });
});

describe('what comes out', () => {
  it('holds digests instead of API keys', () => {
    const digest = createHash('sha256').update('from-variable').digest('hex');
    const yaml =
      'server:\n  api_keys:\n' +
      `    - {name: a, key_env: TEAM_A}\n    - {name: b, sha256: ${'a'.repeat(64)}}\n`;
    const loaded = folder.load({ yaml, env: { TEAM_A: 'from-variable' } });
    expect(loaded.config.server.apiKeys).toEqual([
      { name: 'a', sha256: digest, admin: false },
      { name: 'b', sha256: 'a'.repeat(64), admin: false },
    ]);
    const printed = JSON.stringify(loaded);
    expect(printed).not.toContain('from-variable');
    expect(JSON.stringify(loaded.entries)).not.toContain(digest);
  });

  it('takes API keys of variables in place of those of the file', () => {
    const yaml = 'server: {api_keys: [{name: a, key: long-enough}]}';
    const env = { PLENUM_API_KEY: 'key-one-1', PLENUM_API_KEYS: 'key-two-2,key-three-3' };
    const names = folder.load({ yaml, env }).config.server.apiKeys.map(({ name }) => name);
    expect(names).toEqual(['env', 'env-1', 'env-2']);
    expect(folder.complaints({ env: { PLENUM_API_KEY: 'short' } })[0]).toMatch(
      /^PLENUM_API_KEY: is not valid; expected text of 8 to 512 characters/,
    );
    const byFlag = folder.load({
      yaml,
      env: { ...env, K: 'key-four-4' },
      flags: { apiKeyEnv: 'K' },
    });
    expect(byFlag.config.server.apiKeys).toMatchObject([{ name: 'command-line' }]);
  });

  it('has paths relative to the file that names them, or to the working directory', () => {
    mkdirSync(join(folder.cwd, 'sub'));
    writeFileSync(
      join(folder.cwd, 'sub/c.yaml'),
      'home: data\nmodels: [{model: ./m.gguf, chat_template: t.jinja}, {model: d/n.gguf}]',
    );
    const { config } = folder.load({ flags: { file: 'sub/c.yaml' } });
    expect(config.home).toBe(join(folder.cwd, 'sub/data'));
    expect(config.models).toMatchObject([
      { model: join(folder.cwd, 'sub/m.gguf'), chatTemplate: join(folder.cwd, 'sub/t.jinja') },
      { model: join(folder.cwd, 'sub/d/n.gguf'), chatTemplate: null },
    ]);
    expect(folder.load({ env: { PLENUM_HOME: 'data' } }).config.home).toBe(
      join(folder.cwd, 'data'),
    );
    expect(folder.load({ env: { PLENUM_HOME: '~/data', HOME: folder.cwd } }).config.home).toBe(
      join(folder.cwd, 'data'),
    );
    expect(folder.load({ flags: { models: ['./m.gguf'] } }).config.models).toMatchObject([
      { model: './m.gguf' },
    ]);
  });

  it('is frozen through and through', () => {
    const { config } = folder.load({});
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.server.limits)).toBe(true);
    expect(Object.isFrozen(config.models[0]?.aliases)).toBe(true);
  });
});
