/** Legacy completions as OpenAI's objects: text with an optional echo, parallel logprob lists. */
import type { Usage } from '../wire/generation.ts';
import type { CompletionResponse, LegacyLogprobs } from '../wire/openai-completion.ts';
import {
  type ChunkFormat,
  finishBody,
  finiteLogprob,
  type ReplyFormat,
  type ReplyHead,
  sseData,
  usageBody,
} from './format.ts';
import type { Finish, OutputEvent } from './run.ts';

export interface CompletionFormatOptions {
  readonly choices: number;
  readonly logprobs: boolean;
  readonly includeUsage: boolean;
  /** Per choice, the text that the reply begins with; null where a `prompt` event has it. */
  readonly echo: readonly (string | null)[];
}

interface Scores {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

const noScores = (): Scores => ({
  tokens: [],
  token_logprobs: [],
  top_logprobs: [],
  text_offset: [],
});

/** A token that is no whole characters is written as `bytes:\xe2\x80`, as OpenAI does. */
function tokenLabel(entry: { readonly token: string; readonly bytes: readonly number[] }): string {
  if (!entry.token.includes('\ufffd')) return entry.token;
  const hex = entry.bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`);
  return `bytes:${hex.join('')}`;
}

/** Code points that begin within the bytes: UTF-8 continuation bytes are 10xxxxxx. */
function charactersIn(bytes: readonly number[]): number {
  let count = 0;
  for (const byte of bytes) if ((byte & 0xc0) !== 0x80) count += 1;
  return count;
}

/** Adds the event's entries to `scores`; returns the offset after them. */
function addScores(scores: Scores, event: OutputEvent, from: number): number {
  let offset = from;
  for (const entry of event.logprobs) {
    scores.text_offset.push(offset);
    if (entry === null) {
      const text = unscoredText(event);
      scores.tokens.push(text);
      scores.token_logprobs.push(null);
      scores.top_logprobs.push(null);
      offset += [...text].length;
      continue;
    }
    const all = [...entry.top, entry];
    scores.tokens.push(tokenLabel(entry));
    scores.token_logprobs.push(finiteLogprob(entry.logprob));
    scores.top_logprobs.push(
      Object.fromEntries(all.map((one) => [tokenLabel(one), finiteLogprob(one.logprob)])),
    );
    offset += charactersIn(entry.bytes);
  }
  return offset;
}

/** The text of a prompt's first token, which has no score: what the scored ones leave over. */
function unscoredText(event: OutputEvent): string {
  const characters = [...event.text];
  let scored = 0;
  for (const entry of event.logprobs) scored += entry === null ? 0 : charactersIn(entry.bytes);
  return characters.slice(0, Math.max(0, characters.length - scored)).join('');
}

export class CompletionChunks implements ChunkFormat {
  readonly #head: ReplyHead;
  readonly #options: CompletionFormatOptions;
  readonly #started: boolean[];
  readonly #offsets: number[];

  constructor(head: ReplyHead, options: CompletionFormatOptions) {
    this.#head = head;
    this.#options = options;
    this.#started = new Array<boolean>(options.choices).fill(false);
    this.#offsets = new Array<number>(options.choices).fill(0);
  }

  output(index: number, event: OutputEvent): string {
    const start = this.#start(index);
    if (event.text === '' && event.logprobs.length === 0) return start;
    return start + this.#chunk(index, { text: event.text, scores: event });
  }

  finished(index: number, finish: Finish): string {
    return this.#start(index) + this.#chunk(index, { text: '', finish });
  }

  usage(usage: Usage): string {
    return sseData({ ...this.#fields(), choices: [], usage: usageBody(usage) });
  }

  #start(index: number): string {
    if (this.#started[index] === true) return '';
    this.#started[index] = true;
    const text = this.#options.echo[index] ?? '';
    if (text === '') return '';
    this.#offsets[index] = [...text].length;
    return this.#chunk(index, { text });
  }

  #chunk(
    index: number,
    part: {
      readonly text: string;
      readonly scores?: OutputEvent;
      readonly finish?: Finish;
    },
  ): string {
    let logprobs: LegacyLogprobs = null;
    if (this.#options.logprobs && part.scores !== undefined) {
      const scores = noScores();
      this.#offsets[index] = addScores(scores, part.scores, this.#offsets[index] ?? 0);
      logprobs = scores;
    }
    const end = part.finish === undefined ? { finish_reason: null } : finishBody(part.finish);
    const choice = { index, text: part.text, logprobs, ...end };
    const usage = this.#options.includeUsage ? { usage: null } : {};
    return sseData({ ...this.#fields(), choices: [choice], ...usage });
  }

  #fields() {
    const { id, created, model, fingerprint } = this.#head;
    return { id, object: 'text_completion', created, model, system_fingerprint: fingerprint };
  }
}

interface GatheredChoice {
  text: string;
  readonly scores: Scores;
  offset: number;
  finish: Finish;
}

export class CompletionReply implements ReplyFormat {
  readonly #head: ReplyHead;
  readonly #options: CompletionFormatOptions;
  readonly #choices: readonly GatheredChoice[];

  constructor(head: ReplyHead, options: CompletionFormatOptions) {
    this.#head = head;
    this.#options = options;
    this.#choices = Array.from({ length: options.choices }, (_, index) => {
      const text = options.echo[index] ?? '';
      const finish: Finish = { reason: 'stop' };
      return { text, scores: noScores(), offset: [...text].length, finish };
    });
  }

  output(index: number, event: OutputEvent): void {
    const choice = this.#choices[index];
    if (choice === undefined) return;
    choice.text += event.text;
    choice.offset = addScores(choice.scores, event, choice.offset);
  }

  finished(index: number, finish: Finish): void {
    const choice = this.#choices[index];
    if (choice !== undefined) choice.finish = finish;
  }

  reply(usage: Usage): CompletionResponse {
    return {
      id: this.#head.id,
      object: 'text_completion',
      created: this.#head.created,
      model: this.#head.model,
      system_fingerprint: this.#head.fingerprint,
      choices: this.#choices.map((choice, index) => ({
        index,
        text: choice.text,
        logprobs: this.#options.logprobs ? choice.scores : null,
        ...finishBody(choice.finish),
      })),
      usage: usageBody(usage),
    };
  }
}
