/**
 * Chat completions as OpenAI's objects. Chunks are put together from strings that are made once per
 * request: this runs once per token and stream.
 */
import type { TokenLogprob, Usage } from '../wire/generation.ts';
import type { ChatLogprobs, ChatResponse } from '../wire/openai-chat.ts';
import {
  type ChunkFormat,
  finishBody,
  finiteLogprob,
  type ReplyFormat,
  type ReplyHead,
  usageBody,
} from './format.ts';
import type { Finish, OutputEvent } from './run.ts';

export interface ChatFormatOptions {
  readonly choices: number;
  readonly logprobs: boolean;
  readonly includeUsage: boolean;
}

function logprobsOf(entries: readonly TokenLogprob[]): NonNullable<ChatLogprobs> {
  return {
    content: entries.map((entry) => ({
      token: entry.token,
      logprob: finiteLogprob(entry.logprob),
      bytes: [...entry.bytes],
      top_logprobs: entry.top.map((other) => ({
        token: other.token,
        logprob: finiteLogprob(other.logprob),
        bytes: [...other.bytes],
      })),
    })),
    refusal: null,
  };
}

export class ChatChunks implements ChunkFormat {
  readonly #logprobs: boolean;
  readonly #head: string;
  readonly #tail: string;
  readonly #started: boolean[];

  constructor(head: ReplyHead, options: ChatFormatOptions) {
    const fields = JSON.stringify({
      id: head.id,
      object: 'chat.completion.chunk',
      created: head.created,
      model: head.model,
      system_fingerprint: head.fingerprint,
      service_tier: head.serviceTier,
    });
    this.#head = `data: ${fields.slice(0, -1)},"choices":[`;
    this.#tail = options.includeUsage ? '],"usage":null}\n\n' : ']}\n\n';
    this.#logprobs = options.logprobs;
    this.#started = new Array<boolean>(options.choices).fill(false);
  }

  output(index: number, event: OutputEvent): string {
    if (event.kind === 'prompt') return '';
    const { text, logprobs } = event;
    if (text === '' && logprobs.length === 0) return '';
    const scores = this.#logprobs ? JSON.stringify(logprobsOf(logprobs)) : 'null';
    const delta = `{"content":${JSON.stringify(text)}}`;
    return this.#start(index) + this.#chunk(index, delta, `${scores},"finish_reason":null`);
  }

  finished(index: number, { reason, moderation }: Finish): string {
    const note = moderation === undefined ? '' : `,"moderation":${JSON.stringify(moderation)}`;
    return this.#start(index) + this.#chunk(index, '{}', `null,"finish_reason":"${reason}"${note}`);
  }

  usage(usage: Usage): string {
    return `${this.#head}],"usage":${JSON.stringify(usageBody(usage))}}\n\n`;
  }

  #start(index: number): string {
    if (this.#started[index] === true) return '';
    this.#started[index] = true;
    const delta = '{"role":"assistant","content":"","refusal":null}';
    return this.#chunk(index, delta, 'null,"finish_reason":null');
  }

  #chunk(index: number, delta: string, rest: string): string {
    return `${this.#head}{"index":${index},"delta":${delta},"logprobs":${rest}}${this.#tail}`;
  }
}

export class ChatReply implements ReplyFormat {
  readonly #head: ReplyHead;
  readonly #logprobs: boolean;
  readonly #choices: { text: string; logprobs: TokenLogprob[]; finish: Finish }[];

  constructor(head: ReplyHead, options: ChatFormatOptions) {
    this.#head = head;
    this.#logprobs = options.logprobs;
    this.#choices = Array.from({ length: options.choices }, () => ({
      text: '',
      logprobs: [],
      finish: { reason: 'stop' },
    }));
  }

  output(index: number, event: OutputEvent): void {
    const choice = this.#choices[index];
    if (choice === undefined || event.kind === 'prompt') return;
    choice.text += event.text;
    for (const entry of event.logprobs) choice.logprobs.push(entry);
  }

  finished(index: number, finish: Finish): void {
    const choice = this.#choices[index];
    if (choice !== undefined) choice.finish = finish;
  }

  reply(usage: Usage): ChatResponse {
    return {
      id: this.#head.id,
      object: 'chat.completion',
      created: this.#head.created,
      model: this.#head.model,
      system_fingerprint: this.#head.fingerprint,
      choices: this.#choices.map((choice, index) => ({
        index,
        message: { role: 'assistant', content: choice.text, refusal: null },
        logprobs: this.#logprobs ? logprobsOf(choice.logprobs) : null,
        ...finishBody(choice.finish),
      })),
      ...(this.#head.serviceTier === undefined ? {} : { service_tier: this.#head.serviceTier }),
      usage: usageBody(usage),
    };
  }
}
