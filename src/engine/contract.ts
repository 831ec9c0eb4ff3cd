/**
 * What every engine must do, as tests. Both implementations pass it, so that what is tested on
 * `sim` holds on `llama`. A case may be skipped only with a reason, which is printed.
 *
 * On floating point: a sum's last bits depend on the order of its terms, and that order changes
 * with the shape of a batch and with the kernel of each CPU. Equal contexts give logits that differ
 * by thousandths, so greedy runs may part where the two likeliest tokens are nearer than that, and
 * `expectSame` allows it only there. A wrong token in the prompt moves logits by 0.2 in the median;
 * each of 39 such prompts was told apart.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defined } from '../base/assert.ts';
import { PlenumError } from '../base/errors.ts';
import { Driver, type Finished, fill, GREEDY } from './contract-driver.ts';
import type { Engine, EngineOptions } from './port.ts';

/** Nearer is a tie: twice 4.4e-3, the largest difference of 1,152 tokens on `synthetic:tiny`. */
const TIE = 1e-2;

const CONTEXT_TOKENS = 256;
const PARALLEL = 4;
const CELLS = 1024;

export const CONTRACT_OPTIONS: EngineOptions = {
  contextTokens: CONTEXT_TOKENS,
  cells: CELLS,
  parallel: PARALLEL,
  prefixCache: true,
  onProgress: () => undefined,
};

const TEXTS = [
  'The quick brown fox jumps over the lazy dog, and the dog looks up.',
  'Once upon a time there was a machine with one shared memory.',
  'Ω≈ç√ 中文字符 emoji 😀👩‍👩‍👧 and plain words again',
  'a',
];

export interface ContractSkips {
  /** Why prefixes cannot be shared on this engine. */
  readonly sharing?: string;
  /** Why its cells cannot run out. */
  readonly shortage?: string;
}

const because = (reason?: string): string => (reason === undefined ? '' : ` (${reason})`);

