/** Judging with a model that is a script: questions, verdicts' words, parts of long texts. */
import { describe, expect, test } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import type { JudgeSubject } from '../http/backend.ts';
import { type GuardModel, judgeWith } from './guard.ts';
import { readLabels } from './guard-labels.ts';
import { guardProfileOf, isGuardFamily, type Turn } from './guard-profiles.ts';

interface Fake {
  readonly id?: string;
  readonly template?: string | null;
  /** What the rendered prompt of a model's own template says besides the messages. */
  readonly preamble?: string;
  /** Share of each word after a prompt; words that are not named get little. */
  readonly says?: (prompt: string) => Readonly<Record<string, number>>;
  readonly contextChars?: number;
  readonly labels?: readonly string[];
  readonly classify?: (text: string) => readonly number[];
  /** Text → its tokens; by default one token per text. */
  readonly tokens?: (text: string) => readonly number[];
}

function fake(options: Fake) {
  const prompts: string[] = [];
  const classified: string[] = [];
  const words = new Map<string, number>();
  const tokenOf = (word: string): number => {
    const known = words.get(word) ?? words.size + 100;
    words.set(word, known);
    return known;
  };
  const tooLong = (text: string): void => {
    if (text.length <= (options.contextChars ?? 1e9)) return;
    throw new PlenumError('context_length_exceeded', `${text.length} characters`);
  };
  const model: GuardModel = {
    traits: {
      id: options.id ?? 'any',
      description: '',
      template: options.template ?? null,
    },
    contextTokens: 100,
    labels: options.labels ?? null,
    settings: { activation: 'auto', safeLabels: null },
    tokenize: async (text) =>
      Int32Array.from(options.tokens === undefined ? [tokenOf(text)] : options.tokens(text)),
    render: ({ messages, templateArgs }) => {
      const lines = messages.map(({ role, content }: Turn) => `<${role}>${content}`);
      return [`${options.preamble ?? ''}${Object.values(templateArgs).join()}${lines.join('')}<a>`];
    },
    watch: async (segments, watch) => {
      const prompt = segments.join('');
      tooLong(prompt);
      prompts.push(prompt);
      const shares = options.says?.(prompt) ?? {};
      const byToken = new Map(Object.entries(shares).map(([word, p]) => [tokenOf(word), p]));
      const logprobs = new Map(watch.map((token) => [token, Math.log(byToken.get(token) ?? 1e-9)]));
      return { logprobs, promptTokens: 7 };
    },
    classify: async (text) => {
      tooLong(text);
      classified.push(text);
      const row = Float32Array.from(options.classify?.(text) ?? []);
      return { values: row, width: row.length, tokenCounts: [3], queueMs: 0, computeMs: 0 };
    },
  };
  return { model, prompts, classified };
}

const input = (...contents: string[]): JudgeSubject => ({
  kind: 'input',
  messages: contents.map((content) => ({ role: 'user', content })),
});

describe('Llama Guard', () => {
  const preamble = 'S1: Violent Crimes.\nS2: Hate.\n';
  const id = 'org/Llama-Guard-3-8B-GGUF:Q4';

  test('one pass decides, from the two words of the verdict alone', async () => {
    const says = () => ({ safe: 0.06, unsafe: 0.02, '0': 0.9 });
    const { model, prompts } = fake({ id, preamble, says });
    const verdict = await judgeWith(model, input('hi'), false);
    expect(verdict).toEqual({
      score: expect.closeTo(0.25),
      categories: [{ name: 'unsafe', score: expect.closeTo(0.25) }],
      promptTokens: 7,
    });
    expect(prompts).toEqual([`${preamble}<user>hi<a>\n\n`]);
  });

  test('details read the number after the letter, by the names of its own template', async () => {
    const says = (prompt: string) =>
      prompt.endsWith('unsafe\nS') ? { '1': 0.2, '2': 0.6 } : { safe: 0.2, unsafe: 0.8 };
    const { model } = fake({ id, preamble, says });
    const verdict = await judgeWith(model, input('hi'), true);
    expect(verdict.score).toBeCloseTo(0.8);
    expect(verdict.categories).toEqual([
      { name: 'violent_crimes', score: expect.closeTo(0.2) },
      { name: 'hate', score: expect.closeTo(0.6) },
    ]);
    expect(verdict.promptTokens).toBe(14);
  });

  test('numbers that begin with the same token give no categories, only the verdict', async () => {
    const { model } = fake({
      id,
      says: () => ({ safe: 0.5, unsafe: 0.5 }),
      tokens: (text) => [text === 'safe' ? 100 : text === 'unsafe' ? 101 : text.charCodeAt(0)],
    });
    const verdict = await judgeWith(model, input('hi'), true);
    expect(verdict.categories.map(({ name }) => name)).toEqual(['unsafe']);
  });

  test('an answer is judged as the last turn of an alternating conversation', async () => {
    const { model, prompts } = fake({ id, says: () => ({ safe: 1 }) });
    const messages = [
      { role: 'system', content: 'be kind' },
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
    ];
    await judgeWith(model, { kind: 'output', messages, answer: 'four', freshFrom: 0 }, false);
    await judgeWith(model, { kind: 'input', messages }, false);
    expect(prompts).toEqual([
      '<user>be kind\n\none<assistant>two<user>three<assistant>four<a>\n\n',
      '<user>be kind\n\none<assistant>two<user>three<a>\n\n',
    ]);
  });
});

