/** The pool over HTTP: what is shown, what is done, who may. */
import { describe, expect, it } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import { poolSchema } from '../wire/admin.ts';
import { fixtureServer } from './fixture-server.ts';

const post = { method: 'POST', payload: {} } as const;

describe('the admin routes', () => {
  it('show the pool', async () => {
    const { app } = fixtureServer();
    const reply = await app.inject('/admin/pool');
    expect(reply.statusCode).toBe(200);
    const body = poolSchema.parse(reply.json());
    expect(body).toMatchObject({ available_bytes: 16e9, reserved_bytes: 8e9, paused: null });
    expect(body.floors.embed).toBe(1e9);
    expect(body.models).toMatchObject([{ id: 'org/tiny:Q4', tokens_per_second: 12.5 }]);
  });

  it.each([
    ['/admin/models/org%2Ftiny:Q4/load', 'load org/tiny:Q4'],
    ['/admin/models/org/tiny:Q4/load', 'load org/tiny:Q4'],
    ['/admin/models/tiny/unload', 'unload org/tiny:Q4'],
    ['/admin/models/tiny/pin', 'pin org/tiny:Q4'],
    ['/admin/models/tiny/unpin', 'unpin org/tiny:Q4'],
  ])('take %s', async (url, call) => {
    const { app, backend } = fixtureServer();
    const reply = await app.inject({ ...post, url });
    expect([reply.statusCode, reply.json().id]).toEqual([200, 'org/tiny:Q4']);
    expect(backend.pool.calls).toEqual([call]);
  });

  it('answer with the arithmetic of a refusal and when to come again', async () => {
    const { app, backend } = fixtureServer();
    const message = 'there is no room for tiny: 8 GB + 9 GB is 1 GB more than the pool of 16 GB';
    backend.pool.refusal = new PlenumError('pool_full', message, { retryAfterMs: 5000 });
    const reply = await app.inject({ ...post, url: '/admin/models/tiny/load' });
    expect([reply.statusCode, reply.headers['retry-after']]).toEqual([503, '5']);
    expect(reply.json().error).toMatchObject({ code: 'pool_full', message });
  });

  it.each([
    ['/admin/models/none/load', {}, 404, 'model_not_found'],
    ['/admin/models/org/tiny:Q4/melt', {}, 404, 'not_found'],
    ['/admin/models/tiny/melt', {}, 404, 'not_found'],
    ['/admin/models/tiny/load', { force: true }, 400, 'unknown_parameter'],
    ['/admin/models/tiny/load', undefined, 400, 'invalid_request'],
  ])('refuse %s %o', async (url, payload, status, code) => {
    const { app, backend } = fixtureServer();
    const body = payload === undefined ? {} : { payload };
    const reply = await app.inject({ method: 'POST', url, ...body });
    expect([reply.statusCode, reply.json().error.code]).toEqual([status, code]);
    expect(backend.pool.calls).toEqual([]);
  });

  it('cannot be reached by a page of another site, which sends no JSON unasked', async () => {
    const { app, backend } = fixtureServer();
    const headers = { 'content-type': 'text/plain' };
    const url = '/admin/models/tiny/unload';
    const reply = await app.inject({ method: 'POST', url, headers, payload: '{}' });
    expect(reply.statusCode).toBe(415);
    expect(backend.pool.calls).toEqual([]);
  });

  it('are for keys with `admin: true`, where there are keys', async () => {
    const apiKeys = [
      { name: 'user', plain: 'user-key-1' },
      { name: 'boss', plain: 'boss-key-1', admin: true },
    ];
    const { app } = fixtureServer({ config: { apiKeys } });
    const as = async (key: string | null): Promise<unknown[]> => {
      const headers = key === null ? {} : { authorization: `Bearer ${key}` };
      const shown = await app.inject({ url: '/admin/pool', headers });
      const done = await app.inject({ ...post, url: '/admin/models/tiny/pin', headers });
      const plain = await app.inject({ ...post, url: '/admin/models/org/tiny:Q4/pin', headers });
      return [shown.statusCode, done.statusCode, plain.statusCode];
    };
    expect(await as(null)).toEqual([401, 401, 401]);
    expect(await as('user-key-1')).toEqual([403, 403, 403]);
    expect(await as('boss-key-1')).toEqual([200, 200, 200]);
  });
});

describe('readiness', () => {
  it('counts a model that comes when it is asked for', async () => {
    const { app, backend } = fixtureServer();
    const [model] = backend.modelList;
    if (model === undefined) throw new Error('no model');
    backend.modelList[0] = { ...model, state: 'unloaded', reason: 'on demand' };
    const reply = await app.inject('/ready');
    expect([reply.statusCode, reply.json().status]).toEqual([200, 'ready']);
    backend.modelList[0] = { ...model, state: 'failed', reason: 'no such file' };
    expect((await app.inject('/ready')).statusCode).toBe(503);
  });
});

it('the metrics have the books of the pool', async () => {
  const { app } = fixtureServer();
  const page = (await app.inject('/metrics')).body;
  expect(page).toContain('plenum_pool_bytes{kind="reserved"} 8000000000');
  expect(page).toContain('plenum_host_bytes{model="org/tiny:Q4",kind="measured"} 7500000000');
  expect(page).toContain('plenum_host_bytes_ratio{model="org/tiny:Q4"} 0.9375');
  expect(page).toContain('plenum_pool_paused 0');
});
