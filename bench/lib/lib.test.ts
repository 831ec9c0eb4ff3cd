/** The measuring instruments: a benchmark is worth what its parser and its arithmetic are. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { decodeRate, gapsMs, runStream, type StreamRun, ttftMs, wholeRate } from './load.ts';
import { MetricsPage } from './metrics.ts';
import { parseSmaps } from './processes.ts';
import { SseParser } from './sse.ts';
import { formatValues, median, pairedRatios, percentile } from './stats.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(answer: (response: ServerResponse, body: unknown) => void): Promise<string> {
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request) text += part;
    answer(response, JSON.parse(text));
  }).listen(0, '127.0.0.1');
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

const piece = (text: string): string => `data: {"choices":[{"text":${JSON.stringify(text)}}]}\n\n`;
const USAGE =
  'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,' +
  '"prompt_tokens_details":{"cached_tokens":2}}}\n\n';

describe('SseParser', () => {
  it('joins events over borders of chunks, in the middle of a character too', () => {
    const bytes = new TextEncoder().encode(
      ': hi\nevent: x\ndata: {"a":"é"}\r\n\r\ndata: b\ndata:c\n\n',
    );
    for (let cut = 0; cut <= bytes.length; cut++) {
      const parser = new SseParser();
      const events = [...parser.push(bytes.subarray(0, cut)), ...parser.push(bytes.subarray(cut))];
      expect(events).toEqual(['{"a":"é"}', 'b\nc']);
    }
  });
});

describe('runStream', () => {
  it('collects text, times and usage', async () => {
    let asked: unknown;
    const url = await serve((response, body) => {
      asked = body;
      response.end(`${piece('a')}${piece('')}${piece('b')}${USAGE}data: [DONE]\n\n`);
    });
    const run = await runStream(url, { prompt: [1, 2, 3], maxTokens: 4 });
    expect(asked).toMatchObject({
      prompt: [1, 2, 3],
      max_tokens: 4,
      stream: true,
      ignore_eos: true,
    });
    expect(run).toMatchObject({
      text: 'ab',
      promptTokens: 3,
      cachedTokens: 2,
      completionTokens: 4,
      aborted: false,
    });
    expect(run.pieceTimes).toHaveLength(2);
    expect(ttftMs(run)).toBeGreaterThan(0);
  });

  it('throws on a refusal, on an error event and on a stream that breaks off', async () => {
    const refusing = await serve((response) => response.writeHead(429).end('{"error":"full"}'));
    await expect(runStream(refusing, { prompt: [1], maxTokens: 1 })).rejects.toThrow(/429.*full/);
    const failing = await serve((response) => response.end('data: {"error":{"code":"x"}}\n\n'));
    await expect(runStream(failing, { prompt: [1], maxTokens: 1 })).rejects.toThrow(/error event/);
    const breaking = await serve((response) => response.end(piece('a')));
    await expect(runStream(breaking, { prompt: [1], maxTokens: 1 })).rejects.toThrow(/usage/);
  });

  it('ends quietly when its caller aborts it', async () => {
    const abort = new AbortController();
    const url = await serve((response) => response.write(piece('a')));
    const hooks = { signal: abort.signal, onPiece: () => abort.abort() };
    const run = await runStream(url, { prompt: [1], maxTokens: 9 }, hooks);
    expect(run).toMatchObject({ aborted: true, text: 'a', completionTokens: 1 });
  });
});

describe('the arithmetic of runs', () => {
  const run = (pieceTimes: number[], completionTokens = pieceTimes.length): StreamRun => ({
    startedAt: 0,
    pieceTimes,
    endedAt: pieceTimes.at(-1) ?? 0,
    text: '',
    promptTokens: 1,
    cachedTokens: 0,
    completionTokens,
    aborted: false,
  });

  it('counts the decode rate only while every stream produces', () => {
    const runs = [run([100, 200, 300, 400, 500]), run([300, 400, 500, 600, 700])];
    // From 300 to 500: two pieces of each.
    expect(decodeRate(runs)).toBeCloseTo(4 / 0.2);
    expect(wholeRate(runs)).toBeCloseTo(10 / 0.7);
  });

  it('counts tokens where a piece holds several', () => {
    expect(decodeRate([run([0, 100, 200], 6)])).toBeCloseTo(4 / 0.2);
  });

  it('refuses streams that never ran together', () => {
    expect(() => decodeRate([run([0, 1]), run([5, 6])])).toThrow(/did not overlap/);
  });

  it('gives the gaps that end in a window', () => {
    expect(gapsMs(run([0, 10, 30, 60]))).toEqual([10, 20, 30]);
    expect(gapsMs(run([0, 10, 30, 60]), 10, 30)).toEqual([20]);
  });

  it('takes percentiles, medians and paired ratios', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(percentile([0, 100], 0.95)).toBeCloseTo(95);
    expect(pairedRatios([2, 9], [1, 3])).toEqual([2, 3]);
    expect(formatValues([3, 1, 2])).toBe('2.0 (1.0 to 3.0)');
    expect(formatValues([])).toBe('');
  });
});

describe('what the system and the server report', () => {
  it('sums a process’s mappings by file', () => {
    const use = parseSmaps(
      [
        '55d0-55d9 r--p 00000000 fe:01 1234    /lib/libggml-base.so',
        'Rss:                 8 kB',
        'Pss:                 4 kB',
        '7f00-7f01 rw-p 00000000 00:00 0 ',
        'Rss:                16 kB',
        'Pss:                16 kB',
        '7ffc-7ffd rw-p 00000000 00:00 0   [stack]',
        'Pss:                 2 kB',
      ].join('\n'),
    );
    expect(use).toEqual({
      pssBytes: 22 * 1024,
      rssBytes: 24 * 1024,
      anonymousBytes: 18 * 1024,
      fileBytes: new Map([['/lib/libggml-base.so', 4096]]),
    });
  });

  it('sums a metric over its series and refuses one that is not there', () => {
    const page = new MetricsPage(
      '# HELP x\nx_total{model="a",kind="m"} 1.5\nx_total{model="b",kind="m"} 2\nx_total_more 9\n',
    );
    expect(page.sum('x_total', { kind: 'm' })).toBe(3.5);
    expect(page.sum('x_total', { model: 'a' })).toBe(1.5);
    expect(() => page.sum('x')).toThrow(/no metric x/);
  });
});
