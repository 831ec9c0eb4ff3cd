/** The flags of `serve` reach the configuration, and the configuration fits the front door. */
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { NO_FLAGS } from '../config/layers.ts';
import { loadConfig } from '../config/load.ts';
import { SETTINGS } from '../config/settings.ts';
import { HTTP_DEFAULTS, type HttpLimits } from '../http/config.ts';
import { type ParsedOptions, serveOptions, toServeOverrides } from './serve-options.ts';

function parse(...argv: string[]) {
  const command = serveOptions(new Command('serve')).exitOverride();
  command.configureOutput({ outputError: () => undefined });
  command.parse(argv, { from: 'user' });
  return toServeOverrides(command.args, command.opts<ParsedOptions>());
}

const given = (...argv: string[]) =>
  parse(...argv).values.map(({ flag, setting, text }) => [flag, setting.env, text]);

describe('the options of serve', () => {
  it('say nothing when none is given', () => {
    expect(parse()).toEqual(NO_FLAGS);
  });

  it('carry references, the file and the name of the key’s variable', () => {
    expect(parse('starter', 'a/b', '-c', 'x.yaml', '--api-key-env', 'KEY')).toEqual({
      file: 'x.yaml',
      models: ['starter', 'a/b'],
      apiKeyEnv: 'KEY',
      values: [],
    });
  });

  it('carry values, switches and refusals', () => {
    expect(given('--port', '1', '--force-bind', '--no-prefix-cache')).toEqual([
      ['--port', 'PLENUM_PORT', '1'],
      ['--force-bind', 'PLENUM_FORCE_BIND', 'true'],
      ['--no-prefix-cache', 'PLENUM_PREFIX_CACHE', 'false'],
    ]);
  });

  it('take --json for JSON logs, and refuse it beside --log-format', () => {
    expect(given('--json')).toEqual([['--log-format', 'PLENUM_LOG_FORMAT', 'json']]);
    expect(() => parse('--json', '--log-format', 'pretty')).toThrow(/cannot be used with/);
  });

  it('have a flag for every setting that has one', () => {
    const known = serveOptions(new Command('serve')).options.map(({ flags }) => flags);
    const wanted = SETTINGS.map(({ flag }) => flag).filter((flag) => flag !== null);
    expect(known).toEqual(expect.arrayContaining(wanted));
  });
});

describe('the configuration', () => {
  it('has the front door’s limits by the same names and with the same defaults', () => {
    const { server } = loadConfig({ flags: NO_FLAGS, env: {}, cwd: import.meta.dirname }).config;
    const limits: HttpLimits = server.limits;
    expect(limits).toEqual(HTTP_DEFAULTS.limits);
    expect(server).toMatchObject({ host: HTTP_DEFAULTS.host, port: HTTP_DEFAULTS.port });
  });
});
