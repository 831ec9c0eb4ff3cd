/**
 * From a validated body to what is to be generated: the checks that join several fields, the
 * defaults (the model's, OpenAI's). Throws `invalid_request`, and what `modelFor` throws.
 */
import { PlenumError } from '../base/errors.ts';
import { NEUTRAL_SAMPLING, type SamplingParams } from '../wire/generation.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type { ChatRequest } from '../wire/openai-chat.ts';
import type { CompletionRequest, PromptInput } from '../wire/openai-completion.ts';
import { isTokenList } from '../wire/openai-fields.ts';
import type { ChatMessage, ClientPrompt } from './backend.ts';
import type { HttpLimits } from './config.ts';
import { type Endpoint, modelFor } from './endpoint.ts';

/** One request: prompts × n choices, indexed prompt-major as OpenAI does. */
export interface Job {
  readonly model: ModelInfo;
  readonly prompts: readonly ClientPrompt[];
  readonly n: number;
  readonly sampling: SamplingParams;
  readonly maxTokens: number | null;
  readonly stop: readonly string[];
  readonly promptLogprobs: number | null;
  readonly deadlineMs: number | null;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Completions: the reply begins with the prompt. */
  readonly echo: boolean;
  /** Chat: a tier was asked for, and there is one. */
  readonly serviceTier: 'default' | undefined;
}

type CommonRequest = Omit<ChatRequest & CompletionRequest, 'logprobs' | 'messages' | 'prompt'>;

/** OpenAI's default of /v1/completions. */
const COMPLETION_TOKENS_DEFAULT = 16;
/** Seeds are folded below the value by which samplers mean "draw one". */
const SEED_MODULUS = 4_294_967_295;

const invalid = (message: string, param: string): PlenumError =>
  new PlenumError('invalid_request', message, { param });

export function chatJob(body: ChatRequest, models: readonly ModelInfo[], limits: HttpLimits): Job {
  const { max_tokens: older, max_completion_tokens: newer } = body;
  if (typeof older === 'number' && typeof newer === 'number' && older !== newer) {
    throw invalid(
      `'max_tokens' (${older}) and 'max_completion_tokens' (${newer}) contradict each other.`,
      'max_tokens',
    );
  }
  const maxTokens = newer ?? older ?? -1;
  if (maxTokens === 0) {
    throw invalid("'max_completion_tokens' must be at least 1; got 0.", 'max_completion_tokens');
  }
  if ((body.top_logprobs ?? 0) > 0 && body.logprobs !== true) {
    throw invalid("'top_logprobs' needs 'logprobs' to be true.", 'top_logprobs');
  }
  const common = commonJob(body, models, { limits, endpoint: '/v1/chat/completions' });
  return {
    ...common,
    prompts: [chatPrompt(body)],
    sampling: sampling(
      body,
      common.model,
      body.logprobs === true ? (body.top_logprobs ?? 0) : null,
    ),
    maxTokens: maxTokens === -1 ? null : maxTokens,
    promptLogprobs: null,
    echo: false,
    serviceTier: typeof body.service_tier === 'string' ? 'default' : undefined,
  };
}

export function completionJob(
  body: CompletionRequest,
  models: readonly ModelInfo[],
  limits: HttpLimits,
): Job {
  const prompts = textPrompts(body.prompt);
  const choices = prompts.length * (body.n ?? 1);
  if (choices > limits.choicesMax) {
    throw invalid(
      `${prompts.length} prompts × n = ${choices} choices; the limit is ${limits.choicesMax}.`,
      'n',
    );
  }
  const echo = body.echo ?? false;
  const logprobs = body.logprobs ?? null;
  const maxTokens = body.max_tokens ?? COMPLETION_TOKENS_DEFAULT;
  if (maxTokens === 0 && !(echo && logprobs !== null)) {
    throw invalid(
      "'max_tokens' may be 0 only to score a prompt, with 'echo' and 'logprobs'.",
      'max_tokens',
    );
  }
  const common = commonJob(body, models, { limits, endpoint: '/v1/completions' });
  return {
    ...common,
    prompts,
    sampling: sampling(body, common.model, logprobs),
    maxTokens: maxTokens === -1 ? null : maxTokens,
    promptLogprobs: echo ? logprobs : null,
    echo,
    serviceTier: undefined,
  };
}

