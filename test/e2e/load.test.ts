/** Many streams at once, and what happens when there are more than fit. */
import { RateLimitError } from 'openai';
import { afterAll, expect, it, onTestFinished, vi } from 'vitest';
import { startServer, stopAll, type TestServer, until, untilIdle } from './server.ts';

vi.setConfig({ testTimeout: 60_000 });
const POLL = { timeout: 30_000, interval: 20 };
afterAll(stopAll);

async function start(args: readonly string[]): Promise<TestServer> {
  const server = await startServer(args);
  onTestFinished(() => server.stop());
  return server;
}

const chat = (content: string, tokens: number) => ({
  model: 'sim',
  messages: [{ role: 'user' as const, content }],
  temperature: 0,
  ignore_eos: true,
  max_completion_tokens: tokens,
});

const STREAMS = 200;
const PROMPTS = 20;
const TOKENS = 24;

it('200 streams at once: each complete, each exactly what it is alone', async () => {
  const args = ['--parallel', '48', '--queue-max', String(STREAMS), '--context', '512'];
  const server = await start(['sim:fixed_ms=1,per_token_ms=0.01', ...args]);
  const client = server.client();
  const prompts = Array.from({ length: PROMPTS }, (_, i) => `of the ${'people '.repeat(i)}`);
  const alone: string[] = [];
  for (const prompt of prompts) {
    const reply = await client.chat.completions.create(chat(prompt, TOKENS));
    alone.push(reply.choices[0]?.message.content ?? '');
  }
  expect(new Set(alone).size).toBe(PROMPTS);
  const stream = async (index: number) => {
    const body = chat(prompts[index % PROMPTS] ?? '', TOKENS);
    const chunks = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let reason: string | null = null;
    let tokens = 0;
    for await (const chunk of chunks) {
      text += chunk.choices[0]?.delta.content ?? '';
      reason = chunk.choices[0]?.finish_reason ?? reason;
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    return { text, reason, tokens };
  };
  const replies = await Promise.all(Array.from({ length: STREAMS }, (_, i) => stream(i)));
  for (const [index, reply] of replies.entries()) {
    const text = alone[index % PROMPTS];
    expect(reply).toEqual({ text, reason: 'length', tokens: TOKENS });
  }
  expect(alone.join('')).not.toContain('\ufffd');
  expect(await server.metric('plenum_requests_total', { outcome: 'finished:length' })).toBe(
    STREAMS + PROMPTS,
  );
  await untilIdle(server);
});

it('a full queue is 429 with a time, a prompt that is too long is 400 all the same', async () => {
  const args = ['--parallel', '1', '--queue-max', '1', '--context', '4096'];
  const server = await start(['sim:fixed_ms=40', ...args]);
  const client = server.client();
  const controller = new AbortController();
  const { signal } = controller;
  const running = client.chat.completions.create(
    { ...chat('of the', 3000), stream: true },
    { signal },
  );
  await running;
  const waiting = expect(
    client.chat.completions.create(chat('and the', 3000), { signal }),
  ).rejects.toThrow(/abort/i);
  await expect.poll(async () => (await server.load()).waiting, POLL).toBe(1);
  const third = client.chat.completions.create(chat('or the', 5));
  await expect(third).rejects.toThrow(RateLimitError);
  await expect(third).rejects.toMatchObject({ code: 'queue_full', type: 'rate_limit_error' });
  const refused = await server.post('/v1/chat/completions', chat('or the', 5));
  const retryAfter = Number(refused.headers.get('retry-after'));
  // Ahead are two outputs of some 128 tokens (its first guess) at 40 ms each.
  expect(retryAfter).toBeGreaterThanOrEqual(4);
  expect(retryAfter).toBeLessThan(300);
  const long = await server.post('/v1/chat/completions', chat('of '.repeat(5000), 5));
  expect(long.status).toBe(400);
  expect(await long.json()).toMatchObject({ error: { code: 'context_length_exceeded' } });
  controller.abort();
  await waiting;
  await untilIdle(server);
  const after = await client.chat.completions.create(chat('or the', 2));
  expect(after.usage?.completion_tokens).toBe(2);
});

it('who waits longer than the limit is told so, streaming or not', async () => {
  const server = await start(['sim:fixed_ms=40', '--parallel', '1', '--wait-ms-max', '500']);
  const client = server.client();
  const running = await client.chat.completions.create({ ...chat('of the', 3000), stream: true });
  const expired = await Promise.all(
    [false, true].map((stream) =>
      server.post('/v1/chat/completions', { ...chat('and the', 5), stream }),
    ),
  );
  for (const reply of expired) {
    expect(reply.status).toBe(503);
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await reply.json()).toMatchObject({ error: { code: 'wait_expired' } });
  }
  const late = await server.post('/v1/chat/completions', {
    ...chat('for the', 5),
    deadline_ms: 100,
  });
  expect(late.status).toBe(504);
  expect(await late.json()).toMatchObject({ error: { code: 'deadline_exceeded' } });
  running.controller.abort();
  await until('all is counted', server.launched, async () => {
    const outcome = 'expired:wait_expired';
    return (await server.metric('plenum_requests_total', { outcome })) === 2;
  });
});
