/** The load: what is sent, when, and that the same seed sends the same. */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../base/prng.ts';
import { SCENARIOS } from '../result.ts';
import { parseArrivals, poissonArrivals } from './arrivals.ts';
import { drawLength, fixed, parseLength } from './lengths.ts';
import { SCENARIO_DEFAULTS } from './scenario.ts';
import { makeText, PLAIN_STOCK, WORDS } from './text.ts';
import { parseTrace } from './trace.ts';
import { Workload, type WorkloadOptions } from './workload.ts';

const options = (
  scenario: (typeof SCENARIOS)[number],
  more: Partial<WorkloadOptions> = {},
): WorkloadOptions => ({
  settings: { scenario, ...SCENARIO_DEFAULTS[scenario] },
  stock: PLAIN_STOCK,
  seed: 7,
  trace: null,
  dialect: { endpoint: 'chat', ignoreEos: true, includeUsage: true },
  model: 'm',
  lanes: 3,
  ...more,
});

const bodies = (workload: Workload, count = 24): string[] =>
  Array.from({ length: count }, (_, index) => workload.at(index).body);

describe('a workload', () => {
  it.each(SCENARIOS)('of %s is the same bytes for the same seed, in any order', (scenario) => {
    const forward = bodies(new Workload(options(scenario)));
    const other = new Workload(options(scenario));
    const backward = Array.from({ length: 24 }, (_, i) => other.at(23 - i).body).toReversed();
    expect(backward).toEqual(forward);
    expect(bodies(new Workload(options(scenario, { seed: 8 })))).not.toEqual(forward);
    expect(new Set(forward).size).toBe(24);
  });

  it('has the same checksum for two models, and another for another seed', () => {
    const sha = (more: Partial<WorkloadOptions>): string =>
      new Workload(options('chat', more)).sha256(null);
    expect(sha({ model: 'other' })).toBe(sha({}));
    expect(sha({ seed: 8 })).not.toBe(sha({}));
  });

  it('lets each turn of a chat begin with the whole turn before it', () => {
    const workload = new Workload(options('chat'));
    const messagesAt = (index: number): unknown[] => JSON.parse(workload.at(index).body).messages;
    for (let step = 1; step < 4; step++) {
      const before = messagesAt((step - 1) * 3 + 1);
      expect(messagesAt(step * 3 + 1).slice(0, before.length)).toEqual(before);
      expect(messagesAt(step * 3 + 1)).toHaveLength(2 * step + 1);
    }
    expect(messagesAt(4 * 3 + 1)).toHaveLength(1);
    expect(workload.at(4)).toMatchObject({ conversation: 1, turn: 1 });
  });

  it('shares what its scenario shares', () => {
    const system = (scenario: 'rag' | 'agent'): Set<string> =>
      new Set(
        bodies(new Workload(options(scenario)), 60).map((b) => JSON.parse(b).messages[0].content),
      );
    expect(system('agent').size).toBe(1);
    expect(system('rag').size).toBe(SCENARIO_DEFAULTS.rag.documents);
  });

  it('asks for vectors and ranks with as many items as it was told', () => {
    const embed = new Workload(options('embed')).at(5);
    expect(embed).toMatchObject({ path: '/v1/embeddings', kind: 'embed', items: 1 });
    const rerank = new Workload(options('rerank')).at(5);
    expect(JSON.parse(rerank.body).documents).toHaveLength(rerank.items);
  });

  it('leaves out what a target refuses', () => {
    const dialect = { endpoint: 'completions', ignoreEos: false, includeUsage: false } as const;
    const call = new Workload(options('batch', { dialect, model: null })).at(0);
    expect(call).toMatchObject({ path: '/v1/completions', kind: 'completion' });
    const keys = Object.keys(JSON.parse(call.body));
    expect(keys).toEqual(['prompt', 'max_tokens', 'temperature', 'stream']);
  });
});

describe('text', () => {
  it('has so many words as tokens were asked for', () => {
    const prng = new Prng(1);
    expect(makeText(PLAIN_STOCK, prng, 300).split(' ')).toHaveLength(300);
    expect(makeText({ ...PLAIN_STOCK, tokensPerWord: 2 }, prng, 300).split(' ')).toHaveLength(150);
    expect(WORDS.length).toBeGreaterThan(100);
    expect(new Set(WORDS).size).toBeGreaterThan(100);
  });
});

