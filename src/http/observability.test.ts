import { expect, test } from 'vitest';
import { delta, endEvent, FixtureBackend, fixtureModel, fixtureReport } from './fixture-backend.ts';
import { fixtureServer } from './fixture-server.ts';

const CHAT = '/v1/chat/completions';
const SECRET = 'the treasure is under the oak';
const chat = { messages: [{ role: 'user', content: SECRET }] };

test('one access line per request has outcome, times and tokens', async () => {
  const server = fixtureServer();
  await server.post(CHAT, chat, { 'x-request-id': 'abc' });
  const lines = server.lines.map((line) => JSON.parse(line));
  expect(lines).toEqual([
    {
      level: 'info',
      time: expect.any(String),
      msg: 'request',
      id: 'abc',
      method: 'POST',
      route: CHAT,
      status: 200,
      ms: expect.any(Number),
      model: 'org/tiny:Q4',
      outcome: 'finished:stop',
      stream: false,
      queueMs: 1.5,
      ttftMs: expect.any(Number),
      promptTokens: 7,
      cachedTokens: 3,
      completionTokens: 2,
    },
  ]);
});

test('no prompt, reply, key or query is logged, whatever goes wrong', async () => {
  const apiKeys = [{ name: 'ann', plain: 'sesame-open' }];
  const backend = new FixtureBackend();
  const server = fixtureServer({ backend, config: { apiKeys } });
  const key = { authorization: 'Bearer sesame-open' };
  await server.post(CHAT, chat, key);
  await server.post(CHAT, { ...chat, stream: true }, key);
  await server.post(CHAT, { ...chat, [SECRET]: 1 }, key);
  await server.post(CHAT, `{"messages":[{"content":"${SECRET}`, key);
  await server.post(CHAT, { ...chat, model: SECRET }, key);
  await server.post(CHAT, chat, { authorization: 'Bearer sesame-closed' });
  await server.get(`/${encodeURIComponent(SECRET)}?q=${encodeURIComponent(SECRET)}`, key);
  backend.script = (generation) =>
    generation.push(delta(SECRET), endEvent({ kind: 'failed', code: 'engine_failed' }));
  await server.post(CHAT, chat, key);
  expect(server.lines.length).toBe(8);
  const text = server.lines.join('');
  expect(text).not.toContain('treasure');
  expect(text).not.toContain('sesame');
  expect(text).not.toContain('Hello world');
});

test('requests are counted by outcome, tokens by source; unknown models share a label', async () => {
  const server = fixtureServer();
  await server.post(CHAT, chat);
  await server.post(CHAT, { ...chat, stream: true });
  await server.post(CHAT, { ...chat, model: 'no-such-1' });
  await server.post(CHAT, { ...chat, model: 'no-such-2' });
  await server.get('/nowhere/1');
  const page = (await server.get('/metrics')).body;
  const model = 'model="org/tiny:Q4"';
  expect(page).toContain(`plenum_requests_total{${model},outcome="finished:stop"} 2`);
  expect(page).toContain(
    'plenum_requests_total{model="unknown",outcome="refused:model_not_found"} 2',
  );
  expect(page).not.toContain('no-such');
  expect(page).not.toContain('nowhere');
  expect(page).toContain(`plenum_prompt_tokens_total{${model},source="cached"} 6`);
  expect(page).toContain(`plenum_prompt_tokens_total{${model},source="computed"} 8`);
  expect(page).toContain(`plenum_generated_tokens_total{${model}} 4`);
  expect(page).toContain(`plenum_ttft_seconds_count{${model}} 2`);
  expect(page).toContain(`plenum_inter_token_seconds_count{${model}} 2`);
  expect(page).toContain(`plenum_queue_wait_seconds_count{${model}} 2`);
});

test('a scrape samples the hosts', async () => {
  const backend = new FixtureBackend({
    models: [fixtureModel('a'), { ...fixtureModel('b'), state: 'failed', reason: 'gone' }],
  });
  const page = (await fixtureServer({ backend }).get('/metrics')).body;
  for (const line of [
    'plenum_model_ready{model="a"} 1',
    'plenum_model_ready{model="b"} 0',
    'plenum_kv_cells{model="a",state="free"} 50',
    'plenum_kv_cells{model="a",state="cached"} 30',
    'plenum_kv_cells{model="a",state="held"} 20',
    'plenum_step_seconds_total{model="a",kind="predicted"} 0.9',
    'plenum_step_seconds_total{model="a",kind="measured"} 1',
    'plenum_steps_total{model="a"} 10',
    'plenum_step_time_ratio{model="a"} 1.1',
    'plenum_requests_waiting{model="a"} 1',
    'plenum_requests_running{model="a"} 2',
    'plenum_predicted_wait_seconds{model="a"} 0.25',
    'plenum_host_restarts_total{model="b"} 0',
    'plenum_process_resident_bytes{process="a"} 123456789',
  ]) {
    expect(page).toContain(line);
  }
  expect(page).toMatch(/plenum_process_resident_bytes\{process="front"\} \d{7,}/);
  expect(page).toContain('plenum_build_info{version="1.2.3"} 1');
});

test('a counter of a host that starts again goes on growing', async () => {
  const backend = new FixtureBackend();
  const server = fixtureServer({ backend });
  const steps = async () =>
    /plenum_steps_total\{[^}]*\} (\d+)/.exec((await server.get('/metrics')).body)?.[1];
  expect(await steps()).toBe('10');
  const report = fixtureReport();
  backend.report = { ...report, steps: { ...report.steps, count: 25 } };
  expect(await steps()).toBe('25');
  backend.report = { ...report, steps: { ...report.steps, count: 4 } };
  expect(await steps()).toBe('29');
});

test('probes are logged at debug level whatever they answer, other requests are not', async () => {
  const backend = new FixtureBackend({ models: [{ ...fixtureModel('a'), state: 'failed' }] });
  const server = fixtureServer({ backend });
  await server.get('/health');
  expect((await server.get('/ready')).statusCode).toBe(503);
  await server.get('/metrics');
  await server.get('/v1/nothing');
  const levels = server.lines.map((line) => JSON.parse(line).level);
  expect(levels).toEqual(['debug', 'debug', 'debug', 'info']);
});
