/** Traces: what is read, and that a wrong line is refused with its number and the reason. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseTrace } from './trace.ts';
import { tokenAt } from './virtual-engine.ts';

const good = '{"at": 10, "prompt_tokens": 5, "output_tokens": 2}';

describe('a trace of lines', () => {
  it('has times from its first arrival, in milliseconds', () => {
    const { shapes, atMs, tokens } = parseTrace(`${good}\n\n${good.replace('10', '10.5')}\n`, 't');
    expect(atMs).toEqual([0, 500]);
    expect(shapes.map(({ promptTokens }) => promptTokens)).toEqual([5, 5]);
    expect(tokens).toBe('counted');
  });

  it('is what docs/planning.md shows', () => {
    const page = readFileSync(new URL('../../docs/planning.md', import.meta.url), 'utf8');
    const example = /```json\n(\{.*\})\n```/.exec(page)?.[1] ?? '';
    expect(parseTrace(example, 'docs/planning.md').shapes).toHaveLength(1);
  });

  it('may have lengths only', () => {
    expect(parseTrace('{"prompt_tokens": 5, "output_tokens": 2}', 't').atMs).toBeNull();
  });

  it('shares prefixes and conversations by name, and nothing else', () => {
    const line = (more: string): string => `{"prompt_tokens": 9, "output_tokens": 2${more}}`;
    const text = [
      line(', "prefix": "s", "prefix_tokens": 4'),
      line(', "prefix": "s", "prefix_tokens": 4'),
      line(', "conversation": "c"'),
      line(', "conversation": "c"'),
    ].join('\n');
    const { shapes } = parseTrace(text, 't');
    const tokens = shapes.map((shape) => [0, 3, 4, 8].map((at) => tokenAt(shape, at)));
    const [a = [], b = [], c = [], d = []] = tokens;
    expect(a.slice(0, 2)).toEqual(b.slice(0, 2));
    expect(a.slice(2)).not.toEqual(b.slice(2));
    expect(c).toEqual(d);
    expect(c[0]).not.toBe(a[0]);
  });

  it.each([
    ['{"at": 1', /line 2: it is no JSON/],
    ['{"at": 1, "prompt_tokens": 5}', /line 2: output_tokens: /],
    ['{"at": 1, "prompt_tokens": 0, "output_tokens": 1}', /line 2: prompt_tokens: .*>=1/],
    ['{"at": 11, "prompt_tokens": 5, "output_tokens": 1, "model": "x"}', /line 2: .*"model"/],
    ['{"at": 9, "prompt_tokens": 5, "output_tokens": 1}', /line 2: at is 9, before the 10 above/],
    ['{"prompt_tokens": 5, "output_tokens": 1}', /gives 'at' in 1 of 2 lines/],
    ['{"at":11,"prompt_tokens":5,"output_tokens":1,"prefix":"a"}', /belong together/],
    [
      '{"at":11,"prompt_tokens":5,"output_tokens":1,"prefix":"a","prefix_tokens":6}',
      /prefix_tokens is 6, more than the 5/,
    ],
  ])('refuses %s', (line, message) => {
    expect(() => parseTrace(`${good}\n${line}`, 'day.jsonl')).toThrow(message);
    expect(() => parseTrace(`${good}\n${line}`, 'day.jsonl')).toThrow(/The trace day.jsonl/);
  });

  it('refuses an empty one', () => {
    expect(() => parseTrace('\n', 't')).toThrow(/has no request/);
  });
});

describe('a trace of conversations', () => {
  const say = (from: string, length: number) => ({ from, value: 'x'.repeat(length) });
  const talk = { id: 'a', conversations: [say('human', 40), say('gpt', 80), say('human', 4)] };

  it('makes each reply a request with all that was said before', () => {
    const longer = { conversations: [...talk.conversations, say('gpt', 8)] };
    const { shapes, tokens } = parseTrace(JSON.stringify([longer, talk]), 't');
    const lengths = shapes.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens]);
    // First replies first, then the second one, in the same conversation as the first.
    expect(lengths).toEqual([
      [10, 20],
      [10, 20],
      [31, 2],
    ]);
    expect(shapes[2]?.conversation).toBe(shapes[0]?.conversation);
    expect(tokens).toBe('estimated');
  });

  it('refuses what is none', () => {
    expect(() => parseTrace('[{"text": 1}]', 't')).toThrow(/no list of conversations: 0\./);
    expect(() => parseTrace('[{', 't')).toThrow(/begins like a JSON array and is none/);
  });
});
