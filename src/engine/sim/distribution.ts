/**
 * What the simulated model "thinks" comes next: a few candidates with logits drawn from a hash of
 * all preceding tokens, and one common floor for the rest of the vocabulary, so that log
 * probabilities are exactly normalised without a row of logits.
 *
 *   logit   8 ●  ● 7.4  ● 7.1 …  candidates, each clearly apart from the next
 *          -6 ─────────────────  every other token
 *
 * A character that was begun with a lead byte is always completed, so the text is valid UTF-8.
 */
import { defined } from '../../base/assert.ts';
import type { RawLogprob } from '../../scheduler/plan.ts';
import { fraction, mix } from './hash.ts';
import { CONTROL, type SimVocab } from './vocab.ts';

export interface Candidate {
  readonly token: number;
  readonly logit: number;
}

const CANDIDATES = 24;
const TOP_LOGIT = 8;
const STEP = 0.25;
export const FLOOR_LOGIT = -6;
/** One context in this many ends the generation. */
const MEAN_LENGTH_TOKENS = 200;
const PUNCTUATION = [...',.;:!?\n'].map((char) => char.charCodeAt(0));
/** Of é ß я € 中 日 😀: so that characters of 2, 3 and 4 bytes occur. */
const LEAD_BYTES = [0xc3, 0xd1, 0xe2, 0xe4, 0xe6, 0xf0];

/** The allowed next bytes of an unfinished character (Unicode, table 3-7), or null between two. */
export function continuation(tail: readonly number[]): readonly [low: number, high: number] | null {
  for (let back = 1; back <= Math.min(3, tail.length); back++) {
    const byte = defined(tail[tail.length - back], 'tail token');
    if (byte >= 0x80 && byte <= 0xbf) continue;
    const length = sequenceLength(byte);
    if (length <= back) return null;
    return back > 1 ? [0x80, 0xbf] : secondByte(byte);
  }
  return null;
}

function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
}

function secondByte(lead: number): readonly [number, number] {
  if (lead === 0xe0) return [0xa0, 0xbf];
  if (lead === 0xed) return [0x80, 0x9f];
  if (lead === 0xf0) return [0x90, 0xbf];
  return lead === 0xf4 ? [0x80, 0x8f] : [0x80, 0xbf];
}

const pick = (items: readonly number[], hash: number): number =>
  defined(items[Math.floor(fraction(hash) * items.length)], 'choice');

function proposal(hash: number, vocab: SimVocab): number {
  const kind = fraction(mix(hash, 1));
  const choice = mix(hash, 2);
  if (kind < 0.04) return pick(LEAD_BYTES, choice);
  if (kind < 0.12) return pick(PUNCTUATION, choice);
  // Frequent words first, as in a language: the cube of a uniform fraction favours low ranks.
  return vocab.wordToken(Math.floor(fraction(choice) ** 3 * vocab.wordCount));
}

/** Candidates in order of falling logit, no token twice. Depends on the arguments alone. */
export function candidatesAfter(
  contextHash: number,
  tail: readonly number[],
  vocab: SimVocab,
): Candidate[] {
  const range = continuation(tail);
  const candidates: Candidate[] = [];
  const seen = new Set<number>();
  let logit = TOP_LOGIT;
  const add = (token: number, hash: number): void => {
    if (seen.has(token)) return;
    seen.add(token);
    candidates.push({ token, logit });
    logit -= STEP + fraction(mix(hash, 3)) * STEP;
  };
  const ends = fraction(mix(contextHash, 0x0e05)) < 1 / MEAN_LENGTH_TOKENS;
  if (range === null && ends) add(CONTROL.imEnd, contextHash);
  // Proposals repeat; the bound is for an unfinished character with few continuations.
  for (let i = 0; candidates.length < CANDIDATES && i < 8 * CANDIDATES; i++) {
    const hash = mix(contextHash, i);
    if (range === null) add(proposal(hash, vocab), hash);
    else add(range[0] + Math.floor(fraction(hash) * (range[1] - range[0] + 1)), hash);
  }
  return candidates;
}

/** Natural logarithm of the sum of exp(logit) over the whole vocabulary. */
export function logSumExp(candidates: readonly Candidate[], vocabSize: number): number {
  let sum = (vocabSize - candidates.length) * Math.exp(FLOOR_LOGIT - TOP_LOGIT);
  for (const { logit } of candidates) sum += Math.exp(logit - TOP_LOGIT);
  return TOP_LOGIT + Math.log(sum);
}

/** Score of `token`, of the `top` likeliest and of `watch`, from the unbiased distribution. */
export function scoreOf(
  token: number,
  candidates: readonly Candidate[],
  options: { top: number; vocabSize: number; watch?: readonly number[] | undefined },
): RawLogprob {
  const norm = logSumExp(candidates, options.vocabSize);
  const logitOf = (id: number): number =>
    candidates.find((candidate) => candidate.token === id)?.logit ?? FLOOR_LOGIT;
  const top = candidates.slice(0, options.top);
  for (let id = 0; top.length < Math.min(options.top, options.vocabSize); id++) {
    if (!candidates.some((candidate) => candidate.token === id)) {
      top.push({ token: id, logit: FLOOR_LOGIT });
    }
  }
  for (const id of options.watch ?? []) {
    if (!top.some((one) => one.token === id)) top.push({ token: id, logit: logitOf(id) });
  }
  return {
    token,
    logprob: logitOf(token) - norm,
    top: top.map(({ token: id, logit }) => ({ token: id, logprob: logit - norm })),
  };
}