describe('lengths', () => {
  it('are fixed, or log-normal about their median and within their limits', () => {
    expect(parseLength('512', '--x')).toEqual(fixed(512));
    const spec = parseLength('lognormal:median=100,sigma=1,min=10,max=1000', '--x');
    const prng = new Prng(3);
    const drawn = Array.from({ length: 4000 }, () => drawLength(spec, prng)).toSorted(
      (a, b) => a - b,
    );
    expect(drawn[2000]).toBeGreaterThan(92);
    expect(drawn[2000]).toBeLessThan(108);
    expect(drawn[0]).toBeGreaterThanOrEqual(10);
    expect(drawn.at(-1)).toBeLessThanOrEqual(1000);
    // 16 % lie beyond one standard deviation of the logarithm.
    expect((drawn[3360] ?? 0) / 100).toBeGreaterThan(2.3);
  });

  it.each([
    ['a', /neither a number/],
    ['0', /from 1 to/],
    ['lognormal:medain=5', /did you mean median/],
    ['lognormal:sigma=1', /median is missing/],
    ['lognormal:median=5,max=2', /min ≤ median ≤ max/],
    ['lognormal:median=x', /must be a number/],
  ])('refuse %s and say what would be right', (text, message) => {
    expect(() => parseLength(text, '--prompt-tokens')).toThrow(message);
  });
});

describe('arrivals', () => {
  it('of a Poisson process come at its rate, with the spread of one', () => {
    const arrivals = poissonArrivals({ rate: 100, seed: 1, durationMs: 100_000, requests: null });
    expect(Math.abs(arrivals.length - 10_000)).toBeLessThan(400);
    const gaps = arrivals.slice(1).map((at, i) => at - (arrivals[i] ?? 0));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
    expect(Math.sqrt(variance) / mean).toBeCloseTo(1, 1);
    expect(poissonArrivals({ rate: 100, seed: 1, durationMs: null, requests: 7 })).toEqual(
      arrivals.slice(0, 7),
    );
  });

  it('are read from a file, and what is wrong there is named', () => {
    expect(parseArrivals('0\n0.5\n\n{"at": 1.25}\n', 'f')).toEqual([0, 500, 1250]);
    expect(() => parseArrivals('1\nx\n', 'f')).toThrow(/f, line 2 is not seconds/);
    expect(() => parseArrivals('2\n1\n', 'f')).toThrow(/line 2 is earlier/);
    expect(() => parseArrivals('\n', 'f')).toThrow(/no arrivals/);
  });
});

describe('a trace', () => {
  const share = {
    conversations: [
      { from: 'human', value: 'Hello' },
      { from: 'gpt', value: 'Hi there' },
      { from: 'human', value: 'Bye' },
    ],
  };

  it('is lengths, conversations or messages, in lines or in one array', () => {
    const lengths = { prompt_tokens: 9, output_tokens: 4 };
    const messages = {
      messages: [
        { role: 'system', content: 's' },
        { role: 'user', content: 'u' },
      ],
    };
    const lines = [lengths, share, messages].map((entry) => JSON.stringify(entry)).join('\n');
    const parsed = parseTrace(lines, 'f');
    expect(parseTrace(JSON.stringify([lengths, share, messages]), 'f')).toEqual(parsed);
    expect(parsed.map(({ system, turns }) => [system, turns.length])).toEqual([
      [null, 1],
      [null, 2],
      ['s', 1],
    ]);
    expect(parsed[0]?.turns[0]).toMatchObject({ promptTokens: 9, outputTokens: 4, user: null });
  });

  it('is sent as it was said, with its own replies in the history', () => {
    const trace = parseTrace(JSON.stringify(share), 'f');
    const workload = new Workload(options('chat', { trace, lanes: 1 }));
    expect(JSON.parse(workload.at(1).body)).toMatchObject({
      messages: [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'Hi there' },
        { role: 'user', content: 'Bye' },
      ],
    });
    expect(JSON.parse(workload.at(0).body).max_tokens).toBe(2);
  });

  it.each([
    ['{"a":1}', /f, line 1 has none of the forms/],
    ['{"prompt_tokens":1', /f, line 1 is not JSON/],
    ['{"conversations":[{"from":"gpt","value":"x"}]}', /no conversation/],
  ])('of %s is refused', (text, message) => {
    expect(() => parseTrace(text, 'f')).toThrow(message);
  });
});