describe('other families', () => {
  test('Qwen3Guard: controversial counts half', async () => {
    const { model, prompts } = fake({
      id: 'Qwen3Guard-Gen-0.6B',
      says: (prompt) =>
        prompt.endsWith('Categories:')
          ? { ' Violent': 0.5, ' PII': 0.5 }
          : { ' Safe': 0.5, ' Unsafe': 0.3, ' Controversial': 0.2 },
    });
    const verdict = await judgeWith(model, input('x'), true);
    expect(verdict.score).toBeCloseTo(0.4);
    expect(prompts[0]).toMatch(/<a>Safety:$/);
    expect(prompts[1]).toMatch(/<a>Safety: Unsafe\nCategories:$/);
    const violent = verdict.categories.find(({ name }) => name === 'violent');
    expect(violent?.score).toBeCloseTo(0.2);
  });

  test('ShieldGemma: a policy a question; its own template gets the policy', async () => {
    const says = (prompt: string) => (prompt.includes('hate') ? { Yes: 0.7, No: 0.3 } : { No: 1 });
    const own = fake({ id: 'shieldgemma-2b', template: '{{ guideline }}', says });
    const verdict = await judgeWith(own.model, input('x'), false);
    expect(verdict.score).toBeCloseTo(0.7);
    expect(verdict.categories.map(({ name }) => name)).toContain('hate_speech');
    expect(own.prompts.every((prompt) => prompt.endsWith('<user>x<a>'))).toBe(true);
    const other = fake({ id: 'shieldgemma-2b', template: 'none', says });
    await judgeWith(other.model, input('x'), false);
    expect(other.prompts[0]).toContain('break the policy?');
  });

  test('any model: spellings of one answer are added up', async () => {
    const { model } = fake({ says: () => ({ Yes: 0.2, yes: 0.1, ' No': 0.1 }) });
    const verdict = await judgeWith(model, input('x'), false);
    expect(verdict.score).toBeCloseTo(0.75);
  });

  test('words that cannot be told apart are an error, not a verdict', async () => {
    const { model } = fake({ tokens: () => [5] });
    const judged = judgeWith(model, input('x'), false);
    await expect(judged).rejects.toMatchObject({ code: 'model_unsupported' });
  });

  test.each([
    ['meta/Llama-Guard-3-1B', 'llama-guard', true],
    ['google/shieldgemma-2b', 'shieldgemma', true],
    ['Qwen/Qwen3Guard-Gen-4B', 'qwen3-guard', true],
    ['org/safeguard-llama', 'instructed', false],
    ['starter', 'instructed', false],
  ])('%s is of %s', (id, name, family) => {
    const traits = { id, description: '', template: null };
    expect(guardProfileOf(traits).name).toBe(name);
    expect(isGuardFamily(traits)).toBe(family);
  });
});

