/** The memory map of `plenum ps`, and the command against a server that answers or does not. */
import { afterEach, describe, expect, it } from 'vitest';
import type { PoolBody, PoolModelBody } from '../../wire/admin.ts';
import { type FakeServer, fakeContext, fakeServer, reply } from '../fixture.ts';
import { runProgram } from '../program.ts';
import { memoryBar, modelRows, summaryLines } from './memory-map.ts';

const model = (id: string, more: Partial<PoolModelBody> = {}): PoolModelBody => ({
  id,
  class: 'chat',
  state: 'resident',
  reason: null,
  pinned: false,
  preload: true,
  priority: 0,
  ttl_ms: null,
  needed_bytes: 4e9,
  reserved_bytes: 4e9,
  measured_bytes: 3.9e9,
  mispredicted: null,
  items: [],
  pid: 1,
  in_use: 1,
  waiting: 0,
  queued: 2,
  running: 1,
  tokens_per_second: 21.4,
  idle_ms: 0,
  loads: 1,
  restarts: 0,
  ...more,
});

const pool: PoolBody = {
  available_bytes: 16e9,
  available_source: 'MemAvailable',
  reserved_bytes: 5e9,
  measured_bytes: 4.7e9,
  paused: null,
  floors: { chat: 0, embed: 3e9, rerank: 0, guard: 0 },
  models: [
    model('embedder', { class: 'embed', needed_bytes: 1e9, reserved_bytes: 1e9 }),
    model('chat', { pinned: true }),
    model('other', { state: 'unloaded', reserved_bytes: 0, measured_bytes: null, pid: null }),
  ],
};

describe('the bar', () => {
  it('has a share for each model, for what is guaranteed and for what is free', () => {
    expect(memoryBar(pool, 32)).toBe('AAAAAAAABB░░░░··················');
  });

  it('shows whoever holds anything, however little', () => {
    const small = model('small', { reserved_bytes: 1, class: 'guard' });
    expect(memoryBar({ ...pool, models: [...pool.models, small] }, 32)).toContain('ABBC░');
  });
});

describe('the lines', () => {
  it('say what is reserved, measured, free and guaranteed, and why nothing is loaded', () => {
    expect(summaryLines({ ...pool, paused: 'the machine is short of memory' })).toEqual([
      '16.0 GB for models: MemAvailable',
      '5.00 GB reserved, 4.70 GB measured, 11.0 GB free, 2.00 GB of it guaranteed',
      'floors: embed 3.00 GB (░ in the bar)',
      'nothing is loaded at the moment: the machine is short of memory',
    ]);
  });

  it('have a row for each model, by class', () => {
    const rows = modelRows(pool);
    expect(rows.map((row) => row.slice(0, 6))).toEqual([
      ['A', 'chat', 'chat', 'resident', '4.00 GB', '3.90 GB'],
      ['', 'other', 'chat', 'unloaded', '(4.00 GB)', ''],
      ['B', 'embedder', 'embed', 'resident', '1.00 GB', '3.90 GB'],
    ]);
    expect(rows[0]?.slice(6)).toEqual(['1', '2', '21.4', 'pinned']);
  });

  it('say what is wrong, how often it was started again and how long it stays', () => {
    const [row] = modelRows({
      ...pool,
      models: [model('m', { state: 'loading', reason: 'it died', restarts: 2, priority: 3 })],
    });
    expect(row?.[3]).toBe('loading: it died, 2 restarts');
    expect(row?.at(-1)).toBe('priority 3');
    const [idle] = modelRows({ ...pool, models: [model('m', { idle_ms: 4000, ttl_ms: 60_000 })] });
    expect(idle?.at(-1)).toBe('idle 4.00 s of 1 min 0 s');
    const [off] = modelRows({ ...pool, models: [model('m', { mispredicted: 'below' })] });
    expect(off?.[5]).toBe('3.90 GB, below prediction');
  });
});

describe('plenum ps', () => {
  let server: FakeServer | null = null;
  afterEach(async () => {
    await server?.close();
    server = null;
  });

  it('prints the pool of a server, and its JSON', async () => {
    server = await fakeServer((response) => reply(response, 200, pool));
    const context = fakeContext();
    expect(await runProgram(['ps', '--url', `${server.url}/v1`], context)).toBe(0);
    expect(context.out).toContain('16.0 GB for models');
    expect(context.out).toMatch(/A +chat +chat +resident/);
    expect(server.seen[0]?.path).toBe('/admin/pool');
    const json = fakeContext();
    await runProgram(['ps', '--url', server.url, '--json'], json);
    expect(JSON.parse(json.out)).toEqual(pool);
  });

  it.each([
    [403, { error: { message: 'needs `admin: true`' } }, /needs `admin: true` \(forbidden\)/],
    [401, { error: { message: 'needs a key' } }, /needs a key \(invalid_api_key\)/],
    [404, { detail: 'x' }, /answers with status 404; is it a Plenum server\?/],
    [200, { models: 'none' }, /not as a Plenum of this version/],
  ])('says what is wrong with an answer of %i', async (status, body, words) => {
    server = await fakeServer((response) => reply(response, status, body));
    const context = fakeContext();
    expect(await runProgram(['ps', '--url', server.url], context)).toBe(1);
    expect(context.err).toMatch(words);
  });

  it('says that nobody answers, and that an address is none', async () => {
    const context = fakeContext();
    expect(await runProgram(['ps', '--url', 'http://127.0.0.1:1'], context)).toBe(1);
    expect(context.err).toMatch(/no server answers at http:\/\/127.0.0.1:1/);
    expect(await runProgram(['ps', '--url', 'nonsense'], fakeContext())).toBe(2);
  });
});