/** `open` makes a fresh engine with CONTRACT_OPTIONS and steps of at least 128 tokens. */
export function describeEngineContract(
  name: string,
  open: (options: EngineOptions) => Promise<Engine>,
  skips: ContractSkips = {},
): void {
  describe(`engine contract: ${name}`, () => {
    let engine: Engine;
    let driver: Driver;
    let prompts: Int32Array[];
    beforeAll(async () => {
      engine = await open(CONTRACT_OPTIONS);
      driver = new Driver(engine);
      prompts = await Promise.all(
        TEXTS.map((text) => engine.tokenize(text, { addSpecial: true, parseSpecial: false })),
      );
    });
    afterAll(() => engine.shutdown());
    const prompt = (i: number): Int32Array => defined(prompts[i], 'prompt');
    const detokenize = (tokens: Iterable<number>): string =>
      Buffer.concat([...tokens].map((token) => engine.tokenBytes(token))).toString('utf8');

    describe('text', () => {
      const plain = { addSpecial: false, parseSpecial: false };

      it('gives any text back through tokens and bytes', async () => {
        const texts = [...TEXTS, '', ' ', '\n\n', 'tab\there', '  two  spaces  ', 'NUL\0inside'];
        for (const text of texts) {
          expect(detokenize(await engine.tokenize(text, plain))).toBe(text);
        }
      });

      it('turns lone surrogates into replacement characters', async () => {
        expect(detokenize(await engine.tokenize('a\ud800b\udc00', plain))).toBe('a\ufffdb\ufffd');
      });

      it('tokenises a long run of letters without spaces', async () => {
        const text = randomBytes(100_000).toString('hex');
        const tokens = await engine.tokenize(text, plain);
        expect(detokenize(tokens) === text).toBe(true);
      });

      it('reads control tokens only when asked to, and never shows them', async () => {
        const text = `${engine.facts.eosText}x`;
        const parsed = await engine.tokenize(text, { addSpecial: false, parseSpecial: true });
        expect(detokenize(parsed)).toBe('x');
        expect(detokenize(await engine.tokenize(text, plain))).toBe(text);
      });

      it('tokenises while a step computes', async () => {
        const running = driver.alone({ prompt: prompt(0), seq: 0, count: 12 });
        const tokens = await engine.tokenize(TEXTS[1] ?? '', plain);
        expect(detokenize(tokens)).toBe(TEXTS[1]);
        expect((await running).tokens).toHaveLength(12);
      });
    });

    describe('the same tokens, however they are computed', () => {
      const count = 24;
      const expected = (i: number): Promise<Finished> =>
        driver.alone({ prompt: prompt(i), seq: 0, count });

      it('batched as alone', async () => {
        const alone: Finished[] = [];
        for (const i of prompts.keys()) alone.push(await expected(i));
        const batched = await driver.together(
          prompts.map((p, i) => ({ prompt: p, seq: i, count, delay: 3 * i, chunk: 7 })),
        );
        for (const [i, run] of batched.entries()) expectSame(run, defined(alone[i], 'run'));
      });

      it('chunked as whole', async () => {
        for (const chunk of [1, 5, 16]) {
          const chunked = await driver.alone({ prompt: prompt(0), seq: 1, count, chunk });
          expectSame(chunked, await expected(0));
        }
      });

      it('preempted as undisturbed', async () => {
        const run = { prompt: prompt(1), seq: 2, count };
        for (const preemptAt of [1, 10]) {
          expectSame(await driver.alone({ ...run, preemptAt }), await expected(1));
        }
        expectSame(await driver.alone({ ...run, preemptAt: 5, chunk: 4 }), await expected(1));
      });

      // Skipped where an engine's memory cannot share a prefix; its test says why.
      it.skipIf(skips.sharing !== undefined)(
        `prefix-shared as unshared${because(skips.sharing)}`,
        async () => {
          expect(engine.facts.prefixSharing).not.toBe('none');
          const alone = await expected(0);
          await driver.keep({ prompt: prompt(0), seq: engine.facts.seqsMax - 1, count: 8 });
          const from = engine.facts.seqsMax - 1;
          const whole = prompt(0).length;
          // A part, almost all and a single token; two sharers at once; then the owner goes.
          const shares = [Math.floor(whole / 2), whole - 1];
          const shared = await driver.together(
            shares.map((length, i) => {
              return { prompt: prompt(0), seq: i, count, share: { from, count: length } };
            }),
          );
          for (const run of shared) expectSame(run, alone);
          const one = { prompt: prompt(0), seq: 2, count, share: { from, count: 1 } };
          expectSame(await driver.alone(one), alone);
          await driver.release([from]);
          expectSame(await expected(0), alone);
        },
      );
    });

    describe('sampling', () => {
      const tokensOf = async (sampling: Finished | Promise<Finished>): Promise<string> =>
        (await sampling).tokens.join(' ');
      const run = (sampling: object, more: object = {}): Promise<Finished> =>
        driver.alone({
          prompt: prompt(1),
          seq: 0,
          count: 20,
          sampling: { ignoreEos: true, logprobs: null, temperature: 1, ...sampling },
          ...more,
        });

      it('replays a seed, also after a preemption, and differs between seeds', async () => {
        const first = await tokensOf(run({ seed: 7 }));
        expect(await tokensOf(run({ seed: 7 }))).toBe(first);
        expect(await tokensOf(run({ seed: 7 }, { preemptAt: 6 }))).toBe(first);
        expect(await tokensOf(run({ seed: 7 }, { chunk: 3 }))).toBe(first);
        expect(await tokensOf(run({ seed: 8 }))).not.toBe(first);
      });

      it('takes any whole number as a seed and treats each as one', async () => {
        for (const seed of [0, -1, 2 ** 32 - 1, 2 ** 53 - 1]) {
          expect(await tokensOf(run({ seed }))).toBe(await tokensOf(run({ seed })));
        }
      });

      it('draws at random without a seed', async () => {
        expect(await tokensOf(run({ seed: null }))).not.toBe(await tokensOf(run({ seed: null })));
      });

      it('is greedy when only one token is left to choose', async () => {
        const greedy = await tokensOf(run({ temperature: 0 }));
        expect(await tokensOf(run({ topK: 1 }))).toBe(greedy);
        expect(await tokensOf(run({ topP: 1e-9 }))).toBe(greedy);
        expect(await tokensOf(run({ minP: 1 }))).toBe(greedy);
        expect(await tokensOf(run({ temperature: 1e-4 }))).toBe(greedy);
      });

      it('bans and forces tokens by bias', async () => {
        const greedy = await run({ temperature: 0 });
        const first = defined(greedy.tokens[0], 'token');
        const banned = await run({ temperature: 0, logitBias: [[first, -100]] });
        expect(banned.tokens).not.toContain(first);
        const other = defined(banned.tokens[3], 'token');
        const forced = await run({ temperature: 0, logitBias: [[other, 100]] });
        expect(new Set(forced.tokens)).toEqual(new Set([other]));
      });

      it('refuses a bias for a token that the model does not have', () => {
        const logitBias = [[engine.facts.vocabSize, 1]] as const;
        expect(() => driver.open(prompt(0), { logitBias })).toThrow(PlenumError);
      });

      it('penalises what was generated, and by repeat penalty also the prompt', async () => {
        const greedy = await run({ temperature: 0 }, { count: 60 });
        const repeats = (finished: Finished): number => 60 - new Set(finished.tokens).size;
        expect(repeats(greedy)).toBeGreaterThan(0);
        for (const penalty of [{ presencePenalty: 2 }, { frequencyPenalty: 2 }]) {
          const other = await run({ temperature: 0, ...penalty }, { count: 60 });
          expect(repeats(other)).toBeLessThan(repeats(greedy));
          expect(other.tokens[0]).toBe(greedy.tokens[0]);
        }
        const longer = Int32Array.from([...prompt(1), ...greedy.tokens.slice(0, 20)]);
        const next = defined(greedy.tokens[20], 'token');
        const seen = Int32Array.from([next, ...longer]);
        const sampling = { ...GREEDY, repeatPenalty: 1e6, repeatLastN: -1 };
        const avoided = await driver.alone({ prompt: seen, seq: 0, count: 1, sampling });
        expect([...seen]).not.toContain(avoided.tokens[0]);
      });

      it('ends at an end-of-generation token unless told to ignore it', async () => {
        const eos = await engine.tokenize(engine.facts.eosText, {
          addSpecial: false,
          parseSpecial: true,
        });
        const logitBias = [[defined(eos[0], 'eos'), 100]] as const;
        const ends = await run({ temperature: 0, logitBias, ignoreEos: false }, { count: 1 });
        expect(ends.samples[0]?.endOfGeneration).toBe(true);
        const ignored = await run({ temperature: 0, logitBias, ignoreEos: true });
        expect(ignored.samples.some((sample) => sample.endOfGeneration)).toBe(false);
        expect(ignored.tokens).not.toContain(eos[0]);
      });
    });

    describe('log probabilities', () => {
      it('of all tokens sum to one, and the greedy token is the likeliest', async () => {
        const sampling = { temperature: 0, ignoreEos: false, logprobs: 20 };
        const { samples } = await driver.alone({ prompt: prompt(0), seq: 0, count: 8, sampling });
        for (const { token, logprob } of samples) {
          const { top: best, logprob: own } = defined(logprob, 'logprob');
          expect(best).toHaveLength(20);
          expect(best[0]?.token).toBe(token);
          expect(best[0]?.logprob).toBeCloseTo(own, 5);
          const sum = best.reduce((total, entry) => total + Math.exp(entry.logprob), 0);
          expect(sum).toBeGreaterThan(0);
          expect(sum).toBeLessThan(1 + 1e-4);
          for (const [i, entry] of best.slice(1).entries()) {
            expect(entry.logprob).toBeLessThanOrEqual(defined(best[i], 'entry').logprob);
          }
        }
      });

      it('do not depend on bias, penalties or temperature', async () => {
        const logitBias = [[5, -100]] as const;
        const sampling = { temperature: 1.5, seed: 3, logitBias, repeatPenalty: 1.3 };
        const other = await driver.alone({ prompt: prompt(0), seq: 0, count: 1, sampling });
        const greedy = await driver.alone({ prompt: prompt(0), seq: 0, count: 1 });
        const best = (run: Finished) => run.samples[0]?.logprob?.top[0];
        expect(best(other)?.token).toBe(best(greedy)?.token);
        expect(best(other)?.logprob).toBeCloseTo(best(greedy)?.logprob ?? 0, 3);
      });

      it('are absent when not asked for', async () => {
        const sampling = { logprobs: null };
        const { samples } = await driver.alone({ prompt: prompt(0), seq: 0, count: 2, sampling });
        expect(samples.map(({ logprob }) => logprob)).toEqual([null, null]);
      });

      it('score every token of a prompt but the first, however it is cut', async () => {
        const whole = prompt(0).length;
        for (const chunk of [whole, 5, 1]) {
          const run = { prompt: prompt(0), seq: 0, count: 2, scorePrompt: true, chunk };
          const { scores, samples, tokens } = await driver.alone(run);
          expect(scores.map(({ start }) => start).slice(0, 2)).toEqual(
            chunk === whole ? [0, whole] : [0, chunk],
          );
          const scored = scores.flatMap((part) => part.scores);
          expect(scored.map(({ token }) => token)).toEqual([...prompt(0).subarray(1)]);
          for (const { logprob, top } of scored) {
            expect(logprob).toBeLessThanOrEqual(defined(top[0], 'top').logprob);
          }
          expect(samples).toHaveLength(2);
          expect(tokens).toEqual((await driver.alone({ ...run, scorePrompt: false })).tokens);
        }
      });

      it('of a prompt are those of the same tokens when they are generated', async () => {
        const generated = await driver.alone({ prompt: prompt(3), seq: 0, count: 6 });
        const scored = await driver.alone({
          prompt: Int32Array.from([...prompt(3), ...generated.tokens]),
          seq: 0,
          count: 1,
          scorePrompt: true,
        });
        const scores = scored.scores.flatMap((part) => part.scores).slice(prompt(3).length - 1);
        for (const [i, { logprob }] of scores.entries()) {
          expect(logprob).toBeCloseTo(generated.samples[i]?.logprob?.logprob ?? 0, 2);
        }
      });
    });

    // Skipped where they cannot run out; its name says why.
    describe.skipIf(skips.shortage !== undefined)(`cells${because(skips.shortage)}`, () => {
      it('that do not suffice leave the cache as it was', async () => {
        const undisturbed = await driver.alone({ prompt: prompt(0), seq: 0, count: 10 });
        const key = driver.open(prompt(0));
        const slice = {
          request: key,
          seq: 0,
          start: 0,
          tokens: prompt(0),
          output: 'last',
        } as const;
        expect((await driver.step([slice])).kind).toBe('done');
        const fillers = await fill(driver);
        const more = Int32Array.from({ length: CONTEXT_TOKENS - 1 }, () => prompt(1)[0] ?? 0);
        const filler = driver.open(more);
        const rest = { request: filler, seq: 9, start: 0, tokens: more, output: 'last' } as const;
        const next = Int32Array.of(undisturbed.tokens[0] ?? 0);
        const own = { ...slice, start: prompt(0).length, tokens: next };
        expect(await driver.step([rest, own])).toEqual({ kind: 'no_cells' });
        expect(await driver.step([rest, own])).toEqual({ kind: 'no_cells' });
        await driver.release(fillers);
        const result = await driver.step([own]);
        expect(result.kind === 'done' && result.samples[0]?.token).toBe(undisturbed.tokens[1]);
        engine.close(key);
        engine.close(filler);
        await driver.release([0]);
      });

      it('are all free again afterwards', async () => {
        const fillers = await fill(driver);
        await driver.release(fillers);
      });
    });

    it('states facts that fit together', () => {
      const { facts } = engine;
      expect(facts.seqsMax).toBeGreaterThanOrEqual(PARALLEL);
      expect(facts.cells).toBeGreaterThanOrEqual(CELLS);
      expect(facts.contextTokens).toBe(CONTEXT_TOKENS);
      expect(facts.guess.fixedMs + facts.guess.perTokenMs).toBeGreaterThanOrEqual(0);
      const stats = engine.stats();
      for (const bytes of Object.values(stats)) expect(bytes).toBeGreaterThanOrEqual(0);
      expect(stats.kvBytes).toBeGreaterThan(0);
    });

    it('refuses a slice that does not start where its sequence ends', async () => {
      const other = await open(CONTRACT_OPTIONS);
      const stray = new Driver(other);
      const request = stray.open(prompt(0));
      const slice = { request, seq: 0, start: 3, tokens: prompt(0), output: 'last' } as const;
      await expect(stray.step([slice])).rejects.toThrow(/starts at 3/);
      await other.shutdown();
    });

    it('shuts down twice, and while a step computes', async () => {
      const progress: number[] = [];
      const other = await open({ ...CONTRACT_OPTIONS, onProgress: (f) => progress.push(f) });
      expect(progress.at(-1)).toBe(1);
      const last = new Driver(other);
      const request = last.open(prompt(0));
      const slice = { request, seq: 0, start: 0, tokens: prompt(0), output: 'last' } as const;
      const stepping = last.step([slice]);
      await Promise.all([other.shutdown(), other.shutdown()]);
      expect((await stepping).kind).toBe('done');
      await other.shutdown();
    });
  });
}

/** Equal, or parted where the two likeliest tokens were a tie; see the note on floating point. */
function expectSame(found: Finished, expected: Finished): void {
  const at = expected.tokens.findIndex((token, i) => token !== found.tokens[i]);
  if (at < 0) return;
  const top = expected.samples[at]?.logprob?.top ?? [];
  const gap = defined(top[0], 'top').logprob - defined(top[1], 'second').logprob;
  if (gap < TIE) return;
  expect(found.tokens, `parted at token ${at}, where the gap was ${gap}`).toEqual(expected.tokens);
}
