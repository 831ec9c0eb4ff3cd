/** The official client against the real command and the real starter model. */
import type OpenAI from 'openai';
import { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { homeWithStarter, startServer, stopAll, type TestServer, untilIdle } from './server.ts';

const MISSING = 'the starter model could not be had';
const home = await homeWithStarter();
let server: TestServer;
let openai: OpenAI;

beforeAll(async () => {
  if (home === null) return;
  // One thread: two that spin on cores which other tests share would wait for each other.
  server = await startServer(['starter', '--threads', '1'], { home });
  openai = server.client();
}, 120_000);
beforeEach((context) => {
  if (home === null) context.skip(MISSING);
});
vi.setConfig({ testTimeout: 60_000 });
afterAll(stopAll);

type ChatExtra = Partial<OpenAI.Chat.ChatCompletionCreateParamsNonStreaming>;
const question = 'Name three things that one may find in a kitchen.';
const chatBody = (extra: ChatExtra = {}, text = question) => ({
  model: 'starter',
  messages: [{ role: 'user' as const, content: text }],
  temperature: 0,
  max_completion_tokens: 24,
  ...extra,
});
const chat = (extra: ChatExtra = {}, text = question) =>
  openai.chat.completions.create(chatBody(extra, text));
const contentOf = (reply: OpenAI.Chat.ChatCompletion, index = 0): string =>
  reply.choices[index]?.message.content ?? '';

async function tokenize(content: string, extra: object = {}): Promise<number[]> {
  const reply = await server.post('/tokenize', { content, parse_special: false, ...extra });
  const { tokens } = (await reply.json()) as { tokens: number[] };
  return tokens;
}

async function detokenize(tokens: readonly number[]): Promise<string> {
  const reply = await server.post('/detokenize', { tokens });
  const { content } = (await reply.json()) as { content: string };
  return content;
}

describe('chat', () => {
  it('answers in words, counts tokens, and the second time finds its prompt cached', async () => {
    const first = await chat();
    expect(contentOf(first)).toMatch(/[A-Za-z]{3,} [A-Za-z]{2,}/);
    expect(first.usage?.completion_tokens).toBe(24);
    expect(first.choices[0]?.finish_reason).toBe('length');
    expect(first.usage?.prompt_tokens_details?.cached_tokens).toBeLessThan(15);
    const second = await chat();
    const prompt = second.usage?.prompt_tokens ?? 0;
    // One token of the prompt is always computed: its logits choose the first of the output.
    expect(second.usage?.prompt_tokens_details?.cached_tokens).toBe(prompt - 1);
    expect(second.usage?.total_tokens).toBe(prompt + 24);
  });

  it('streams the same text, with usage in a last chunk of no choices', async () => {
    await chat();
    const whole = contentOf(await chat());
    const stream = await openai.chat.completions.create({
      ...chatBody(),
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks: OpenAI.Chat.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
    expect(text).toBe(whole);
    expect(chunks.length).toBeGreaterThan(5);
    expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant');
    expect(chunks.at(-1)?.choices).toEqual([]);
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(24);
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
  });

  it('gives log probabilities that fit the text, sum to 1 at most, best first', async () => {
    const reply = await chat({ logprobs: true, top_logprobs: 20 });
    const entries = reply.choices[0]?.logprobs?.content ?? [];
    expect(entries.length).toBe(24);
    expect(entries.map((entry) => entry.token).join('')).toBe(contentOf(reply));
    for (const entry of entries) {
      expect(entry.top_logprobs.length).toBe(20);
      expect(entry.top_logprobs[0]).toMatchObject({ token: entry.token, logprob: entry.logprob });
      const sum = entry.top_logprobs.reduce((total, top) => total + Math.exp(top.logprob), 0);
      expect(sum).toBeGreaterThan(0.2);
      expect(sum).toBeLessThan(1.0001);
      const falling = entry.top_logprobs.map((top) => top.logprob);
      expect(falling).toEqual(falling.toSorted((a, b) => b - a));
      expect(Buffer.from(entry.bytes ?? []).toString()).toBe(entry.token);
    }
  });

  it('ends before a stop string, also one across tokens, and sends no part of it', async () => {
    await chat();
    const reply = await chat({ logprobs: true });
    const whole = contentOf(reply);
    const tokens = (reply.choices[0]?.logprobs?.content ?? []).map((entry) => entry.token);
    const across = tokens
      .slice(0, -1)
      .map((token, i) => token.slice(-2) + (tokens[i + 1] ?? '').slice(0, 2));
    for (const stop of [...across.slice(3, 20).filter((_, i) => i % 8 === 0), tokens[6] ?? '']) {
      const expected = whole.slice(0, whole.indexOf(stop));
      const stopped = await chat({ stop: ['never to be seen', stop] });
      expect(contentOf(stopped), JSON.stringify(stop)).toBe(expected);
      expect(stopped.choices[0]?.finish_reason).toBe('stop');
      const stream = await openai.chat.completions.create({ ...chatBody(), stop, stream: true });
      let streamed = '';
      for await (const chunk of stream) {
        streamed += chunk.choices[0]?.delta.content ?? '';
        expect(expected.startsWith(streamed)).toBe(true);
      }
      expect(streamed).toBe(expected);
    }
  });

  it('replays a seed, and other seeds say other things', async () => {
    const with42 = { temperature: 1, seed: 42 };
    await chat(with42);
    // One after the other: in a batch, sums are rounded otherwise, and a draw may tip over.
    const one = contentOf(await chat(with42));
    const same = contentOf(await chat(with42));
    const other = contentOf(await chat({ ...with42, seed: 43 }));
    expect(one).toBe(same);
    expect(other).not.toBe(one);
  });

  it('gives n choices that differ and counts the prompt once', async () => {
    const [alone, both] = await Promise.all([chat(), chat({ n: 2, temperature: 1.2, seed: 7 })]);
    expect(both.choices.map((choice) => choice.index)).toEqual([0, 1]);
    expect(contentOf(both, 0)).not.toBe(contentOf(both, 1));
    expect(both.usage?.prompt_tokens).toBe(alone.usage?.prompt_tokens);
    expect(both.usage?.completion_tokens).toBeGreaterThan(24);
  });

  it('never shows a special token', async () => {
    const [start = -1, end = -1] = await tokenize('<|im_start|><|im_end|>', {
      parse_special: true,
    });
    const forced = await chat({ logit_bias: { [start]: 100 }, max_completion_tokens: 4 });
    expect(contentOf(forced)).toBe('');
    expect(forced.usage?.completion_tokens).toBe(4);
    expect(forced.choices[0]?.finish_reason).toBe('length');
    const ended = await chat({ logit_bias: { [end]: 100 } });
    expect(contentOf(ended)).toBe('');
    expect(ended.choices[0]?.finish_reason).toBe('stop');
    expect(await detokenize([start, ...(await tokenize('a b')), end])).toBe('a b');
  });

  it('sends characters whole, and a broken one as U+FFFD', async () => {
    const forced = async (tokens: readonly number[], count: number) => {
      const stream = await openai.chat.completions.create({
        ...chatBody({ max_completion_tokens: count }),
        logit_bias: Object.fromEntries(tokens.map((token) => [token, 100])),
        stream: true,
      });
      const texts: string[] = [];
      for await (const chunk of stream) texts.push(chunk.choices[0]?.delta.content ?? '');
      return texts.filter((text) => text !== '');
    };
    const [letter = -1, ...rest] = await tokenize('é');
    expect(rest).toEqual([]);
    expect(await forced([letter], 3)).toEqual(['é', 'é', 'é']);
    const [lead = -1, ...others] = await tokenize('𓀀');
    expect(others.length).toBeGreaterThan(0);
    expect((await forced([lead], 3)).join('')).toMatch(/^\ufffd{1,3}$/);
  });
});

describe('completions', () => {
  const create = (extra: Partial<OpenAI.CompletionCreateParamsNonStreaming>) =>
    openai.completions.create({
      model: 'starter',
      prompt: 'The capital of France is',
      temperature: 0,
      max_tokens: 4,
      ...extra,
    });

  it('echo the prompt, in any script', async () => {
    const plain = await create({});
    expect(plain.choices[0]?.text).toContain('Paris');
    expect((await create({ echo: true })).choices[0]?.text).toMatch(/^The capital of France is/);
    const prompt = 'Grüße 😀 in 日本語, 𓀀:';
    for (const logprobs of [null, 2]) {
      const echoed = await create({ prompt, echo: true, logprobs, max_tokens: 1 });
      expect(echoed.choices[0]?.text.startsWith(prompt)).toBe(true);
    }
  });

  it('score a prompt, with and without output', async () => {
    for (const max_tokens of [0, 1]) {
      const reply = await create({ echo: true, logprobs: 3, max_tokens });
      const [choice] = reply.choices;
      const { tokens = [], token_logprobs = [], text_offset = [] } = choice?.logprobs ?? {};
      const prompt = reply.usage?.prompt_tokens ?? 0;
      expect(tokens.length).toBe(prompt + max_tokens);
      expect(token_logprobs[0]).toBeNull();
      expect(token_logprobs.slice(1).every((score) => score !== null && score <= 0)).toBe(true);
      expect(tokens.join('')).toBe(choice?.text);
      expect(text_offset).toEqual(text_offset.toSorted((a, b) => a - b));
      expect(reply.usage?.completion_tokens).toBe(max_tokens);
      expect(choice?.finish_reason).toBe('length');
      if (max_tokens === 0) expect(choice?.text).toBe('The capital of France is');
      else expect(Object.keys(choice?.logprobs?.top_logprobs?.at(-1) ?? {}).length).toBe(3);
    }
  });

  it('take tokens for text, and several prompts at once', async () => {
    const tokens = await tokenize('The capital of France is', { add_special: true });
    await create({});
    const fromText = await create({});
    const fromTokens = await create({ prompt: tokens });
    expect(fromTokens.choices[0]?.text).toBe(fromText.choices[0]?.text);
    expect(fromTokens.usage?.prompt_tokens).toBe(tokens.length);
    const many = await create({ prompt: [tokens, tokens.slice(0, 3)], echo: true });
    expect(many.choices.map((choice) => choice.index)).toEqual([0, 1]);
    expect(many.choices[0]?.text).toMatch(/^The capital of France is/);
  });

  it('stream what they give whole', async () => {
    await create({});
    const whole = (await create({ echo: true })).choices[0]?.text;
    const prompt = 'The capital of France is';
    const stream = await openai.completions.create({
      ...{ model: 'starter', prompt, temperature: 0, max_tokens: 4 },
      echo: true,
      stream: true,
    });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
    expect(text).toBe(whole);
  });
});

describe('around them', () => {
  it('models are listed and retrieved', async () => {
    const ids: string[] = [];
    for await (const model of openai.models.list()) ids.push(model.id);
    expect(ids).toEqual(['starter']);
    expect(await openai.models.retrieve('starter')).toMatchObject({
      id: 'starter',
      meta: { context_tokens: 8192, chat: true, synthetic: false, state: 'ready' },
    });
    await expect(openai.models.retrieve('other')).rejects.toThrow(NotFoundError);
  });

  it.each(['', 'plain words', 'Grüße 😀 日本語', ' leading\n\n  and\ttrailing ', '<|im_end|>'])(
    'text becomes tokens and text again: %j',
    async (text) => {
      expect(await detokenize(await tokenize(text))).toBe(text);
    },
  );

  it('errors are the client’s own classes, with the numbers', async () => {
    await expect(chat({ model: 'startre' })).rejects.toThrow(NotFoundError);
    await expect(chat({ model: 'startre' })).rejects.toThrow(/starter/);
    const long = chat({}, 'word '.repeat(9000));
    await expect(long).rejects.toThrow(BadRequestError);
    await expect(long).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
    await expect(long).rejects.toThrow(/8192 tokens.*\b9\d\d\d prompt tokens \+ 24 of output/);
    await expect(chat({ max_completion_tokens: 8192 })).rejects.toThrow(/8192/);
    const tool = { type: 'function' as const, function: { name: 'f' } };
    await expect(chat({ tools: [tool] })).rejects.toMatchObject({
      status: 400,
      code: 'unsupported_parameter',
      param: 'tools',
    });
    await expect(chat({ temperature: 3 })).rejects.toMatchObject({ param: 'temperature' });
    await expect(chat({ logit_bias: { 49999: 1 } })).rejects.toMatchObject({
      status: 400,
      param: 'logit_bias',
    });
  });

  it('a stream that is aborted frees its cells', async () => {
    const endless = { ...chatBody({ max_completion_tokens: 4000 }), ignore_eos: true };
    const stream = await openai.chat.completions.create({ ...endless, stream: true });
    let chunks = 0;
    for await (const _chunk of stream) {
      chunks += 1;
      if (chunks === 5) stream.controller.abort();
    }
    await untilIdle(server);
    const states = ['free', 'cached'] as const;
    const [free = 0, cached = 0] = await Promise.all(
      states.map((state) => server.metric('plenum_kv_cells', { model: 'starter', state })),
    );
    expect(free + cached).toBe(4 * 8192);
    expect(
      await server.metric('plenum_requests_total', { outcome: 'cancelled:client_closed' }),
    ).toBe(1);
  });

  it('a request id goes in and comes out, and server-timing adds up', async () => {
    const from = performance.now();
    const { data, response } = await openai.chat.completions
      .create(chatBody(), { headers: { 'x-request-id': 'mine-17' } })
      .withResponse();
    const wallMs = performance.now() - from;
    expect(Reflect.get(data, '_request_id')).toBe('mine-17');
    expect(response.headers.get('x-request-id')).toBe('mine-17');
    expect((await chat())._request_id).toMatch(/^req-/);
    const header = response.headers.get('server-timing') ?? '';
    const ms = (name: string) => Number(new RegExp(`${name};dur=([\\d.]+)`).exec(header)?.[1]);
    expect(ms('total')).toBeLessThanOrEqual(wallMs + 1);
    expect(ms('queue') + ms('prefill') + ms('decode')).toBeLessThanOrEqual(ms('total') + 1);
    expect(ms('decode')).toBeGreaterThan(0);
    const cached = data.usage?.prompt_tokens_details?.cached_tokens;
    expect(header).toContain(`cached;desc="${cached}"`);
  });
});
