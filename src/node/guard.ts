/**
 * Asks a safety model about a text: a classifier by its labels, a generative one by the
 * probabilities of its verdict's words. Longer conversations than the model can read are judged in
 * parts, and the worst part counts.
 */
import { PlenumError } from '../base/errors.ts';
import type { ChatMessage, JudgeSubject } from '../http/backend.ts';
import type { EncodeReply } from '../wire/encode.ts';
import type { Verdict } from '../wire/guard.ts';
import { type LabelSettings, readLabels } from './guard-labels.ts';
import {
  type GuardAnswer,
  type GuardQuestion,
  type GuardTraits,
  guardProfileOf,
  type Said,
  type Shares,
  type Turn,
} from './guard-profiles.ts';

/** What is needed of the model that judges. */
export interface GuardModel {
  readonly traits: GuardTraits;
  readonly contextTokens: number;
  /** Names of its classes; null for a model that generates. */
  readonly labels: readonly string[] | null;
  readonly settings: LabelSettings;
  /** Text alone, no special tokens. */
  tokenize(text: string): Promise<Int32Array>;
  /** The prompt in segments, by the model's chat template. */
  render(question: Pick<GuardQuestion, 'messages' | 'templateArgs'>): readonly string[];
  /** Log probabilities of the watched tokens after the prompt. */
  watch(
    segments: readonly string[],
    watch: readonly number[],
  ): Promise<{ readonly logprobs: ReadonlyMap<number, number>; readonly promptTokens: number }>;
  classify(text: string): Promise<EncodeReply>;
}

/** Characters per token that English text has about; longer texts are cut before they are tried. */
const CHARS_PER_TOKEN = 4;
/** What a part that follows another repeats of it, so that no sentence is judged only in halves. */
const OVERLAP_CHARS = 400;
/** A part this short that is still too long is not text. */
const PART_CHARS_MIN = 64;

/** Rejects with PlenumError; see Backend.judge. */
export async function judgeWith(
  model: GuardModel,
  subject: JudgeSubject,
  detail: boolean,
): Promise<Verdict> {
  if (model.labels !== null) return classified(model, subject);
  const turns = turnsOf(subject);
  if (turns.length === 0) return NOTHING;
  const whole = await unlessTooLong(() => generated(model, turns, detail));
  if (whole !== null) return whole;
  const last = turns.slice(subject.kind === 'output' ? -2 : -1);
  const recent = await unlessTooLong(() => generated(model, last, detail));
  if (recent !== null) return recent;
  // Only what is judged is cut; what it answers is left out.
  const judged = last.at(-1);
  if (judged === undefined) return NOTHING;
  return worst(model, judged.content, (text) => generated(model, asked(judged.role, text), detail));
}

const NOTHING: Verdict = {
  score: 0,
  categories: [{ name: 'unsafe', score: 0 }],
  promptTokens: 0,
};

/** An assistant's turn needs one before it, or templates refuse it. */
function asked(role: Turn['role'], content: string): Said {
  const turn = { role, content };
  return role === 'user' ? [turn] : [{ role: 'user', content: '…' }, turn];
}

async function unlessTooLong(judge: () => Promise<Verdict>): Promise<Verdict | null> {
  try {
    return await judge();
  } catch (error) {
    if (error instanceof PlenumError && error.code === 'context_length_exceeded') return null;
    throw error;
  }
}

/** Judges a text that is too long in parts; the highest score of each category counts. */
async function worst(
  model: GuardModel,
  text: string,
  judge: (part: string) => Promise<Verdict>,
): Promise<Verdict> {
  const queue = partsOf(text, model.contextTokens * CHARS_PER_TOKEN);
  let sum: Verdict | null = null;
  for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
    const piece = part;
    const verdict = await unlessTooLong(() => judge(piece));
    if (verdict !== null) {
      sum = sum === null ? verdict : worse(sum, verdict);
    } else if (piece.length <= PART_CHARS_MIN) {
      const message = `the guard's context of ${model.contextTokens} tokens is too short`;
      throw new PlenumError('context_length_exceeded', message);
    } else {
      queue.unshift(...partsOf(piece, Math.ceil(piece.length / 2)));
    }
  }
  return sum ?? NOTHING;
}

/** Parts of at most `size` characters and an overlap, cut between words where there are some. */
function partsOf(text: string, size: number): string[] {
  const parts: string[] = [];
  const overlap = Math.min(OVERLAP_CHARS, Math.floor(size / 4));
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + size);
    const space = text.lastIndexOf(' ', to);
    if (to < text.length && space > from + size / 2) to = space;
    parts.push(text.slice(Math.max(0, from - overlap), to).toWellFormed());
    from = to;
  }
  return parts;
}

function worse(a: Verdict, b: Verdict): Verdict {
  const scores = new Map(a.categories.map(({ name, score }) => [name, score]));
  for (const { name, score } of b.categories) {
    scores.set(name, Math.max(score, scores.get(name) ?? 0));
  }
  return {
    score: Math.max(a.score, b.score),
    categories: [...scores].map(([name, score]) => ({ name, score })),
    promptTokens: a.promptTokens + b.promptTokens,
  };
}

