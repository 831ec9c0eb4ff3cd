/** What dies, hangs or is refused, as a client and an operator see it from outside. */
import { APIError, AuthenticationError, InternalServerError } from 'openai';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  configuration,
  isAlive,
  type LaunchOptions,
  startServer,
  stopAll,
  type TestServer,
  until,
} from './server.ts';

vi.setConfig({ testTimeout: 60_000 });
afterAll(stopAll);

const POLL = { timeout: 30_000, interval: 20 };
const chat = (model: string, tokens: number) => ({
  model,
  messages: [{ role: 'user' as const, content: `of the ${model}` }],
  temperature: 0,
  ignore_eos: true,
  max_completion_tokens: tokens,
});

/** A stream whose text so far can be looked at while it goes on. */
interface Watched {
  text: string;
  /** What the iteration threw; null when it ended well. */
  readonly ended: Promise<unknown>;
}

async function watch(server: TestServer, model: string, tokens: number): Promise<Watched> {
  const stream = await server
    .client()
    .chat.completions.create({ ...chat(model, tokens), stream: true });
  const read = async (): Promise<unknown> => {
    try {
      for await (const chunk of stream) watched.text += chunk.choices[0]?.delta.content ?? '';
      return null;
    } catch (error) {
      return error;
    }
  };
  const watched: Watched = { text: '', ended: Promise.resolve().then(read) };
  return watched;
}

async function whole(server: TestServer, model: string, tokens: number): Promise<string> {
  const reply = await server.client().chat.completions.create(chat(model, tokens));
  return reply.choices[0]?.message.content ?? '';
}

async function start(args: readonly string[], options?: LaunchOptions): Promise<TestServer> {
  const server = await startServer(args, options);
  onTestFinished(() => server.stop());
  return server;
}

const modelState = async (server: TestServer, model: string) =>
  (await server.ready()).models.find((entry) => entry.id === model);

/** Of three models: `a` and `b` do well, `frozen` is stopped by the first test and comes back. */
let server: TestServer;
let frozen: { pid: number; stream: Watched };

beforeAll(async () => {
  const model = (id: string, reference: string) => `  - { id: ${id}, model: "${reference}" }\n`;
  const slow = 'sim:fixed_ms=10';
  const yaml = `models:\n${model('a', slow)}${model('b', slow)}${model('frozen', slow)}`;
  server = await startServer(await configuration(yaml));
  // The watchdog takes its time: the model freezes now, and the last test looks at the outcome.
  const [pid = 0] = server.launched.hostPids('frozen');
  const stream = await watch(server, 'frozen', 2000);
  await until('it streams', server.launched, () => stream.text !== '');
  process.kill(pid, 'SIGSTOP');
  frozen = { pid, stream };
});

describe('the host of a model', () => {
  it('is killed in mid-stream: its client learns, the others go on, it comes back', async () => {
    const expected = await whole(server, 'b', 100);
    const [dying, living] = await Promise.all([watch(server, 'a', 2000), watch(server, 'b', 100)]);
    const waiting = server.client().chat.completions.create(chat('a', 2000));
    const refused = expect(waiting).rejects.toThrow(InternalServerError);
    await expect.poll(() => dying.text, POLL).not.toBe('');
    const running = () => server.metric('plenum_requests_running', { model: 'a' });
    await expect.poll(running, POLL).toBe(2);
    const [pid = 0] = server.launched.hostPids('a');
    process.kill(pid, 'SIGKILL');
    const error = await dying.ended;
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: 'host_crashed', type: 'server_error' });
    expect(String(error)).toContain('SIGKILL');
    await refused;
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    await expect
      .poll(() => modelState(server, 'a'), POLL)
      .toMatchObject({ state: 'ready', restarts: 1, reason: null });
    expect(server.launched.hostPids('a').length).toBe(2);
    expect(isAlive(pid)).toBe(false);
    expect(await whole(server, 'a', 5)).not.toBe('');
    expect(await living.ended).toBeNull();
    expect(living.text).toBe(expected);
    expect(await modelState(server, 'b')).toMatchObject({ restarts: 0 });
    expect(await server.metric('plenum_host_restarts_total', { model: 'a' })).toBe(1);
  });

  it('crashes again and again: it is tried ever later, and /ready says why', async () => {
    const crashing = await start(['sim:crash_at_step=1']);
    const reasons: string[] = [];
    for (let crash = 1; crash <= 3; crash++) {
      await expect
        .poll(() => modelState(crashing, 'sim'), POLL)
        .toMatchObject({ state: 'ready', restarts: crash - 1 });
      await expect(whole(crashing, 'sim', 5)).rejects.toMatchObject({ code: 'host_crashed' });
      reasons.push((await modelState(crashing, 'sim'))?.reason ?? '');
    }
    expect(reasons[2]).toMatch(/died.*SIGABRT.*; 3 crashes in a row, next try in/);
    const reply = await crashing.post('/v1/chat/completions', chat('sim', 5));
    expect(reply.status).toBe(503);
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await reply.json()).toMatchObject({ error: { code: 'model_unavailable' } });
    const ready = await fetch(`${crashing.url}/ready`);
    expect(ready.status).toBe(503);
    expect((await fetch(`${crashing.url}/health`)).status).toBe(200);
    const waits = crashing.launched.log('host died').map((line) => line.retryMs);
    expect(waits).toEqual([0, 500, 1000]);
  });

  it('reports an engine error: the stream ends with it, and the model recovers', async () => {
    const failing = await start(['sim:fail_at_step=4']);
    const stream = await watch(failing, 'sim', 50);
    const error = await stream.ended;
    expect(stream.text).not.toBe('');
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: 'engine_failed' });
    expect(String(error)).toContain('simulated failure at step 4');
    // Who comes while the failed host is still on its way out waits for the next one.
    const next = await failing.post('/v1/chat/completions', chat('sim', 2));
    expect(next.status).toBe(200);
    expect(await modelState(failing, 'sim')).toMatchObject({ state: 'ready', restarts: 1 });
  });

  it('hangs in a step: clients may leave, probes answer, SIGTERM ends it in its time', async () => {
    const hanging = await start(['sim:hang_at_step=3', '--drain-ms', '300']);
    const streaming = await watch(hanging, 'sim', 50);
    const waiting = expect(whole(hanging, 'sim', 50)).rejects.toThrow(APIError);
    expect((await fetch(`${hanging.url}/health`)).status).toBe(200);
    expect((await hanging.ready()).status).toBe('ready');
    const controller = new AbortController();
    const pending = hanging
      .client()
      .chat.completions.create(chat('sim', 5), { signal: controller.signal });
    const aborted = expect(pending).rejects.toThrow(/abort/i);
    controller.abort();
    await aborted;
    hanging.launched.kill('SIGTERM');
    expect(await streaming.ended).toBeInstanceOf(APIError);
    await waiting;
    expect(await hanging.launched.exited).toEqual({ code: 0, signal: null });
  });
});