describe('texts that are too long', () => {
  test('first the history goes, then the last message is cut; the worst part counts', async () => {
    const says = (prompt: string) => (prompt.includes('poison') ? { Yes: 1 } : { No: 1 });
    const id = 'any';
    const long = `${'word '.repeat(400)}poison ${'word '.repeat(400)}`;
    const { model, prompts } = fake({ id, says, contextChars: 1200 });
    const old = await judgeWith(model, input('x'.repeat(3000), 'short poison'), false);
    expect(old.score).toBeCloseTo(1);
    prompts.length = 0;
    const parts = await judgeWith(model, input(long), false);
    expect(parts.score).toBeCloseTo(1);
    expect(prompts.length).toBeGreaterThan(3);
    expect(parts.promptTokens).toBe(7 * prompts.length);
    const words = prompts.join(' ').match(/word/g)?.length ?? 0;
    expect(words).toBeGreaterThanOrEqual(800);
  });

  test('a guard whose context holds nothing says so', async () => {
    const { model } = fake({ contextChars: 10 });
    const judged = judgeWith(model, input('x'.repeat(500)), false);
    await expect(judged).rejects.toMatchObject({ code: 'context_length_exceeded' });
  });
});

describe('classifiers', () => {
  const labels = ['safe', 'toxic', 'spam'];

  test('the last message is judged by itself, what came before together', async () => {
    const classify = (text: string) => (text.includes('bad') ? [0, 5, 0] : [5, 0, 0]);
    const { model, classified } = fake({ labels, classify });
    const messages = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'bad but not the user’s' },
      { role: 'user', content: 'two' },
      { role: 'user', content: 'three' },
    ];
    const verdict = await judgeWith(model, { kind: 'input', messages }, false);
    expect(classified).toEqual(['one\n\ntwo', 'three']);
    expect(verdict.score).toBeLessThan(0.1);
    expect(verdict.promptTokens).toBe(6);
    expect((await judgeWith(model, input('bad'), false)).score).toBeGreaterThan(0.9);
  });

  test('of a stream the fresh text is judged, with a little of what came before', async () => {
    const { model, classified } = fake({ labels, classify: () => [5, 0, 0] });
    const answer = 'x'.repeat(1000);
    await judgeWith(model, { kind: 'output', messages: [], answer, freshFrom: 900 }, false);
    expect(classified.map(({ length }) => length)).toEqual([500]);
  });

  test('long texts are judged in parts', async () => {
    const classify = (text: string) => (text.includes('bad') ? [0, 5, 0] : [5, 0, 0]);
    const { model, classified } = fake({ labels, classify, contextChars: 300 });
    const text = `${'fine '.repeat(300)}bad`;
    expect((await judgeWith(model, input(text), false)).score).toBeGreaterThan(0.9);
    expect(classified.length).toBeGreaterThan(4);
  });

  test('nothing said is nothing to judge', async () => {
    const { model } = fake({ labels, classify: () => [] });
    expect(await judgeWith(model, input('', '  '), false)).toMatchObject({ score: 0 });
  });

  const auto = { activation: 'auto', safeLabels: null } as const;
  test('a harmless label means shares of one; without, each label stands for itself', () => {
    const shares = readLabels(Float32Array.of(0, 0, 0), labels, auto);
    expect(shares.score).toBeCloseTo(2 / 3);
    expect(shares.categories.map(({ name }) => name)).toEqual(['toxic', 'spam']);
    const each = readLabels(Float32Array.of(0, 2), ['toxic', 'obscene'], auto);
    expect(each.categories[0]?.score).toBeCloseTo(0.5);
    expect(each.score).toBeCloseTo(1 / (1 + Math.exp(-2)));
  });

  test.each([
    [['non-toxic', 'toxic'], ['toxic']],
    [['not_hate', 'hate'], ['hate']],
    [['LABEL_0', 'LABEL_1'], ['LABEL_1']],
    [
      ['neutral', 'hate', 'offensive'],
      ['hate', 'offensive'],
    ],
  ])('of %j harm is %j', (all, harmful) => {
    const { categories } = readLabels(new Float32Array(all.length), all, auto);
    expect(categories.map(({ name }) => name)).toEqual(harmful);
  });

  test('settings go before names; a row that does not fit is refused', () => {
    const settings = { activation: 'sigmoid', safeLabels: ['b'] } as const;
    const { categories } = readLabels(Float32Array.of(0, 0), ['safe', 'b'], settings);
    expect(categories).toEqual([{ name: 'safe', score: 0.5 }]);
    expect(() => readLabels(Float32Array.of(0), ['a', 'b'], auto)).toThrow(/2 labels/);
    expect(() => readLabels(Float32Array.of(Number.NaN), ['a'], auto)).toThrow(PlenumError);
    expect(() => readLabels(Float32Array.of(1), ['safe'], auto)).toThrow(/means harm/);
  });
});
