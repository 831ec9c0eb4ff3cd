/** What plenum.yaml says of memory: sizes, floors, how long models stay; and what is refused. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigFolder, flag } from './fixture.ts';
import { durationMs, sizeBytes } from './quantities.ts';

let folder: ConfigFolder;
beforeEach(() => {
  folder = new ConfigFolder();
});
afterEach(() => folder.remove());

describe('sizes and durations', () => {
  it.each([
    ['24GB', 24e9],
    ['1.5 GiB', 1.5 * 2 ** 30],
    ['512MiB', 2 ** 29],
    ['10kB', 10_000],
    ['7', 7],
    [7, 7],
  ])('%s', (text, bytes) => {
    expect(sizeBytes(text)).toBe(bytes);
  });
  it.each([
    ['250ms', 250],
    ['20s', 20_000],
    ['1.5h', 5_400_000],
    ['10 m', 600_000],
    ['2d', 172_800_000],
  ])('%s', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });
});

describe('the pool', () => {
  it('is what the machine gives, without floors, unless it is said', () => {
    const floors = { chat: 0, embed: 0, rerank: 0, guard: 0 };
    const { pool } = folder.load({ yaml: '' }).config;
    expect(pool).toEqual({ memoryBytes: null, reserveBytes: null, floors });
  });

  it('is read with its units, from the file, variables and flags', () => {
    const yaml = 'pool: {memory: 24GB, reserve: 1GiB, floors: {embed: 2GB, guard: 500MB}}';
    expect(folder.load({ yaml }).config.pool).toEqual({
      memoryBytes: 24e9,
      reserveBytes: 2 ** 30,
      floors: { chat: 0, embed: 2e9, rerank: 0, guard: 5e8 },
    });
    const env = { PLENUM_MEMORY: '12GB', PLENUM_RESERVE: '3GB' };
    const loaded = folder.load({ yaml, env, flags: flag('--memory', '16GB') }).config.pool;
    expect(loaded).toMatchObject({ memoryBytes: 16e9, reserveBytes: 3e9 });
  });

  it.each([
    [
      'pool: {memory: 2GB, floors: {chat: 2GB, embed: 500MB}}',
      'plenum.yaml:1:29: pool.floors: they need 2.50 GB (chat 2.00 GB + embed 500 MB), which is ' +
        '500 MB more than pool.memory, 2.00 GB',
    ],
    ['pool: {memory: 0}', 'plenum.yaml:1:16: pool.memory: is 0; no model fits into nothing'],
    [
      'pool: {floor: {chat: 1GB}}',
      'plenum.yaml:1:8: pool.floor: unknown key; did you mean "floors"?',
    ],
    [
      'pool: {floors: {chta: 1GB}}',
      'plenum.yaml:1:17: pool.floors.chta: unknown key; did you mean "chat"?',
    ],
  ])('is refused: %s', (yaml, complaint) => {
    expect(folder.complaints({ yaml })).toEqual([complaint]);
  });

  it.each(['lots', '5 XB', '-1GB', '1e9GB'])('is refused with a memory of %s', (memory) => {
    const [complaint = ''] = folder.complaints({ yaml: `pool: {memory: "${memory}"}` });
    expect(complaint).toMatch(/pool.memory is .*expected .*such as 24GB/);
  });
});

describe('how long a model stays', () => {
  it('comes from the model, then from defaults, then is built in', () => {
    const yaml =
      'defaults: {ttl: 10m, priority: 2}\nmodels:\n' +
      '  - {model: a, pin: true, preload: false}\n' +
      '  - {model: b, ttl: never, priority: -1, preload: true}\n';
    const [a, b] = folder.load({ yaml }).config.models;
    expect(a).toMatchObject({ pin: true, preload: false, ttlMs: 600_000, priority: 2 });
    expect(b).toMatchObject({ pin: false, preload: true, ttlMs: null, priority: -1 });
    const [plain] = folder.load({ yaml: 'models: [{model: a}]' }).config.models;
    expect(plain).toMatchObject({ pin: false, preload: null, ttlMs: null, priority: 0 });
  });

  it.each([
    ['ttl: 10', /ttl is 10; expected "never", or text such as 10m/],
    ['ttl: soon', /ttl is "soon"; expected "never", or text such as 10m/],
    ['priority: 5000', /priority is 5000; expected a whole number from -1000 to 1000/],
    ['preload: later', /preload is "later"; expected true or false, or "auto"/],
    ['pin: true, ttl: 5m', /has no effect on a pinned model; leave out pin or ttl/],
  ])('is refused: %s', (text, words) => {
    const [complaint] = folder.complaints({ yaml: `models: [{model: a, ${text}}]` });
    expect(complaint).toMatch(words);
  });

  it('the one key of a server may manage it, others only where it is said', () => {
    const one = folder.load({ env: { PLENUM_API_KEY: 'secret-key-1' } }).config.server.apiKeys;
    expect(one.map(({ admin }) => admin)).toEqual([true]);
    const many = folder.load({ env: { PLENUM_API_KEYS: 'secret-key-1,secret-key-2' } });
    expect(many.config.server.apiKeys.map(({ admin }) => admin)).toEqual([false, false]);
    const yaml =
      'server: {api_keys: [{name: a, key: secret-key-1, admin: true}, ' +
      '{name: b, key: secret-key-2}]}';
    const listed = folder.load({ yaml }).config.server.apiKeys;
    expect(listed.map(({ admin }) => admin)).toEqual([true, false]);
  });
});