function commonJob(
  body: CommonRequest,
  models: readonly ModelInfo[],
  { limits, endpoint }: { limits: HttpLimits; endpoint: Endpoint },
) {
  const stream = body.stream ?? false;
  if (!stream && (body.stream_options ?? null) !== null) {
    throw invalid("'stream_options' needs 'stream' to be true.", 'stream_options');
  }
  return {
    model: modelFor(endpoint, models, body.model),
    n: body.n ?? 1,
    stop: typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []),
    deadlineMs: body.deadline_ms ?? limits.deadlineMsDefault,
    stream,
    includeUsage: body.stream_options?.include_usage ?? false,
  };
}

/** The request's own values, else the model's defaults, else OpenAI's. */
function sampling(body: CommonRequest, model: ModelInfo, logprobs: number | null): SamplingParams {
  const neutral = { ...NEUTRAL_SAMPLING, ...model.samplingDefaults };
  return {
    temperature: body.temperature ?? neutral.temperature,
    topP: body.top_p ?? neutral.topP,
    topK: Math.max(0, body.top_k ?? neutral.topK),
    minP: body.min_p ?? neutral.minP,
    seed: foldSeed(body.seed ?? null),
    frequencyPenalty: body.frequency_penalty ?? neutral.frequencyPenalty,
    presencePenalty: body.presence_penalty ?? neutral.presencePenalty,
    repeatPenalty: repeatPenalty(body) ?? neutral.repeatPenalty,
    repeatLastN: body.repeat_last_n ?? neutral.repeatLastN,
    logitBias: Object.entries(body.logit_bias ?? {}).map(
      ([token, bias]) => [Number(token), bias] as const,
    ),
    ignoreEos: body.ignore_eos ?? neutral.ignoreEos,
    logprobs,
  };
}

function repeatPenalty(body: CommonRequest): number | null {
  const { repeat_penalty: one, repetition_penalty: other } = body;
  if (typeof one === 'number' && typeof other === 'number' && one !== other) {
    throw invalid(
      `'repeat_penalty' (${one}) and 'repetition_penalty' (${other}) contradict each other.`,
      'repeat_penalty',
    );
  }
  return one ?? other ?? null;
}

/** 64-bit seeds are OpenAI's, samplers take 32 bits: the fold is fixed, so a seed still replays. */
export function foldSeed(seed: number | null): number | null {
  if (seed === null || seed === -1) return null;
  return ((seed % SEED_MODULUS) + SEED_MODULUS) % SEED_MODULUS;
}

type ChatMessages = Pick<ChatRequest, 'messages' | 'chat_template_kwargs'>;

/** Text parts are joined by a line break; `developer` is what newer clients call `system`. */
export function chatPrompt(body: ChatMessages): ClientPrompt {
  const messages = body.messages.map((message): ChatMessage => {
    const { content } = message;
    return {
      role: message.role === 'developer' ? 'system' : message.role,
      content: typeof content === 'string' ? content : content.map((part) => part.text).join('\n'),
      name: message.name ?? undefined,
    };
  });
  return { kind: 'chat', messages, templateArgs: body.chat_template_kwargs ?? {} };
}

function textPrompts(prompt: PromptInput): readonly ClientPrompt[] {
  if (typeof prompt === 'string') return [{ kind: 'text', text: prompt }];
  if (isTokenList(prompt)) return [{ kind: 'tokens', tokens: Int32Array.from(prompt) }];
  return prompt.map(
    (item): ClientPrompt =>
      typeof item === 'string'
        ? { kind: 'text', text: item }
        : { kind: 'tokens', tokens: Int32Array.from(item) },
  );
}
