/**
 * The list of requests of one run, by index: the same seed gives the same bytes at every index, for
 * every target, but for the model's name. Requests are made when they are asked for.
 */
import { createHash } from 'node:crypto';
import { defined } from '../../base/assert.ts';
import { Prng } from '../../base/prng.ts';
import type { Call } from '../client/call.ts';
import { drawLength } from './lengths.ts';
import { conversationOf, type Message, type Script, type Turn } from './scenario.ts';
import { seedOf } from './seeds.ts';
import { makeText } from './text.ts';

/** What all targets of a bench understand; learned by asking them. */
export interface Dialect {
  readonly endpoint: 'chat' | 'completions';
  /** `ignore_eos`: the answer is as long as it may be. */
  readonly ignoreEos: boolean;
  /** `stream_options.include_usage`. */
  readonly includeUsage: boolean;
}

export interface WorkloadOptions extends Script {
  readonly dialect: Dialect;
  /** Null where a target needs no name. */
  readonly model: string | null;
  /** Conversations side by side: clients of a closed loop, users of an open one. */
  readonly lanes: number;
}

/** Conversations are begun in each lane one after the other; index i belongs to lane i % lanes. */
interface Place {
  readonly conversation: number;
  readonly turn: number;
}

interface Planned extends Omit<Call, 'body'> {
  readonly fields: Readonly<Record<string, unknown>>;
}

/** So many requests are hashed to show that two targets got the same. */
const HASHED_MAX = 64;

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #places: Place[][];
  /** The conversations under way, by lane: a later turn is not made from its beginning again. */
  readonly #current: ({ number: number; turns: readonly Turn[] } | undefined)[] = [];

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#places = Array.from({ length: options.lanes }, () => []);
  }

  at(index: number): Call {
    const { model } = this.#options;
    const { fields, ...call } = this.#plan(index);
    const named = model === null ? fields : { model, ...fields };
    return { ...call, body: JSON.stringify(named) };
  }

  /** Over the first requests without the model's name. */
  sha256(requests: number | null): string {
    const hash = createHash('sha256');
    const count = Math.min(requests ?? HASHED_MAX, HASHED_MAX);
    for (let index = 0; index < count; index++) {
      const { path, fields } = this.#plan(index);
      hash.update(`${path} ${JSON.stringify(fields)}\n`);
    }
    return hash.digest('hex');
  }

  #plan(index: number): Planned {
    const { scenario } = this.#options.settings;
    if (scenario === 'embed') return this.#embed(index);
    if (scenario === 'rerank') return this.#rerank(index);
    const { conversation, turn } = this.#place(index);
    const { messages, outputTokens } = this.#turn(index, { conversation, turn });
    const { endpoint, ignoreEos, includeUsage } = this.#options.dialect;
    const isChat = endpoint === 'chat';
    const fields = {
      ...(isChat ? { messages } : { prompt: asText(messages) }),
      max_tokens: outputTokens,
      temperature: 0,
      stream: true,
      ...(includeUsage ? { stream_options: { include_usage: true } } : {}),
      ...(ignoreEos ? { ignore_eos: true } : {}),
    };
    return {
      ...{ index, conversation, turn, fields, items: 0, outputTokensMax: outputTokens },
      kind: isChat ? 'chat' : 'completion',
      path: isChat ? '/v1/chat/completions' : '/v1/completions',
    };
  }

  #place(index: number): Place {
    const { lanes } = this.#options;
    const lane = index % lanes;
    const step = Math.floor(index / lanes);
    const places = defined(this.#places[lane], 'lane');
    while (places.length <= step) {
      const last = places.at(-1);
      const conversation = last === undefined ? lane : last.conversation + lanes;
      const turns = conversationOf(this.#options, conversation);
      this.#current[lane] = { number: conversation, turns };
      for (let turn = 0; turn < turns.length; turn++) places.push({ conversation, turn });
    }
    return defined(places[step], 'place');
  }

  #turn(index: number, { conversation, turn }: Place): Turn {
    const lane = index % this.#options.lanes;
    let current = this.#current[lane];
    if (current?.number !== conversation) {
      current = { number: conversation, turns: conversationOf(this.#options, conversation) };
      this.#current[lane] = current;
    }
    return defined(current.turns[turn], 'turn');
  }

  #embed(index: number): Planned {
    const { settings } = this.#options;
    const input = this.#texts(index, settings.items);
    const call = { conversation: null, turn: null, outputTokensMax: 0, items: settings.items };
    return { ...call, index, kind: 'embed', path: '/v1/embeddings', fields: { input } };
  }

  #rerank(index: number): Planned {
    const { settings, stock, seed } = this.#options;
    const query = makeText(stock, new Prng(seedOf(seed, 'query', index)), QUERY_TOKENS);
    const fields = { query, documents: this.#texts(index, settings.items) };
    const call = { conversation: null, turn: null, outputTokensMax: 0, items: settings.items };
    return { ...call, index, kind: 'rerank', path: '/v1/rerank', fields };
  }

  #texts(index: number, count: number): string[] {
    const { settings, stock, seed } = this.#options;
    const prng = new Prng(seedOf(seed, settings.scenario, index));
    return Array.from({ length: count }, () =>
      makeText(stock, prng, drawLength(settings.promptTokens, prng)),
    );
  }
}

/** The question of a request to rank. */
const QUERY_TOKENS = 16;

/** A conversation for a model without a chat template. */
function asText(messages: readonly Message[]): string {
  const [only] = messages;
  if (messages.length === 1 && only !== undefined) return only.content;
  return messages.map(({ role, content }) => `${role}: ${content}`).join('\n');
}