async function classified(model: GuardModel, subject: JudgeSubject): Promise<Verdict> {
  const one = async (text: string): Promise<Verdict> => {
    const { values, tokenCounts } = await model.classify(text);
    const promptTokens = tokenCounts.reduce((sum, count) => sum + count, 0);
    return { ...readLabels(values, model.labels ?? [], model.settings), promptTokens };
  };
  const texts = textsOf(subject).filter((text) => text.trim() !== '');
  const verdicts = await Promise.all(
    texts.map(async (text) => (await unlessTooLong(() => one(text))) ?? worst(model, text, one)),
  );
  return verdicts.length === 0 ? NOTHING : verdicts.reduce((a, b) => worse(a, b));
}

/** The last message by itself, so that a long history does not drown it; what came before it. */
function textsOf(subject: JudgeSubject): readonly string[] {
  if (subject.kind === 'output') {
    return [subject.answer.slice(Math.max(0, subject.freshFrom - OVERLAP_CHARS)).toWellFormed()];
  }
  const said = subject.messages.filter(({ role }) => role !== 'assistant');
  const contents = said.map(({ content }) => content);
  return [contents.slice(0, -1).join('\n\n'), contents.at(-1) ?? ''];
}

/** Alternating turns from the user's first: what is not the assistant's is the user's. */
function turnsOf(subject: JudgeSubject): Turn[] {
  const turns: { role: Turn['role']; content: string }[] = [];
  const add = ({ role, content }: ChatMessage): void => {
    const whose = role === 'assistant' && turns.length > 0 ? 'assistant' : 'user';
    const last = turns.at(-1);
    if (content === '') return;
    if (last?.role === whose) last.content += `\n\n${content}`;
    else turns.push({ role: whose, content });
  };
  for (const message of subject.messages) add(message);
  if (subject.kind === 'output') {
    if (turns.length === 0) turns.push({ role: 'user', content: '…' });
    add({ role: 'assistant', content: subject.answer });
    return turns.at(-1)?.role === 'assistant' ? turns : [];
  }
  // An input is judged, not the answer that it ends with.
  if (turns.at(-1)?.role === 'assistant') turns.pop();
  return turns;
}

async function generated(model: GuardModel, said: Said, detail: boolean): Promise<Verdict> {
  const { traits } = model;
  const profile = guardProfileOf(traits);
  const sample = model.render({ messages: [{ role: 'user', content: 'x' }], templateArgs: {} });
  const questions = profile.ask(said, { detail, traits, sample: sample.join('') });
  const [first, ...more] = await Promise.all(
    questions.map((question) => sharesOf(model, question)),
  );
  if (first === undefined || first.shares === null) {
    throw new PlenumError(
      'model_unsupported',
      `the words of the verdict begin with the same token in ${traits.id}: it cannot be read`,
    );
  }
  const all = [first, ...more];
  return {
    ...profile.read(all.map(({ shares }) => shares)),
    promptTokens: all.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
  };
}

async function sharesOf(
  model: GuardModel,
  question: GuardQuestion,
): Promise<{ readonly shares: Shares; readonly promptTokens: number }> {
  const owners = await firstTokens(model, question.answers);
  const readable = question.answers.every(({ name }) => [...owners.values()].includes(name));
  if (!readable) return { shares: null, promptTokens: 0 };
  const segments = model.render(question);
  const prime = question.prime(segments.join(''));
  const prompt = prime === '' ? segments : [...segments, prime];
  const { logprobs, promptTokens } = await model.watch(prompt, [...owners.keys()]);
  const highest = Math.max(...logprobs.values());
  const weights = new Map(question.answers.map(({ name }) => [name, 0]));
  let sum = 0;
  for (const [token, name] of owners) {
    // Relative to the highest, so that words that are all unlikely do not vanish.
    const weight = Math.exp((logprobs.get(token) ?? Number.NEGATIVE_INFINITY) - highest);
    weights.set(name, (weights.get(name) ?? 0) + weight);
    sum += weight;
  }
  if (!(sum > 0) || !Number.isFinite(sum)) {
    throw new PlenumError('engine_failed', `${model.traits.id} gave no probabilities of a verdict`);
  }
  return {
    shares: new Map([...weights].map(([name, weight]) => [name, weight / sum])),
    promptTokens,
  };
}

/** First token of each spelling → its answer; a token that two answers share belongs to none. */
async function firstTokens(
  model: GuardModel,
  answers: readonly GuardAnswer[],
): Promise<ReadonlyMap<number, string>> {
  const owners = new Map<number, string>();
  const shared = new Set<number>();
  for (const { name, forms } of answers) {
    for (const form of forms) {
      const [token] = await model.tokenize(form);
      if (token === undefined) continue;
      const owner = owners.get(token);
      if (owner !== undefined && owner !== name) shared.add(token);
      owners.set(token, name);
    }
  }
  for (const token of shared) owners.delete(token);
  return owners;
}
