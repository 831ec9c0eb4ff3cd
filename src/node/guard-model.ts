/**
 * A served model as a guard sees it: its host and its chat template behind the guard's own port.
 */
import { fromErrorRecord, PlenumError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { ChatTemplate } from '../model/chat-template.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';
import {
  type GenerateEvent,
  type GenerateRequest,
  NEUTRAL_SAMPLING,
  type TokenLogprob,
} from '../wire/generation.ts';
import type { GuardModel } from './guard.ts';
import type { LabelSettings } from './guard-labels.ts';
import type { GuardTraits } from './guard-profiles.ts';

/** What is needed of a host. */
export interface GuardHost {
  submit(id: string, request: GenerateRequest, listener: (event: GenerateEvent) => void): void;
  cancel(id: string, code: 'client_closed'): void;
  encode(request: EncodeRequest, signal: AbortSignal): Promise<EncodeReply>;
  tokenize(input: {
    text: string;
    addSpecial: boolean;
    parseSpecial: boolean;
    withPieces: boolean;
  }): Promise<{ tokens: Int32Array }>;
}

export interface GuardModelOptions {
  readonly host: GuardHost;
  readonly traits: GuardTraits;
  readonly contextTokens: number;
  readonly labels: readonly string[] | null;
  readonly settings: LabelSettings;
  /** null = the model has none: prompts go as plain text. */
  readonly template: ChatTemplate | null;
  readonly specials: readonly string[];
  readonly deadlineMs: number | null;
  readonly signal: AbortSignal;
  /** Tokens of the words of verdicts, kept from one judgement to the next. */
  readonly words: Map<string, Int32Array>;
}

export function guardModel(options: GuardModelOptions): GuardModel {
  const { host, template, specials, words, deadlineMs, signal } = options;
  const { traits, contextTokens, labels, settings } = options;
  return {
    traits,
    contextTokens,
    labels,
    settings,
    async tokenize(text) {
      const known = words.get(text);
      if (known !== undefined) return known;
      const plain = { addSpecial: false, parseSpecial: false, withPieces: false };
      const { tokens } = await host.tokenize({ text, ...plain });
      words.set(text, tokens);
      return tokens;
    },
    render({ messages, templateArgs }) {
      if (template !== null) return template.renderGuarded(messages, templateArgs, specials);
      return [`${messages.map(({ content }) => content).join('\n')}\n`];
    },
    watch: (segments, watch) => watchTokens(options, segments, watch),
    classify: (text) =>
      host.encode({ task: 'classify', inputs: [{ kind: 'text', text }], deadlineMs }, signal),
  };
}

/** One token is drawn, for nobody: what matters is how likely each of the watched ones was. */
async function watchTokens(
  { host, deadlineMs, signal }: GuardModelOptions,
  segments: readonly string[],
  watch: readonly number[],
): ReturnType<GuardModel['watch']> {
  const id = newId('judge');
  const request: GenerateRequest = {
    prompt: { kind: 'segments', segments },
    sampling: { ...NEUTRAL_SAMPLING, temperature: 0, ignoreEos: true, logprobs: 0, watch },
    maxTokens: 1,
    stop: [],
    promptLogprobs: null,
    deadlineMs,
  };
  const onAbort = (): void => host.cancel(id, 'client_closed');
  try {
    signal.throwIfAborted();
    signal.addEventListener('abort', onAbort, { once: true });
    const scored: TokenLogprob[] = [];
    const promptTokens = await new Promise<number>((resolve, reject) => {
      host.submit(id, request, (event) => {
        if (event.kind === 'delta') scored.push(...event.logprobs);
        if (event.kind !== 'end') return;
        const { outcome, error, usage } = event;
        if (outcome.kind === 'finished') resolve(usage.promptTokens);
        else if (error !== null) reject(fromErrorRecord(error));
        else reject(new PlenumError(outcome.code, 'the judgement was ended before its verdict'));
      });
    });
    const entries = scored.slice(0, 1).flatMap((one) => [one, ...one.top]);
    const wanted = new Set(watch);
    const found = entries.filter(({ tokenId }) => wanted.has(tokenId));
    const logprobs = new Map(found.map(({ tokenId, logprob }) => [tokenId, logprob]));
    return { logprobs, promptTokens };
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