describe('the front process', () => {
  it('is killed: no host stays behind', async () => {
    const killed = await start(['sim:fixed_ms=10']);
    const stream = await watch(killed, 'sim', 2000);
    await expect.poll(() => stream.text, POLL).not.toBe('');
    const [pid = 0] = killed.launched.hostPids();
    expect(isAlive(pid)).toBe(true);
    killed.launched.kill('SIGKILL');
    expect(await stream.ended).not.toBeNull();
    await expect.poll(() => isAlive(pid), POLL).toBe(false);
  });

  it('drains on SIGTERM: what runs finishes, what is new is refused, the code is 0', async () => {
    const draining = await start(['sim:fixed_ms=10']);
    const expected = await whole(draining, 'sim', 100);
    const stream = await watch(draining, 'sim', 100);
    await expect.poll(() => stream.text, POLL).not.toBe('');
    draining.launched.kill('SIGTERM');
    await expect.poll(() => draining.launched.log('draining').length, POLL).toBe(1);
    const refused = await draining.post('/v1/chat/completions', chat('sim', 5));
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect(await refused.json()).toMatchObject({ error: { code: 'draining' } });
    expect((await draining.ready()).status).toBe('draining');
    expect(await stream.ended).toBeNull();
    expect(stream.text).toBe(expected);
    expect(await draining.launched.exited).toEqual({ code: 0, signal: null });
    expect(draining.launched.hostPids().filter(isAlive)).toEqual([]);
  });

  it('drains a long text that is being tokenised', async () => {
    const draining = await start(['synthetic:tiny']);
    const content = 'hello world '.repeat(60_000);
    const reply = draining.post('/tokenize', { model: 'synthetic-tiny', content });
    await new Promise((resolve) => setTimeout(resolve, 100));
    draining.launched.kill('SIGTERM');
    const { status } = await reply;
    const body = (await (await reply).json()) as { tokens?: unknown[]; error?: { code: string } };
    // On a slow machine the text may not have reached the host by then.
    if (status === 503) expect(body).toMatchObject({ error: { code: 'draining' } });
    else expect([status, body.tokens?.length]).toEqual([200, 420_001]);
    expect(await draining.launched.exited).toEqual({ code: 0, signal: null });
  });

  it('ends at once at a second SIGINT, its host too', async () => {
    const impatient = await start(['sim:fixed_ms=10']);
    const stream = await watch(impatient, 'sim', 2000);
    await expect.poll(() => stream.text, POLL).not.toBe('');
    impatient.launched.kill('SIGINT');
    await expect.poll(() => impatient.launched.log('draining').length, POLL).toBe(1);
    expect(impatient.launched.hasExited).toBe(false);
    impatient.launched.kill('SIGINT');
    expect(await impatient.launched.exited).toEqual({ code: 130, signal: null });
    expect(await stream.ended).not.toBeNull();
    await expect.poll(() => impatient.launched.hostPids().filter(isAlive), POLL).toEqual([]);
  });

  it('with a key answers nobody else', async () => {
    const env = { PLENUM_API_KEY: 'right-key-17' };
    const guarded = await start(['sim:', '--host', '0.0.0.0'], { env });
    const ask = (key: string) => guarded.client(key).chat.completions.create(chat('sim', 2));
    await expect(ask('wrong-key-17')).rejects.toThrow(AuthenticationError);
    const absent = await guarded.post('/v1/chat/completions', chat('sim', 2));
    expect(absent.status).toBe(401);
    expect(await absent.json()).toMatchObject({ error: { code: 'invalid_api_key' } });
    expect((await fetch(`${guarded.url}/metrics`)).status).toBe(401);
    expect((await fetch(`${guarded.url}/health`)).status).toBe(200);
    expect((await ask('right-key-17')).choices.length).toBe(1);
    expect(guarded.launched.output).not.toContain('right-key-17');
  });
});

it('a host that is silent counts as hung: it is ended and another one serves', async () => {
  const error = await frozen.stream.ended;
  expect(error).toBeInstanceOf(APIError);
  expect(error).toMatchObject({ code: 'host_crashed' });
  await expect
    .poll(async () => modelState(server, 'frozen'), POLL)
    .toMatchObject({ state: 'ready', restarts: 1 });
  expect(isAlive(frozen.pid)).toBe(false);
  expect(await whole(server, 'frozen', 3)).not.toBe('');
});
